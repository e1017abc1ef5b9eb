"""Chapter 3: write a cross-entropy that ignores some labels."""

import numpy as np  # noqa: F401 (for your code)

IGNORED = -100  # the label of a position that does not count


def cross_entropy_forward(logits, labels):
    """Return the mean loss of the n labels that are not -100.

        loss = -(1/n) Σ_i log softmax(logits_i)[label_i]

    If nothing counts, the loss is 0. Logits of 1000 are allowed.

    Args:
        logits (M, C): any finite numbers.
        labels (M,): integers from 0 to C - 1, or -100.

    Returns:
        loss, a number.
    """
    raise NotImplementedError
