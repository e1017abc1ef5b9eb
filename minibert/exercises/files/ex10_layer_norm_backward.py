"""Chapter 4: write the backward of a layer norm."""

import numpy as np

EPS = 1e-12


def layer_norm_forward(x, weight, bias):
    """Give each row of x (N, D) mean 0 and variance 1, then scale and shift it."""
    std = np.sqrt(x.var(axis=-1, keepdims=True) + EPS)  # (N, 1)
    normed = (x - x.mean(axis=-1, keepdims=True)) / std  # x̂ (N, D)
    return normed * weight + bias, (normed, std, weight)


def layer_norm_backward(dout, cache):
    """Undo out = x̂ · weight + bias, then x̂ = (x - mean) / std.

    x reaches x̂ on three paths: directly, through the mean, and through std. With dnormed, the
    gradient of x̂, the last two remove from dnormed its mean, and its component along x̂.

    Args:
        dout (N, D): the gradient of out.
        cache: normed (N, D), std (N, 1), weight (D,).

    Returns:
        dx (N, D), dweight (D,), dbias (D,).
    """
    raise NotImplementedError
