"""Clipping the gradient by its global norm."""

import math

import numpy as np

from minibert.typing import Array


def clip_scale(gradient: Array, max_norm: float) -> tuple[float, float]:
    """Return the gradient norm, and the factor that limits it to `max_norm`.

        scale = min(1, max_norm / ‖g‖)

    Pascanu, Mikolov and Bengio (2013), algorithm 1.

    >>> clip_scale(np.array([3.0, 4.0]), 1.0)
    (5.0, 0.2)

    Args:
        gradient (P,): g, the gradient of all parameters.
        max_norm: the largest norm.
    """
    with np.errstate(over="ignore"):
        squared, largest = float(np.dot(gradient, gradient)), 1.0
    if not np.finfo(gradient.dtype).tiny < squared < math.inf:  # the squares over- or underflow
        largest = float(np.abs(gradient).max(initial=0)) or 1.0
        squared = float(np.dot(gradient / largest, gradient / largest))
    norm = largest * math.sqrt(squared)
    return norm, min(1.0, max_norm / norm) if norm > 0 else 1.0
