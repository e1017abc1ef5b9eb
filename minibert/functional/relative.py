"""Relative attention bias: a number for each distance of two tokens and each head."""

import math

import numpy as np

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

    Args:
        table (32, K): a number for each bucket and head.
        buckets (T, T): of query i and key j.

    Returns:
        bias (T, K, T), the query positions first; and the cache that `relative_bias_backward`
        needs: the buckets.
    """
    return table[buckets].swapaxes(1, 2), buckets  # (T, T, K) -> (T, K, T)


def relative_bias_backward(dbias: Array, buckets: Array, dtable: Array) -> None:
    """Gradient of `relative_bias_forward`, given (T, K, T); adds into `dtable` (32, K)."""
    embedding_backward(dbias.swapaxes(1, 2), buckets, dtable)  # (T, K, T) -> (T, T, K)
