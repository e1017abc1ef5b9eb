"""Dropout: while training, silence random units so that none relies on another."""

import math

import numpy as np

LEVELS = 1 << 16  # a unit's fate is one 16-bit number; drawing a float for each costs 4 times more


def dropout_forward(x, rate, rng):
    """Set each number to zero with probability `rate`, and scale the others up to keep the mean.

        out = x · m / (1 - p),   m = 0 with probability p, else 1

    p is `rate` rounded to a multiple of 2⁻¹⁶, and the scale is that of p, so that the expectation
    of out is exactly x. Srivastava et al. (2014), section 4, with the scale applied while training.

    Args:
        x: any shape.  rate: from 0 to below 1.
        rng: a `numpy.random.Generator`; None: no dropout, out is x.

    Returns:
        out, and the cache that `dropout_backward` needs: see `draw_mask`.
    """
    mask = draw_mask(x.shape, rate, rng)
    return dropout_backward(x, mask), mask  # a linear map that is its own transpose


def dropout_backward(dout, mask):
    """Gradient of `dropout_forward`: dx = dout · m / (1 - p)."""
    if mask is None:
        return dout
    kept, scale = mask
    dx = dout * kept
    dx *= dx.dtype.type(scale)
    return dx


def draw_mask(shape, rate, rng):
    """Draw which numbers dropout keeps.

    Returns:
        m as truth values, of a byte each, and the scale 1 / (1 - p); or None where nothing falls.
    """
    threshold = min(round(rate * LEVELS), LEVELS - 1)
    if rng is None or threshold == 0:
        return None
    size = math.prod(shape)
    words = rng.integers(0, 2**64 - 1, -(-size // 4), dtype=np.uint64, endpoint=True)
    draws = words.view(np.uint16)[:size].reshape(shape)
    return draws >= threshold, LEVELS / (LEVELS - threshold)
