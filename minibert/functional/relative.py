"""Relative attention bias: a number for each distance of two tokens and each head."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minibert.functional.embedding import embedding_backward
from minibert.typing import Array

BUCKETS, FARTHEST = 32, 128  # half of the buckets for each direction; distances from 128 on share


def relative_buckets(length: int) -> Array:
    """Return the bucket of each pair of tokens, (T, T): query i reads key j at distance j - i.

        b(n) = n for n < 8, else min(8 + ⌊8 log(n / 8) / log(16)⌋, 15),    n = |j - i|
        bucket = b(n) + 16 [j > i]

    Raffel et al. (2020), section 2.1, and their code: near distances have a bucket each, farther
    ones share one with their neighbours.
    """
    half, near = BUCKETS // 2, BUCKETS // 4
    distance = np.arange(1 - length, length)  # of all pairs, from -(T - 1) to T - 1
    n = np.abs(distance)
    # In float32 as in the models' code, because the bucket of a distance depends on the rounding.
    steps = np.log(np.maximum(n, near).astype(np.float32) / np.float32(near))
    steps = steps / np.float32(math.log(FARTHEST / near)) * np.float32(half - near)
    far = np.minimum(near + steps.astype(np.int64), half - 1)
    buckets = np.where(n < near, n, far) + half * (distance > 0)
    positions = np.arange(length)
    found: Array = buckets[positions - positions[:, None] + length - 1]  # (T, T)
    return found


def relative_bias_forward(table: Array, buckets: Array) -> tuple[Array, Array]:
    """Look up what is added to the scores of each pair of tokens.

    The result is a view of 2T - 1 numbers for each head, those of the distances, in which row i
    begins one place before row i - 1: numbers that every piece of attention reads from the cache.

    Args:
        table (32, K): a number for each bucket and head.
        buckets (T, T): of query i and key j, the same for the same distance.

    Returns:
        bias (T, K, T), the query positions first, not to be written to; and the cache that
        `relative_bias_backward` needs: the buckets.
    """
    by_distance = table[_by_distance(buckets)].T  # (2T - 1, K) -> (K, 2T - 1)
    windows = sliding_window_view(by_distance, len(buckets), axis=1)  # (K, T, T), row T - 1 first
    return windows[:, ::-1].swapaxes(0, 1), buckets  # (K, T, T) -> (T, K, T)


def relative_bias_backward(dbias: Array, buckets: Array, dtable: Array) -> None:
    """Gradient of `relative_bias_forward`, given (T, K, T); adds into `dtable` (32, K)."""
    T, K, _ = dbias.shape
    dby_distance = np.zeros((K, 2 * T - 1), dbias.dtype)
    for i, row in enumerate(dbias):  # (K, T)
        dby_distance[:, T - 1 - i : 2 * T - 1 - i] += row
    embedding_backward(dby_distance.T, _by_distance(buckets), dtable)  # (2T - 1, K)


def _by_distance(buckets: Array) -> Array:
    """Return the buckets of the distances j - i from 1 - T to T - 1, (2T - 1,)."""
    return np.concatenate([buckets[:0:-1, 0], buckets[0]])  # of key 0, then of query 0
