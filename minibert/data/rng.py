"""Random generators, derived from the seed, a purpose and a position in the run."""

import numpy as np

# A purpose's index is part of its seed: append new purposes, never reorder them.
PURPOSES = ("order", "masking", "dropout", "evaluation", "pairs", "split")


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
