"""The hyperbolic tangent, with which the pooler ends."""

import numpy as np

from minibert.typing import Array


def tanh_forward(x: Array) -> tuple[Array, Array]:
    """Return tanh(x), which is also the cache that `tanh_backward` needs."""
    out = np.tanh(x)
    return out, out


def tanh_backward(dout: Array, out: Array) -> Array:
    """Gradient of `tanh_forward`: dx = dout · (1 - out²)."""
    dx: Array = dout * (1 - out * out)
    return dx
