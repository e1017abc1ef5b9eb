"""Scaled dot-product attention, and the masked softmax inside it."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from minibert.functional.dropout import DropoutMask, draw_mask, dropout_backward
from minibert.typing import Array, Rng

# Attention weights of a piece: attention runs over a few sequences or heads at a time, so that
# scores, weights and their product with the values stay in the core's cache.
PIECE_ELEMENTS = 65_536


def attention_pieces(B: int, K: int, cells: int) -> Iterator[tuple[slice, slice]]:
    """Yield the sequences and heads of each piece of weights (B, K, R, T), R·T cells a head.

    >>> [(rows.stop, heads.start, heads.stop) for rows, heads in attention_pieces(1, 3, 30_000)]
    [(1, 0, 2), (1, 2, 3)]
    """
    heads = min(max(PIECE_ELEMENTS // cells, 1), K)
    step = max(PIECE_ELEMENTS // (K * cells), 1)
    for start in range(0, B, step):
        for head in range(0, K, heads):
            yield slice(start, min(start + step, B)), slice(head, min(head + heads, K))


def softmax_forward(scores: Array, bias: Array | None = None) -> tuple[Array, Array]:
    """Turn each row of scores into weights that sum to one.

        p_j = exp(s_j + b_j) / Σ_k exp(s_k + b_k)

    The row's maximum is subtracted first, which changes nothing, and no exponential overflows. A
    bias of -inf gives a weight of exactly 0; a row where all are -inf gives zeros.

    Args:
        scores (..., T): s; consumed, the weights take its memory.
        bias: b, broadcasts against scores; None: zeros.

    Returns:
        weights (..., T), which are also the cache that `softmax_backward` needs.
    """
    if bias is not None:
        scores += bias
    # The smallest finite number instead of a maximum of -inf, because -inf - (-inf) is NaN.
    with np.errstate(over="ignore"):  # so far below the maximum, -inf has the right weight: 0
        scores -= np.maximum(scores.max(axis=-1, keepdims=True), np.finfo(scores.dtype).min)
    np.exp(scores, out=scores)
    # scores.sum(axis=-1), by a matmul, because `sum` is slow on short rows.
    total = scores @ np.ones((scores.shape[-1], 1), scores.dtype)  # (..., T) @ (T, 1) -> (..., 1)
    scores /= np.where(total == 0, 1, total)
    return scores, scores


def softmax_backward(dweights: Array, weights: Array) -> Array:
    """Gradient of `softmax_forward` with respect to the scores.

        ds_j = p_j · (dp_j - Σ_k dp_k p_k)

    Args:
        dweights (..., T): dp; consumed, the result takes its memory.
        weights (..., T): p.
    """
    dweights *= weights
    ones = np.ones((weights.shape[-1], 1), weights.dtype)
    dweights -= weights * (dweights @ ones)  # (..., T) @ (T, 1) -> (..., 1)
    return dweights


def padding_mask(attention_mask: Array, dtype: DTypeLike) -> Array | None:
    """Return the bias that hides padding from a softmax.

    Args:
        attention_mask (B, T): 1 for a token to attend to, 0 for padding.
        dtype: of the scores.

    Returns:
        (B, 1, 1, T), 0 for a token and -inf for padding; None if nothing is padding.
    """
    if np.all(attention_mask):
        return None
    return np.where(attention_mask, 0, -np.inf).astype(dtype)[:, None, None, :]


class AttentionCache(NamedTuple):
    """What `attention_backward` needs."""

    weights: Array  # (B, K, R, T), the attention weights before dropout
    mask: DropoutMask | None
    query: Array  # (B, K, R, H)
    key: Array  # (B, K, T, H)
    value: Array  # (B, K, T, H)


def attention_forward(
    query: Array, key: Array, value: Array, mask: Array | None = None, bias: Array | None = None,
    rate: float = 0.0, rng: Rng | None = None, keep: bool = True,
) -> tuple[Array, AttentionCache | None]:  # fmt: skip
    """Give each query the mean of the values, weighted by how well their keys match it.

        out = dropout(softmax(Q Kᵀ / √H + bias + mask)) V

    Vaswani et al. (2017), eq. 1; dropout on the weights as in Devlin et al. (2019).

    Args:
        query (B, K, R, H): R query positions.
        key (B, K, T, H), value (B, K, T, H): T tokens.
        mask: broadcasts against (B, K, R, T), -inf where nothing may be read; None: zeros.
        bias: the same, of positions; its gradient is that of the scores.
        rate: of the dropout.
        rng: draws the dropout mask; None: no dropout.
        keep: False: no backward follows, so the weights of a piece at a time are enough.

    Returns:
        out (B, K, R, H), in memory as (B, R, K, H), the heads of a token side by side; and the
        cache that `attention_backward` needs, None without `keep`.
    """
    B, K, R, H = query.shape
    T, scale = key.shape[2], query.dtype.type(1 / math.sqrt(H))
    out = np.empty((B, R, K, H), query.dtype).transpose(0, 2, 1, 3)  # -> (B, K, R, H)
    dropped = draw_mask((B, K, R, T), rate, rng)
    biases = [np.broadcast_to(b, (B, K, R, T)) for b in (bias, mask) if b is not None]
    weights = np.empty((B, K, R, T) if keep else 0, query.dtype)
    for part in attention_pieces(B, K, R * T):
        # (b, k, R, H) @ (b, k, H, T) -> (b, k, R, T)
        kept = weights[part] if keep else None
        scores = np.matmul(query[part] * scale, key[part].swapaxes(-1, -2), out=kept)
        for each in biases:
            scores += each[part]
        softmax_forward(scores)
        scaled = scores if dropped is None else dropout_backward(scores, dropped.at(part))
        # (b, k, R, T) @ (b, k, T, H) -> (b, k, R, H)
        np.matmul(scaled, value[part], out=out[part])
    return out, AttentionCache(weights, dropped, query, key, value) if keep else None


def attention_backward(
    dout: Array, cache: AttentionCache, dscores: Array | None = None,
    gradients: Sequence[Array] | None = None,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Gradient of `attention_forward`: dquery, dkey and dvalue.

    Args:
        dout (B, K, R, H): the gradient of out.
        cache: of the forward.
        dscores (B, K, R, T): filled with the gradient of Q Kᵀ / √H, which is that of `bias`; None:
            not asked for.
        gradients: memory for dquery, dkey and dvalue, (B, K, ·, H) each; None: new memory.
    """
    weights, mask, query, key, value = cache
    B, K, R, T = weights.shape
    H, scale = query.shape[-1], query.dtype.type(1 / math.sqrt(query.shape[-1]))
    dquery, dkey, dvalue = gradients or [np.empty((B, K, n, H), query.dtype) for n in (R, T, T)]
    for part in attention_pieces(B, K, R * T):
        # Dropout is applied again, because the result would be as large as the weights.
        dropped = weights[part] if mask is None else dropout_backward(weights[part], mask.at(part))
        # (b, k, T, R) @ (b, k, R, H) -> (b, k, T, H)
        np.matmul(dropped.swapaxes(-1, -2), dout[part], out=dvalue[part])
        # (b, k, R, H) @ (b, k, H, T) -> (b, k, R, T)
        dweights = dout[part] @ value[part].swapaxes(-1, -2)
        if mask is not None:
            dweights = dropout_backward(dweights, mask.at(part))
        scores = softmax_backward(dweights, weights[part])
        if dscores is not None:
            dscores[part] = scores
        scores *= scale
        # (b, k, R, T) @ (b, k, T, H) -> (b, k, R, H)
        np.matmul(scores, key[part], out=dquery[part])
        # (b, k, T, R) @ (b, k, R, H) -> (b, k, T, H)
        np.matmul(scores.swapaxes(-1, -2), query[part], out=dkey[part])
    return dquery, dkey, dvalue
