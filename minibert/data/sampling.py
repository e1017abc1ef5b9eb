"""What is random, and which rows come when: computed from the seed and a number, never stored."""

from collections.abc import Hashable, Sequence

import numpy as np

PURPOSES = ("order", "masking", "dropout", "evaluation", "pairs", "split")


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
    places = np.arange(number * size, min((number + 1) * size, count))
    return shuffled(places, count, generator(seed, "order", epoch))


def rows_of_like_length_at(
    step: int, lengths: np.ndarray, size: int, seed: int, pool: int = 50
) -> np.ndarray:
    """Return the row numbers of the batch at `step`, rows of like length together.

    An epoch's order is that of `rows_at`; then the rows of `pool` batches at a time are sorted by
    length, and the batches come in an order of their own.

    Args:
        step: from 0.
        lengths: (S,), of the rows.
        size: B, rows in a batch.
        seed: of the order.
        pool: batches that are sorted together.
    """
    count = len(lengths)
    batches = steps_per_epoch(count, size)
    epoch, number = divmod(step, batches)
    rng = generator(seed, "order", epoch)
    order = shuffled(np.arange(count), count, rng)
    # The batch that may be smaller stays the last one.
    whole = rng.permutation(count // size)
    number = int(whole[number]) if number < len(whole) else number
    first = number // pool * pool * size
    near = order[first : first + pool * size]
    near = near[np.argsort(-lengths[near], kind="stable")]
    return near[number * size - first : (number + 1) * size - first]


def steps_per_epoch(count: int, size: int) -> int:
    """Return how many batches of `size` rows go through `count` rows once."""
    return -(-count // size)


def held_out_of(classes: Sequence[Hashable], share: float, seed: int) -> np.ndarray:
    """Draw the share of the rows that is held out, of each class alike.

    A class with two rows or more has one on either side at least; one with a single row is trained
    on.

    >>> held_out_of(["a"] * 8 + ["b"] * 4 + ["c"], 0.25, seed=0).reshape(-1).tolist()
    [1, 2, 11]

    Args:
        classes: of the rows.  share: from 0 to 1.  seed: of the draw.

    Returns:
        the numbers of the rows that are held out, in order.
    """
    rng = generator(seed, "split")
    rows_of: dict[Hashable, list[int]] = {}
    for row, name in enumerate(classes):
        rows_of.setdefault(name, []).append(row)
    chosen: list[int] = []
    for rows in rows_of.values():
        number = min(max(round(share * len(rows)), 1), len(rows) - 1)
        chosen += rng.permutation(rows)[:number].tolist()
    return np.array(sorted(chosen), int)


def shuffled(places: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return what stands at these places when the numbers below `count` are shuffled.

    The order is computed and not stored, so a corpus of any size can be shuffled: a Feistel network
    of four rounds permutes the numbers below the next power of four, and a number that lands at
    `count` or above goes on until it lands below. Luby and Rackoff (1988); Black and Rogaway
    (2002), section 4.

    >>> sorted(shuffled(np.arange(7), 7, np.random.default_rng(0)).tolist())
    [0, 1, 2, 3, 4, 5, 6]

    Args:
        places: of integers from 0 to count - 1.  count: how many numbers there are.
        rng: decides the order.
    """
    half = np.uint64(max((count - 1).bit_length() + 1, 2) // 2)
    low = np.uint64((1 << int(half)) - 1)
    keys = rng.integers(0, 2**64, 4, dtype=np.uint64)
    numbers = np.asarray(places).astype(np.uint64)
    moving = np.ones(numbers.shape, bool)
    while moving.any():
        left, right = numbers[moving] >> half, numbers[moving] & low
        for key in keys:
            left, right = right, left ^ (_mixed(right, key) & low)
        numbers[moving] = left << half | right
        moving = numbers >= count
    return numbers.astype(np.int64)


def _mixed(numbers, key):
    """Spread each bit over the others: multiply by odd constants, and fold the upper half down."""
    mixed = (numbers ^ key) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(32)) * np.uint64(0xD6E8FEB86659FD93)
    return mixed ^ mixed >> np.uint64(32)
