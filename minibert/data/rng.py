"""Random generators, derived from the seed, a purpose and a position in the run."""

from numbers import Integral

import numpy as np

RandomState = int | np.random.RandomState | np.random.Generator | None
MAX_SEED = 2**31 - 1  # of a drawn seed

# A purpose's index is part of its seed: append new purposes, never reorder them.
PURPOSES = (
    "order", "masking", "dropout", "evaluation", "pairs", "split", "initialization", "pieces",
    "replacing",
)  # fmt: skip


def generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """Return the random generator of a purpose at a position of a run.

    The same arguments give the same draws. So a run can be resumed at any step, and no generator
    state is ever saved.

    Args:
        seed (int): seed of the run, 0 or more.
        purpose (str): one of `PURPOSES`.
        position (int): an epoch, or a step, or a step and a shard.
    """
    return np.random.default_rng((seed, PURPOSES.index(purpose) + 1, *position))


def seed_of(random_state: RandomState) -> int:
    """Return the seed (int) of a `random_state` as in scikit-learn.

    Args:
        random_state: a seed; or a generator that draws one; None: drawn from NumPy's global
            generator, as in scikit-learn.

    Raises:
        TypeError, ValueError: it is neither, or negative.
    """
    match random_state:
        case Integral():
            if random_state < 0:
                raise ValueError(f"random_state: expected 0 or more, got {random_state}")
            return int(random_state)
        case None:
            return int(np.random.randint(MAX_SEED))  # noqa: NPY002
        case np.random.RandomState():
            return int(random_state.randint(MAX_SEED))
        case np.random.Generator():
            return int(random_state.integers(MAX_SEED))
    raise TypeError(f"random_state: expected a seed, a generator or None, got {random_state!r:.80}")
