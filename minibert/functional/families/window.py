"""Attention to near tokens alone: blocks of a band instead of all pairs of tokens.

In most layers of a ModernBERT a token attends to those at most w places away. The weights of a text
of T tokens are then a band of 2w + 1 diagonals. Cut into blocks of S queries, the band is T / S
small attentions, each to at most S + 2w keys: T (S + 2w) pairs instead of T². The pairs in the
corners of a block that are too far from each other get a bias of -inf.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from minibert.functional.attention import AttentionCache, attention_backward, attention_forward
from minibert.typing import Array, Rng

MIN_BLOCK = 8  # queries of a block, if the window is narrower


def band_blocks(length: int, window: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Yield the queries of each block, and the keys that are near any of them.

    >>> [(own.start, own.stop, near.start, near.stop) for own, near in band_blocks(7, 1, 3)]
    [(0, 3, 0, 4), (3, 6, 2, 7), (6, 7, 5, 7)]

    Args:
        length: T.
        window: w, the largest distance of a near token.
        size: S.
    """
    for start in range(0, length, size):
        stop = min(start + size, length)
        yield slice(start, stop), slice(max(start - window, 0), min(stop + window, length))


def window_blocks(length: int, window: int, size: int | None = None) -> list[tuple[slice, slice]]:
    """Return the blocks of `window_attention_forward` (list), as `band_blocks`.

    Args:
        length: T.
        window: w.
        size: S; None: w, and at least 8, but T up to 2w tokens, where blocks would spare no pair.
    """
    if size is None:
        size = length if length <= 2 * window else max(window, MIN_BLOCK)
    return list(band_blocks(length, window, size))


def window_bias(queries: Array, keys: Array, window: int, dtype: DTypeLike) -> Array | None:
    """Return 0 for the pairs of positions that are near each other and -inf for the others.

    Args:
        queries (..., R), keys (T,): the positions.
        window: w.
        dtype: of the scores.

    Returns:
        (..., R, T); None if all are near.
    """
    far = np.abs(queries[..., None] - keys) > window  # (..., R, T)
    return np.where(far, -np.inf, 0).astype(dtype) if far.any() else None


class BandBlock(NamedTuple):
    """The queries of a block, the keys near them, and the cache of their attention."""

    own: slice
    near: slice
    attention: AttentionCache


class WindowCache(AttentionCache):
    """The fields of an `AttentionCache`, with the blocks of the band in place of the weights."""

    @property
    def blocks(self) -> list[BandBlock]:
        """The blocks of the band."""
        found: Any = self[0]
        return list(found)

    @property
    def weights(self) -> Array:
        """The attention weights (B, K, T, T), 0 outside the band: made for inspection alone."""
        B, K, T, _ = self.query.shape
        weights = np.zeros((B, K, T, T), self.query.dtype)
        for own, near, attention in self.blocks:
            weights[:, :, own, near] = attention.weights
        return weights


def window_attention_forward(
    query: Array, key: Array, value: Array, window: int, mask: Array | None = None,
    rate: float = 0.0, rng: Rng | None = None, keep: bool = True, size: int | None = None,
) -> tuple[Array, WindowCache | None]:  # fmt: skip
    """Give each query the mean of the values at most w places away, weighted as in attention.

        out_i = Σ_j p_ij v_j,   p_i = softmax over |i - j| <= w of q_i · k_j / √H

    Beltagy et al. (2020), "Longformer", section 3.1, cut the band into blocks, too.

    Args:
        query, key, value (B, K, T, H): at the positions 0 to T - 1.
        window: w.
        mask (B, 1, 1, T): -inf for padding, 0 elsewhere; None: nothing is padding.
        rate, rng, keep: as in `attention_forward`.
        size: S, as in `window_blocks`.

    Returns:
        out (B, K, T, H), as in `attention_forward`; and the cache, None without `keep`.
    """
    B, K, T, H = query.shape
    out = np.empty((B, T, K, H), query.dtype).transpose(0, 2, 1, 3)  # -> (B, K, T, H)
    at, blocks = np.arange(T), []
    for own, near in window_blocks(T, window, size):
        bias = window_bias(at[own], at[near], window, query.dtype)  # (S, S + 2w)
        out[:, :, own], cache = attention_forward(
            query[:, :, own], key[:, :, near], value[:, :, near],
            None if mask is None else mask[..., near], bias, rate, rng, keep,
        )  # fmt: skip
        if cache is not None:
            blocks.append(BandBlock(own, near, cache))
    band: Any = blocks
    return out, WindowCache(band, None, query, key, value) if keep else None


def window_attention_backward(
    dout: Array, cache: WindowCache, gradients: Sequence[Array] | None = None
) -> tuple[Array, Array, Array]:
    """Gradient of `window_attention_forward`: dquery, dkey and dvalue.

    A query is in one block, and its gradient is assigned. A key is near the queries of several
    blocks, and their gradients add.

    Args:
        dout (B, K, T, H): the gradient of out.
        cache: of the forward.
        gradients: zeros for dquery, dkey and dvalue, (B, K, T, H) each; None: new ones.
    """
    dquery, dkey, dvalue = gradients or [np.zeros_like(cache.query) for _ in range(3)]
    for own, near, attention in cache.blocks:
        dquery[:, :, own], dnear_key, dnear_value = attention_backward(dout[:, :, own], attention)
        dkey[:, :, near] += dnear_key
        dvalue[:, :, near] += dnear_value
    return dquery, dkey, dvalue
