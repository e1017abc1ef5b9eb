"""Chapter 6: write the backward of attention."""

import numpy as np


def softmax_backward(dweights, weights):
    """Return the gradient of the scores (..., T) from that of the weights (..., T)."""
    return weights * (dweights - (dweights * weights).sum(axis=-1, keepdims=True))


def attention_forward(query, key, value, mask):
    """Average the values by how well each query matches the keys; all are (B, K, T, H)."""
    scores = query @ key.swapaxes(-1, -2)  # (B, K, T, H) @ (B, K, H, T) -> (B, K, T, T)
    scores = scores / np.sqrt(query.shape[-1])
    scores = np.where(mask[:, None, None, :], scores, -np.inf)  # (B, 1, 1, T) hides keys
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = exp / exp.sum(axis=-1, keepdims=True)
    out = weights @ value  # (B, K, T, T) @ (B, K, T, H) -> (B, K, T, H)
    return out, (query, key, value, weights)


def attention_backward(dout, cache):
    """Undo out = weights V, then the softmax, then scores = Q Kᵀ / √H.

    `softmax_backward` is given. A hidden key has the weight 0, so its gradient is 0.

    Args:
        dout (B, K, T, H): the gradient of out.
        cache: query, key, value (B, K, T, H), and weights (B, K, T, T).

    Returns:
        dquery, dkey, dvalue (B, K, T, H).
    """
    raise NotImplementedError
