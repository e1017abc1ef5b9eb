"""Disentangled attention: content reads positions, and positions read content.

He et al. (2021), section 3.1. Each token has a vector of its content, each distance of two tokens
one of its position. Of the four products of the two, attention uses three: content with content,
as in BERT, and the two of this file.
"""

from typing import NamedTuple

import numpy as np

from minibert.functional.embedding import gather_backward
from minibert.typing import Array

# Elements of a piece: the products with all distances of a few sequences at a time.
PIECE_ELEMENTS = 65_536


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

    He et al. (2021), eq. 4, its second and third term. All products with all distances are two
    matmuls; row i of the first then moves by i places, which `_by_token` does without a copy.

    Args:
        query (B, K, R, H): R query positions.
        key (B, K, T, H): T tokens.
        key_at, query_at (K, 2T, H): a vector for each distance from 1 - T to T, of which the last
            does not occur; None: the term is left out.
        rows (B, R): the positions of the queries; None: all, R = T.

    Returns:
        scores (B, K, R, T), and the cache that `disentangled_backward` needs.
    """
    scores = np.zeros((*query.shape[:3], key.shape[2]), query.dtype)
    for part, own in _pieces(scores, rows):
        if key_at is not None:
            # (b, K, R, H) @ (K, H, 2T) -> (b, K, R, 2T)
            scores[part] = _at_keys(query[part] @ key_at.swapaxes(-1, -2), own)
        if query_at is not None:
            # (b, K, T, H) @ (K, H, 2T) -> (b, K, T, 2T)
            scores[part] += _at_queries(key[part] @ query_at.swapaxes(-1, -2), own)
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
    dquery, dkey = np.zeros_like(query), np.zeros_like(key)
    dkey_at = None if key_at is None else np.zeros_like(key_at)
    dquery_at = None if query_at is None else np.zeros_like(query_at)
    for part, own in _pieces(dscores, rows):
        if key_at is not None and dkey_at is not None:
            products = _at_keys_backward(dscores[part], own)  # (b, K, R, 2T)
            # (b, K, R, 2T) @ (K, 2T, H) -> (b, K, R, H)
            np.matmul(products, key_at, out=dquery[part])
            # (b, K, 2T, R) @ (b, K, R, H) -> (b, K, 2T, H) -> (K, 2T, H)
            dkey_at += (products.swapaxes(-1, -2) @ query[part]).sum(axis=0)
        if query_at is not None and dquery_at is not None:
            products = _at_queries_backward(dscores[part], own)  # (b, K, T, 2T)
            # (b, K, T, 2T) @ (K, 2T, H) -> (b, K, T, H)
            np.matmul(products, query_at, out=dkey[part])
            # (b, K, 2T, T) @ (b, K, T, H) -> (b, K, 2T, H) -> (K, 2T, H)
            dquery_at += (products.swapaxes(-1, -2) @ key[part]).sum(axis=0)
    return dquery, dkey, dkey_at, dquery_at


def _pieces(scores: Array, rows: Array | None) -> list[tuple[slice, Array | None]]:
    """Return slices of a few sequences (B, K, R, T) each, and their query positions."""
    B, K, R, T = scores.shape
    step = max(PIECE_ELEMENTS // (2 * K * max(R, T) * T), 1)
    parts = [slice(start, start + step) for start in range(0, B, step)]
    return [(part, None if rows is None else rows[part]) for part in parts]


def _by_token(products: Array) -> Array:
    """Return a view of products by distance, (..., T, 2T), as products by token, (..., T, T).

    Entry (i, j) is that of the distance j - i, in column j - i + T - 1; in memory it is number
    T - 1 + i (2T - 1) + j, so the view has rows of 2T - 1 numbers.
    """
    *axes, T, width = products.shape
    flat = products.reshape(*axes, T * width)[..., T - 1 : -1]  # (..., T·2T) -> (..., T·(2T - 1))
    # (..., T·(2T - 1)) -> (..., T, 2T - 1) -> (..., T, T)
    return flat.reshape(*axes, T, width - 1)[..., :T]


def _columns(rows: Array, length: int) -> Array:
    """Return the columns of the distances from queries (b, R) to all keys, (b, 1, R, T)."""
    columns: Array = np.arange(length) - rows[:, None, :, None] + length - 1
    return columns


def _at_keys(products: Array, rows: Array | None) -> Array:
    """Take the product of each query with the distance of each key: (b, K, R, T).

    Args:
        products (b, K, R, 2T): of queries and distances.
        rows (b, R): the positions of the queries; None: all.
    """
    if rows is None:
        return _by_token(products)
    return np.take_along_axis(products, _columns(rows, products.shape[-1] // 2), axis=-1)


def _at_keys_backward(dscores: Array, rows: Array | None) -> Array:
    """Gradient of `_at_keys`: (b, K, R, T) -> (b, K, R, 2T)."""
    *axes, T = dscores.shape
    dproducts = np.zeros((*axes, 2 * T), dscores.dtype)
    if rows is None:
        _by_token(dproducts)[...] = dscores
    else:
        np.put_along_axis(dproducts, _columns(rows, T), dscores, axis=-1)
    return dproducts


def _at_queries(products: Array, rows: Array | None) -> Array:
    """Take the product of each key with the distance of each query: (b, K, R, T).

    Args:
        products (b, K, T, 2T): of keys and distances.
        rows (b, R): the positions of the queries; None: all.
    """
    whole = _by_token(products).swapaxes(-1, -2)  # (b, K, T, T), the query positions first
    return whole if rows is None else np.take_along_axis(whole, rows[:, None, :, None], axis=2)


def _at_queries_backward(dscores: Array, rows: Array | None) -> Array:
    """Gradient of `_at_queries`: (b, K, R, T) -> (b, K, T, 2T)."""
    b, K, R, T = dscores.shape
    dproducts = np.zeros((b, K, T, 2 * T), dscores.dtype)
    if rows is not None:  # a position may occur several times, so its gradients add
        whole = np.zeros((b, T, K * T), dscores.dtype)
        # (b, K, R, T) -> (b, R, K·T)
        gather_backward(dscores.swapaxes(1, 2).reshape(b, R, K * T), rows, whole)
        dscores = whole.reshape(b, T, K, T).swapaxes(1, 2)  # (b, T, K·T) -> (b, K, T, T)
    _by_token(dproducts)[...] = dscores.swapaxes(-1, -2)
    return dproducts
