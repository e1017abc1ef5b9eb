"""Dropout: while training, silence random units so that none relies on another."""

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
        out, and the cache that `dropout_backward` needs: m / (1 - p), or None where nothing fell.
    """
    threshold = min(round(rate * LEVELS), LEVELS - 1)
    if rng is None or threshold == 0:
        return x, None
    words = rng.integers(0, 2**64 - 1, -(-x.size // 4), dtype=np.uint64, endpoint=True)
    draws = words.view(np.uint16)[: x.size].reshape(x.shape)
    scale = x.dtype.type(LEVELS / (LEVELS - threshold))
    mask = np.multiply(draws >= threshold, scale)
    return x * mask, mask


def dropout_backward(dout, mask):
    """Gradient of `dropout_forward`: dx = dout · m / (1 - p)."""
    return dout if mask is None else dout * mask
