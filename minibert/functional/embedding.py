"""Embedding: a row of a table for each id; and the gathering of some tokens of a batch."""

import numpy as np

from minibert.typing import Array


def embedding_forward(ids: Array, table: Array) -> tuple[Array, Array]:
    """Look up the row of each id.

    Args:
        ids (...): integers from 0 to V - 1.
        table (V, D): the rows.

    Returns:
        out (..., D), and the cache that `embedding_backward` needs: the ids.
    """
    return table[ids], ids


def embedding_backward(dout: Array, ids: Array, dtable: Array) -> None:
    """Gradient of `embedding_forward`; adds into `dtable` (V, D).

    An id that occurs several times gets the sum of its rows, as `np.add.at(dtable, ids, dout)`
    computes it, one row after the other. Sorting brings equal ids together, so `reduceat` sums each
    run at once; an id that occurs once, as most do, needs no sum.
    """
    flat_ids, rows = ids.reshape(-1), dout.reshape(-1, dout.shape[-1])  # (N,), (N, D)
    if not flat_ids.size:
        return
    order = np.argsort(flat_ids, kind="stable")
    sorted_ids = flat_ids[order]
    begins = np.r_[True, sorted_ids[1:] != sorted_ids[:-1], True]
    once = begins[:-1] & begins[1:]  # (N,), where a run of equal ids begins and ends
    dtable[sorted_ids[once]] += rows[order[once]]
    if not once.all():
        runs = np.flatnonzero(begins[:-1][~once])
        dtable[sorted_ids[~once][runs]] += np.add.reduceat(rows[order[~once]], runs, axis=0)


def gather_forward(x: Array, positions: Array) -> Array:
    """Gather some tokens of each sequence, x (B, T, D) at positions (B, R) -> (B, R, D)."""
    return x.reshape(-1, x.shape[-1])[_flat(positions, x.shape[1])]  # (B·T, D) -> (B, R, D)


def gather_backward(dout: Array, positions: Array, dx: Array) -> None:
    """Gradient of `gather_forward`; adds dout (B, R, D) into dx (B, T, D).

    A position may occur twice, so it is the gradient of an embedding lookup in x.
    """
    embedding_backward(dout, _flat(positions, dx.shape[1]), dx.reshape(-1, dx.shape[-1]))


def _flat(positions: Array, length: int) -> Array:
    """Number positions (B, R) of sequences of `length` tokens as rows of the flattened batch."""
    flat: Array = positions + length * np.arange(len(positions))[:, None]
    return flat
