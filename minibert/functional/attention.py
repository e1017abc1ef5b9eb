"""Scaled dot-product attention, and the masked softmax at its heart."""

import math

import numpy as np

from minibert.functional.dropout import dropout_backward, dropout_forward


def softmax_forward(scores, bias=None):
    """Turn each row of scores into weights that sum to one.

        p_j = exp(s_j + b_j) / Σ_k exp(s_k + b_k)

    The row's maximum is subtracted first, which changes nothing, and no exponential overflows. A
    bias of -inf gives a weight of exactly 0; a row where all are -inf gives zeros.

    Args:
        scores: (..., T).  bias: broadcasts against scores; None: zeros.

    Returns:
        weights (..., T), which are also the cache that `softmax_backward` needs.
    """
    # A copy either way: the arithmetic below is in place.
    weights = scores.copy() if bias is None else scores + bias
    # The smallest finite number instead of a maximum of -inf, for -inf - (-inf) is not a number.
    with np.errstate(over="ignore"):  # so far below the maximum, -inf has the weight they get: 0
        weights -= np.maximum(weights.max(axis=-1, keepdims=True), np.finfo(weights.dtype).min)
    np.exp(weights, out=weights)
    total = weights.sum(axis=-1, keepdims=True)
    weights /= np.where(total == 0, 1, total)
    return weights, weights


def softmax_backward(dweights, weights):
    """Gradient of `softmax_forward` with respect to the scores.

    ds_j = p_j · (dp_j - Σ_k dp_k p_k)
    """
    dscores = dweights * weights
    dscores -= weights * dscores.sum(axis=-1, keepdims=True)
    return dscores


def padding_bias(mask, dtype):
    """The bias that hides padding from `softmax_forward`.

    Args:
        mask: (B, T), 1 for a token to attend to and 0 for padding.  dtype: of the scores.

    Returns:
        (B, 1, 1, T), 0 for a token and -inf for padding; None if nothing is hidden.
    """
    if np.all(mask):
        return None
    return np.where(mask, 0, -np.inf).astype(dtype)[:, None, None, :]


def attention_forward(query, key, value, bias=None, rate=0.0, rng=None):
    """Give each query the mean of the values, weighted by how well their keys match it.

        out = dropout(softmax(Q Kᵀ / √H + bias)) V

    Vaswani et al. (2017), eq. 1; dropout on the weights as in Devlin et al. (2019).

    Args:
        query: (B, K, R, H), R rows that ask.  key, value: (B, K, T, H), T tokens that answer.
        bias: broadcasts against (B, K, R, T), -inf where nothing may be read; None: all may.
        rate, rng: of the dropout.

    Returns:
        out (B, K, R, H), and the cache that `attention_backward` needs; its `[0]` is the weights
        (B, K, R, T) before dropout.
    """
    scores = query @ key.swapaxes(-1, -2)  # (B, K, R, H) @ (B, K, H, T) -> (B, K, R, T)
    scores *= 1 / math.sqrt(query.shape[-1])
    weights, _ = softmax_forward(scores, bias)
    dropped, mask = dropout_forward(weights, rate, rng)
    out = dropped @ value  # (B, K, R, T) @ (B, K, T, H) -> (B, K, R, H)
    return out, (weights, dropped, mask, query, key, value)


def attention_backward(dout, cache):
    """Gradient of `attention_forward`; returns dquery, dkey, dvalue, shaped like the inputs."""
    weights, dropped, mask, query, key, value = cache
    dvalue = dropped.swapaxes(-1, -2) @ dout  # (B, K, T, R) @ (B, K, R, H) -> (B, K, T, H)
    ddropped = dout @ value.swapaxes(-1, -2)  # (B, K, R, H) @ (B, K, H, T) -> (B, K, R, T)
    dscores = softmax_backward(dropout_backward(ddropped, mask), weights)
    dscores *= 1 / math.sqrt(query.shape[-1])
    dquery = dscores @ key  # (B, K, R, T) @ (B, K, T, H) -> (B, K, R, H)
    dkey = dscores.swapaxes(-1, -2) @ query  # (B, K, T, R) @ (B, K, R, H) -> (B, K, T, H)
    return dquery, dkey, dvalue
