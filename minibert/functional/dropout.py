"""Dropout: while training, silence random units so that none relies on another."""

import math
from typing import NamedTuple

import numpy as np

from minibert.typing import Array, Rng

LEVELS = 1 << 16  # each unit uses one uint16 draw; a float per unit takes 4 times as long


class DropoutMask(NamedTuple):
    """The units that dropout keeps."""

    kept: Array  # booleans, because they take a byte each
    scale: float  # 1 / (1 - p), by which the kept units are multiplied

    def at(self, part: tuple[slice, ...]) -> "DropoutMask":
        """Return the mask of a part of the units."""
        return DropoutMask(self.kept[part], self.scale)


def draw_mask(shape: tuple[int, ...], rate: float, rng: Rng | None) -> DropoutMask | None:
    """Draw which units dropout keeps; None if it drops none.

    A unit is dropped with probability p, which is `rate` rounded to a multiple of 2⁻¹⁶.
    """
    threshold = min(round(rate * LEVELS), LEVELS - 1)
    if rng is None or threshold == 0:
        return None
    size = math.prod(shape)
    words = rng.integers(0, 2**64 - 1, -(-size // 4), dtype=np.uint64, endpoint=True)
    draws = words.view(np.uint16)[:size].reshape(shape)  # four draws from each word
    return DropoutMask(draws >= threshold, LEVELS / (LEVELS - threshold))


def dropout_forward(x: Array, rate: float, rng: Rng | None) -> tuple[Array, DropoutMask | None]:
    """Set each unit to zero with probability p, and scale the others up to keep the mean.

        out = x · m / (1 - p),   m = 0 with probability p, else 1

    The scale is that of the rounded p, so the expectation of out is exactly x. Srivastava et al.
    (2014), section 4, with the scale applied while training.

    Args:
        x (...): the units.
        rate: from 0 to below 1.
        rng: draws the mask; None: no dropout, out is x.

    Returns:
        out (...), and the cache that `dropout_backward` needs: the mask.
    """
    mask = draw_mask(x.shape, rate, rng)
    return dropout_backward(x, mask), mask  # a linear map that is its own transpose


def dropout_backward(dout: Array, mask: DropoutMask | None) -> Array:
    """Gradient of `dropout_forward`: dx = dout · m / (1 - p)."""
    if mask is None:
        return dout
    dx: Array = dout * mask.kept
    dx *= dx.dtype.type(mask.scale)
    return dx
