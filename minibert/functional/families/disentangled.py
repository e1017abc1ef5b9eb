"""Disentangled attention: content reads positions, and positions read content.

He et al. (2021), section 3.1. Each token has a vector of its content, each distance of two tokens
one of its position. Of the four products of the two, attention uses three: content with content,
as in BERT, and the two of this file.
"""

from typing import NamedTuple

import numpy as np

from minibert.functional.attention import attention_pieces
from minibert.functional.embedding import gather_backward
from minibert.typing import Array

# Tokens of a block. Each reads T of the 2T distances, and a block computes S + T of them: little
# more than half of the products, which stay in the core's cache until they are read.
BLOCK = 64


def log_buckets(distances: Array, buckets: int, farthest: int) -> Array:
    """Return the bucket of each distance: that of a query to a key, i - j.

        b(d) = d for |d| <= m, else sign(d) (m + ⌈(m - 1) log(|d| / m) / log((F - 1) / m)⌉)

    with m = S / 2 and F the farthest distance. He et al. (2021), appendix A.5, in their code of
    DeBERTa-v2: near distances have a bucket each, farther ones share one with their neighbours.

    Args:
        distances (n,): integers.
        buckets: S, the number of buckets in each direction.
        farthest: F.
    """
    middle = buckets // 2
    near = np.abs(distances) <= middle
    # In float32 as in the models' code, because the bucket of a distance depends on the rounding.
    n = np.where(near, middle, np.abs(distances)).astype(np.float32)
    steps = np.log(n / np.float32(middle)) / np.log(np.float32((farthest - 1) / middle))
    far = np.ceil(steps * np.float32(middle - 1)).astype(np.int64) + middle
    found: Array = np.where(near, distances, np.sign(distances) * far)
    return found


class DisentangledCache(NamedTuple):
    """What `disentangled_backward` needs: the inputs."""

    query: Array  # (B, K, R, H)
    key: Array  # (B, K, T, H)
    key_at: Array | None  # (K, 2T, H)
    query_at: Array | None  # (K, 2T, H)
    rows: Array | None  # (B, R)


def disentangled_forward(
    query: Array, key: Array, key_at: Array | None, query_at: Array | None,
    rows: Array | None = None,
) -> tuple[Array, DisentangledCache]:  # fmt: skip
    """Add the scores of queries with the distances of keys, and of keys with those of queries.

        s_ij = q_i · key_at[j - i] + k_j · query_at[i - j]

    He et al. (2021), eq. 4, its second and third term. The products of a block of tokens with the
    distances from them are a matmul; row i of it then moves by i places, which `_by_token` does
    without a copy.

    Args:
        query (B, K, R, H): R query positions.
        key (B, K, T, H): T tokens.
        key_at, query_at (K, 2T, H): a vector for each distance from 1 - T to T, of which the last
            does not occur; None: the term is left out.
        rows (B, R): the positions of the queries; None: all, R = T.

    Returns:
        scores (B, K, R, T), and the cache that `disentangled_backward` needs.
    """
    (B, K, R, _), T = query.shape, key.shape[2]
    scores = (np.zeros if key_at is None else np.empty)((B, K, R, T), query.dtype)
    for part in attention_pieces(B, K, 2 * R * T):
        own = None if rows is None else rows[part[0]]
        if key_at is not None:
            for block, near in distance_blocks(T, own):
                # (b, k, S, H) @ (k, H, S + T) -> (b, k, S, S + T) -> (b, k, S, T)
                products = query[part][:, :, block] @ key_at[part[1], near].swapaxes(-1, -2)
                scores[part][:, :, block] = _at_keys(products, own)
        if query_at is not None:
            for block, near in distance_blocks(T):
                # (b, k, S, H) @ (k, H, S + T) -> (b, k, S, S + T) -> (b, k, R, S)
                products = key[part][:, :, block] @ query_at[part[1], near].swapaxes(-1, -2)
                scores[part][..., block] += _at_queries(products, own)
    return scores, DisentangledCache(query, key, key_at, query_at, rows)


