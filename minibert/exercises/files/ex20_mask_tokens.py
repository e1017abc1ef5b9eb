"""Chapter 10: choose the targets of masked language modelling, and hide most of them."""

import numpy as np  # noqa: F401 (for your code)

IGNORED = -100  # the label of a token that is not a target
MASK = 3  # the id of [MASK]; 0 to 3 are special tokens, ordinary ones have the ids from 4 to V - 1


def mask_tokens(ids, V, rng):
    """Return what the model sees, and the labels.

    Each ordinary token is a target with the probability 15 %. Of the targets 80 % are shown as
    [MASK], 10 % as a random ordinary token, and 10 % unchanged. Special tokens are never targets.

    Args:
        ids (B, T): integers from 0 to V - 1; it must not be changed.
        V: the size of the vocabulary.
        rng: np.random.Generator, with the methods random(shape) and integers(low, high, shape).

    Returns:
        shown (B, T): what the model sees.
        labels (B, T): the original id at a target, -100 elsewhere.
    """
    raise NotImplementedError
