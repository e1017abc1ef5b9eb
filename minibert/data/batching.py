"""What is random, and which rows come when: computed from the seed and a number, never stored."""

from functools import lru_cache

import numpy as np

PURPOSES = ("order", "masking", "dropout", "evaluation")


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Return the random generator for one purpose at one place of a run.

    The same arguments give the same numbers, so a run can be taken up anywhere, and no generator's
    state is ever saved.

    Args:
        seed: of the run, 0 or more.
        purpose: one of `PURPOSES`.
        numbers: the place: an epoch, or a step and a shard.
    """
    return np.random.default_rng((seed, PURPOSES.index(purpose) + 1, *numbers))


def rows_at(step: int, count: int, size: int, seed: int) -> np.ndarray:
    """Return the row numbers of the batch at `step`.

    Each epoch goes through all rows in an order of its own; its last batch may be smaller.

    >>> epoch = [rows_at(step, 5, 2, seed=0).tolist() for step in range(3)]
    >>> [len(rows) for rows in epoch], sorted(sum(epoch, []))
    ([2, 2, 1], [0, 1, 2, 3, 4])

    Args:
        step: from 0.
        count: the number of rows.
        size: B, rows in a batch.
        seed: of the order.
    """
    epoch, number = divmod(step, steps_per_epoch(count, size))
    return _order(count, seed, epoch)[number * size : (number + 1) * size]


def steps_per_epoch(count: int, size: int) -> int:
    """Return how many batches of `size` rows go through `count` rows once."""
    return -(-count // size)


@lru_cache(maxsize=2)
def _order(count, seed, epoch):
    return generator(seed, "order", epoch).permutation(count)