def disentangled_backward(
    dscores: Array, cache: DisentangledCache
) -> tuple[Array, Array, Array | None, Array | None]:
    """Gradient of `disentangled_forward`: dquery, dkey, dkey_at and dquery_at.

        dq_i = Σ_j ds_ij key_at[j - i],    dkey_at[d] = Σ_{j - i = d} ds_ij q_i

    and the same with the roles of query and key changed. So ds goes back to the places that it was
    read from, and the rest is the backward of two matmuls.

    Args:
        dscores (B, K, R, T): the gradient of the scores.
        cache: of the forward.
    """
    query, key, key_at, query_at, rows = cache
    B, K, R, T = dscores.shape
    dquery, dkey = np.zeros_like(query), np.zeros_like(key)
    dkey_at = None if key_at is None else np.zeros_like(key_at)
    dquery_at = None if query_at is None else np.zeros_like(query_at)
    for part in attention_pieces(B, K, 2 * R * T):
        own = None if rows is None else rows[part[0]]
        if key_at is not None and dkey_at is not None:
            for block, near in distance_blocks(T, own):
                products = _at_keys_backward(dscores[part][:, :, block], own)  # (b, k, S, S + T)
                # (b, k, S, S + T) @ (k, S + T, H) -> (b, k, S, H)
                dquery[part][:, :, block] = products @ key_at[part[1], near]
                # (b, k, S + T, S) @ (b, k, S, H) -> (b, k, S + T, H) -> (k, S + T, H)
                found = products.swapaxes(-1, -2) @ query[part][:, :, block]
                dkey_at[part[1], near] += found.sum(axis=0)
        if query_at is not None and dquery_at is not None:
            for block, near in distance_blocks(T):
                products = _at_queries_backward(dscores[part][..., block], own, T)
                # (b, k, S, S + T) @ (k, S + T, H) -> (b, k, S, H)
                dkey[part][:, :, block] = products @ query_at[part[1], near]
                # (b, k, S + T, S) @ (b, k, S, H) -> (b, k, S + T, H) -> (k, S + T, H)
                found = products.swapaxes(-1, -2) @ key[part][:, :, block]
                dquery_at[part[1], near] += found.sum(axis=0)
    return dquery, dkey, dkey_at, dquery_at


def distance_blocks(length: int, rows: Array | None = None) -> list[tuple[slice, slice]]:
    """Return blocks of S tokens each, and the columns of the distances from them to all tokens.

    Of the 2T distances, S tokens in a row have S + T - 1. One more, the last, is not read.

    >>> [(own.start, own.stop, near.start, near.stop) for own, near in distance_blocks(BLOCK + 2)]
    [(0, 64, 2, 132), (64, 66, 0, 68)]

    Args:
        length: T.
        rows: the positions of the tokens, which are then one block with all distances; None: all.
    """
    if rows is not None:
        return [(slice(None), slice(None))]
    starts = range(0, length, BLOCK)
    return [
        (slice(start, stop), slice(length - stop, 2 * length - start))
        for start in starts for stop in (min(start + BLOCK, length),)
    ]  # fmt: skip


def _by_token(products: Array) -> Array:
    """Return a view of products by distance, (..., S, S + T), as products by token, (..., S, T).

    Entry (i, j) is that of the distance of token j from token i of the block, in column
    j - i + S - 1; in memory it is number S - 1 + i (S + T - 1) + j, so the view has rows of
    S + T - 1 numbers.
    """
    *axes, S, width = products.shape
    flat = products.reshape(*axes, S * width)[..., S - 1 : -1]  # -> (..., S·(S + T - 1))
    # (..., S·(S + T - 1)) -> (..., S, S + T - 1) -> (..., S, T)
    return flat.reshape(*axes, S, width - 1)[..., : width - S]


def _columns(rows: Array, length: int) -> Array:
    """Return the columns of the distances from queries (b, R) to all keys, (b, 1, R, T)."""
    columns: Array = np.arange(length) - rows[:, None, :, None] + length - 1
    return columns


def _at_keys(products: Array, rows: Array | None) -> Array:
    """Take the product of each query with the distance of each key: (b, k, S, T).

    Args:
        products (b, k, S, S + T): of a block of queries and distances; with rows (b, k, R, 2T).
        rows (b, R): the positions of the queries; None: all.
    """
    if rows is None:
        return _by_token(products)
    return np.take_along_axis(products, _columns(rows, products.shape[-1] // 2), axis=-1)


def _at_keys_backward(dscores: Array, rows: Array | None) -> Array:
    """Gradient of `_at_keys`: (b, k, S, T) -> (b, k, S, S + T)."""
    *axes, S, T = dscores.shape
    dproducts = np.zeros((*axes, S, T + (S if rows is None else T)), dscores.dtype)
    if rows is None:
        _by_token(dproducts)[...] = dscores
    else:
        np.put_along_axis(dproducts, _columns(rows, T), dscores, axis=-1)
    return dproducts


def _at_queries(products: Array, rows: Array | None) -> Array:
    """Take the product of each key with the distance of each query: (b, k, R, S).

    Args:
        products (b, k, S, S + T): of a block of keys and distances.
        rows (b, R): the positions of the queries; None: all.
    """
    whole = _by_token(products).swapaxes(-1, -2)  # (b, k, T, S), the query positions first
    return whole if rows is None else np.take_along_axis(whole, rows[:, None, :, None], axis=2)


def _at_queries_backward(dscores: Array, rows: Array | None, length: int) -> Array:
    """Gradient of `_at_queries`: (b, k, R, S) -> (b, k, S, S + T), with T the length."""
    b, k, R, S = dscores.shape
    dproducts = np.zeros((b, k, S, S + length), dscores.dtype)
    if rows is not None:  # a position may occur several times, so its gradients add
        whole = np.zeros((b, length, k * S), dscores.dtype)
        # (b, k, R, S) -> (b, R, k·S)
        gather_backward(dscores.swapaxes(1, 2).reshape(b, R, k * S), rows, whole)
        dscores = whole.reshape(b, length, k, S).swapaxes(1, 2)  # (b, T, k·S) -> (b, k, T, S)
    _by_token(dproducts)[...] = dscores.swapaxes(-1, -2)
    return dproducts
