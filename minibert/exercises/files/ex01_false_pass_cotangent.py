"""Chapter 1: choose a cotangent for which a gradient check finds the error of a softmax."""

import numpy as np


def softmax_forward(x):
    """Turn each row of x (N, C) into weights that sum to one."""
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    weights = exp / exp.sum(axis=-1, keepdims=True)  # (N, C)
    return weights, weights


def softmax_backward(dout, weights):
    """Wrong on purpose: it subtracts the plain mean of dout; leave it unchanged."""
    return weights * (dout - dout.mean(axis=-1, keepdims=True))


def choose_cotangent(N, C):
    """Return weights of the outputs for which the check fails, as it should.

    A gradient check compares `softmax_backward(dout, weights)` with the slopes of

        Σ dout · weights

    With `dout = np.ones((N, C))` it passes, although the backward is wrong. Explain that to
    yourself: which slopes does this sum have? Then choose a dout for which the check fails.

    Args:
        N, C: the numbers of rows and columns.

    Returns:
        dout (N, C).
    """
    raise NotImplementedError
