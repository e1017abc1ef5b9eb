"""Chapter 3: write the backward of a softmax."""

import numpy as np


def softmax_forward(scores):
    """Turn each row of scores (N, C) into weights that sum to one."""
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = exp / exp.sum(axis=-1, keepdims=True)  # (N, C)
    return weights, weights


def softmax_backward(dweights, weights):
    """Undo the softmax.

    Each score moves every weight of its row: ∂weight_j / ∂score_i = weight_j (1[i = j] - weight_i).

    Args:
        dweights (N, C): the gradient of the weights.
        weights (N, C): the cache.

    Returns:
        dscores (N, C).
    """
    raise NotImplementedError
