"""Exact search for the nearest of many unit vectors: blocked products, then float64.

The cosine of a row x (D,) with a query q (D,), both of length 1, is x·q. A float32 product of a
block of rows finds it up to rounding, in whatever order BLAS adds: the error is at most
D u / (1 - D u) with u = 2^-24 (Higham, 2002, Accuracy and Stability of Numerical Algorithms,
section 3.1; the sum of the |x_i q_i| is at most 1). So the K best rows of a block are among those
whose product is at most twice that below the K-th best product. The few rows that remain are
computed again in float64, each for itself. Therefore the result does not depend on the blocks, the
threads, BLAS, or on how many queries share a product.
"""

import numpy as np

from minibert.io.number_files import Numbers
from minibert.runtime.blas import one_blas_thread
from minibert.runtime.threads import number_of_threads, ordered_map
from minibert.typing import Array

# Read and then multiplied while they are in the processor's cache: 400,000 rows of 384 and one
# query took 0.08 s of one core; in blocks of 16 MB twice that, in blocks of 1 MB 1.5 times.
# On two cores a million rows took 0.15 s, and 0.12 s when they were mapped.
BLOCK_BYTES = 1 << 22
QUERIES = 64  # per pass over the rows
CANDIDATES = 4096  # rows that are computed in float64 at a time
UNIT_SLACK = 1e-3  # the cosine of two unit vectors is at most 1, up to rounding


class DamagedRows(ValueError):
    """Rows that are not of length 1."""


def nearest(
    rows: Numbers,
    queries: Array,
    top_k: int,
    *,
    threads: int | None = None,
    block_rows: int | None = None,
) -> tuple[Array, Array]:
    """Return the cosines of the most similar rows to each query, and their numbers.

    Rows with the same cosine are in their order. At most `threads` blocks are in memory at a time.

    >>> rows = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]
    >>> scores, ids = nearest(rows, np.array([[0.6, 0.8, 0]], np.float32), 3)
    >>> ids.tolist(), scores.round(3).tolist()
    ([[1, 2, 0]], [[0.8, 0.8, 0.6]])

    Args:
        rows (S, D): float32, of length 1; of an array or a file, of which each block is read.
        queries (Q, D): float32, of length 1.
        top_k: K, the number of rows per query; at most S are returned.
        threads: the number of blocks that are computed at a time; None: one for each core.
        block_rows: rows per block; None: 4 MB of them.

    Returns:
        The cosines, float64 (Q, K), falling; and the numbers of their rows, int64 (Q, K).

    Raises:
        ValueError: `top_k` is below 1.
        DamagedRows: a row is not of length 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k: expected at least 1, got {top_k}")
    parts = [
        _nearest(rows, queries[start : start + QUERIES], top_k, threads, block_rows)
        for start in range(0, len(queries), QUERIES)
    ]
    count = min(top_k, len(rows))
    scores = np.concatenate([np.empty((0, count)), *(part[0] for part in parts)])
    return scores, np.concatenate([np.empty((0, count), np.int64), *(part[1] for part in parts)])


def _nearest(
    rows: Numbers, queries: Array, top_k: int, threads: int | None, block_rows: int | None
) -> tuple[Array, Array]:
    """Return the result of `nearest` for a few queries (Q, K)."""
    width = rows.shape[1]
    size = block_rows or max(BLOCK_BYTES // (4 * width), 1)
    margin = 2.0 * rounding(width)
    exact_queries = queries.astype(np.float64)  # (Q, D)
    # The K best cosines so far and their rows, of each query; and the lowest of K, as a bound.
    best = [(np.empty(0), np.empty(0, np.int64)) for _ in queries]
    bounds = np.full(len(queries), -np.inf)

    @one_blas_thread()
    def search(start: int) -> list[tuple[int, Array, Array]]:
        block = np.asarray(rows[start : start + size])  # (R, D)
        with np.errstate(all="ignore"):  # of damaged rows, which the next lines find
            products = _product(queries, block)  # (Q, R)
        highest = products.max(axis=1)  # (Q,); NaN if there is one
        if not (highest <= 1 + UNIT_SLACK).all() or not (products.min() >= -1 - UNIT_SLACK):
            raise DamagedRows(
                f"expected vectors of length 1 in rows {start:,} to {start + len(block) - 1:,}"
            )
        found = []
        # A bound that other threads have raised meanwhile is a bound as well.
        for query in np.flatnonzero(highest >= bounds - margin):
            scores = products[query]  # (R,)
            kth = max(len(scores) - top_k, 0)
            lowest = max(np.partition(scores, kth)[kth], bounds[query]) - margin
            near = np.flatnonzero(scores >= lowest)
            cosines = exact_products(block, near, exact_queries[query])
            order = np.argsort(-cosines, kind="stable")[:top_k]
            found.append((int(query), cosines[order], start + near[order]))
        return found

    number = number_of_threads(threads)
    with one_blas_thread():
        starts = range(0, len(rows), size)
        for found in ordered_map(search, starts, number):
            for query, cosines, ids in found:
                before = best[query]
                cosines = np.concatenate([before[0], cosines])
                # Stable, and blocks arrive in order: equal cosines stay in the order of the rows.
                order = np.argsort(-cosines, kind="stable")[:top_k]
                best[query] = cosines[order], np.concatenate([before[1], ids])[order]
                if len(order) == top_k:
                    bounds[query] = best[query][0][-1]
    return np.stack([one[0] for one in best]), np.stack([one[1] for one in best])


def rounding(width: int) -> float:
    """Return a bound of the error of a float32 product of unit vectors (float).

    Args:
        width: D, the length of the vectors.
    """
    unit = np.finfo(np.float32).eps / 2
    # The vectors are of length 1 up to rounding, which a thousandth more covers.
    return float(1.001 * width * unit / (1 - width * unit))


def _product(queries: Array, block: Array) -> Array:
    """Return the products of queries (Q, D) with rows (R, D) in float32 (Q, R)."""
    if len(queries) == 1:  # a product with a vector reads the block as it is
        return (block @ queries[0])[None]  # (R, D) @ (D,) -> (R,) -> (1, R)
    return queries @ block.T  # (Q, D) @ (D, R) -> (Q, R)


def exact_products(block: Array, near: Array, query: Array) -> Array:
    """Return the products of some rows with a query in float64 (N,).

    Each row is added for itself, in one order, so its product does not depend on the others.

    Args:
        block (R, D): float32.
        near (N,): the numbers of the rows.
        query (D,): float64.
    """
    products = np.empty(len(near))
    for start in range(0, len(near), CANDIDATES):
        part = block[near[start : start + CANDIDATES]].astype(np.float64)  # (n, D)
        part *= query
        products[start : start + CANDIDATES] = part.sum(axis=1)
    return products
