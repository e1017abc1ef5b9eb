"""Chapter 7: repair the backward of the three maps of an attention."""

import numpy as np


def three_maps_forward(x, query, key, value):
    """Map x (N, I) by three weights (O, I) each, side by side."""
    weights = (query, key, value)
    out = np.concatenate([x @ weight.T for weight in weights], axis=-1)  # (N, 3 · O)
    return out, (x, weights)


def three_maps_backward(dout, cache):
    """Undo the three maps. One line contains a bug: find it with a gradient check, repair it.

    Args:
        dout (N, 3 · O): the gradient of out.
        cache: x (N, I), and three weights (O, I).

    Returns:
        dx (N, I), dquery, dkey, dvalue (O, I).
    """
    x, weights = cache
    dx = np.zeros_like(x)
    dweights = []
    for weight, dpart in zip(weights, np.split(dout, 3, axis=-1), strict=True):
        dx = dpart @ weight  # (N, O) @ (O, I) -> (N, I)
        dweights.append(dpart.T @ x)  # (O, N) @ (N, I) -> (O, I)
    return dx, *dweights
