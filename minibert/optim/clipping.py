"""Clipping the gradient by its global norm."""

import math
from collections.abc import Sequence

import numpy as np

from minibert.typing import Array


def clip_scale(
    gradient: Array | Sequence[Array], max_norm: float, squared: float | None = None
) -> tuple[float, float]:
    """Return the gradient norm, and the factor that limits it to `max_norm`.

        scale = min(1, max_norm / ‖g‖)

    Pascanu, Mikolov and Bengio (2013), algorithm 1.

    >>> clip_scale(np.array([3.0, 4.0]), 1.0)
    (5.0, 0.2)

    Args:
        gradient (P,): g, the gradient of all parameters; or its pieces, (n,) each.
        max_norm: the largest norm.
        squared: the sum of the squares, where it is known.
    """
    pieces = [gradient] if isinstance(gradient, np.ndarray) else gradient
    largest = 1.0
    if squared is None:
        squared = _sum_of_squares(pieces, largest)
    tiny = max((float(np.finfo(piece.dtype).tiny) for piece in pieces), default=0.0)
    if not tiny < squared < math.inf:  # the squares over- or underflow
        largest = max((float(np.abs(piece).max(initial=0)) for piece in pieces), default=0.0) or 1.0
        squared = _sum_of_squares(pieces, largest)
    norm = largest * math.sqrt(squared)
    return norm, min(1.0, max_norm / norm) if norm > 0 else 1.0


def _sum_of_squares(pieces: Sequence[Array], unit: float) -> float:
    """Return the sum of the squares of all numbers, each divided by `unit`."""
    with np.errstate(over="ignore"):
        parts = [piece if unit == 1 else piece / unit for piece in pieces]
        return sum(float(np.dot(part, part)) for part in parts)
