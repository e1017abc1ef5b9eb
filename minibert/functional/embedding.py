"""Embedding: a row of a table for each id, and the fixed table of sinusoidal positions."""

import numpy as np


def embedding_forward(ids, table):
    """Look up each id's row.

    Args:
        ids: (...) of integers from 0 to V - 1.  table: (V, D).

    Returns:
        out (..., D), and the cache that `embedding_backward` needs: the ids.
    """
    return table[ids], ids


def embedding_backward(dout, ids, dtable):
    """Gradient of `embedding_forward`; adds into `dtable` (V, D).

    An id that occurs several times gets the sum of its rows: `dtable[ids] += dout` would keep only
    one of them. Sorting brings equal ids together, and `reduceat` sums each run; where an id occurs
    once there is nothing to sum, and that is most of them.
    """
    flat_ids, rows = ids.reshape(-1), dout.reshape(-1, dout.shape[-1])  # (N,), (N, D)
    if not flat_ids.size:
        return
    order = np.argsort(flat_ids, kind="stable")
    sorted_ids = flat_ids[order]
    first = np.r_[True, sorted_ids[1:] != sorted_ids[:-1], True]
    once = first[:-1] & first[1:]  # (N,), where an id is the first and the last of its kind
    dtable[sorted_ids[once]] += rows[order[once]]
    if not once.all():
        runs = np.flatnonzero(first[:-1][~once])
        dtable[sorted_ids[~once][runs]] += np.add.reduceat(rows[order[~once]], runs, axis=0)


def sinusoidal_positions(length, width):
    """The fixed position table of the first transformer.

        table[t, 2i] = sin(t / 10000^(2i/D)),   table[t, 2i+1] = cos(t / 10000^(2i/D))

    Vaswani et al. (2017), section 3.5.

    Args:
        length: the number of positions.  width: D, even.

    Returns:
        (length, D) in float64.
    """
    positions = np.arange(length)[:, None]  # (length, 1)
    angles = positions / 10000 ** (np.arange(0, width, 2) / width)  # (length, D/2)
    table = np.empty((length, width))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)
    return table
