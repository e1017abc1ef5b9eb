"""Chapter 11: clip the gradients by their common norm."""

import numpy as np  # noqa: F401 (for your code)


def clip_gradients(gradients, longest):
    """Shorten all gradients by one factor, so that their common norm is at most `longest`.

        norm = √(Σ g²), over all numbers of all gradients

    Shorter gradients are unchanged.

    Args:
        gradients: a list of arrays of any shapes.
        longest: the largest norm.

    Returns:
        a list of new arrays.
    """
    raise NotImplementedError
