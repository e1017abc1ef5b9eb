"""Batch order: the indices of a step's examples, computed from the seed and the step."""

import numpy as np

from minibert.data.rng import generator


def batch_indices(step: int, count: int, size: int, seed: int) -> np.ndarray:
    """Return the example indices (B,) of the batch at `step`.

    Each epoch visits all examples once, in a new order; its last batch may be smaller.

    >>> epoch = [batch_indices(step, 5, 2, seed=0).tolist() for step in range(3)]
    >>> [len(batch) for batch in epoch], sorted(sum(epoch, []))
    ([2, 2, 1], [0, 1, 2, 3, 4])

    Args:
        step (int): step of the run, from 0.
        count (int): number of examples.
        size (int): batch size B.
        seed (int): seed of the order.
    """
    epoch, batch = divmod(step, steps_per_epoch(count, size))
    positions = np.arange(batch * size, min((batch + 1) * size, count))
    return permuted(positions, count, generator(seed, "order", epoch))


def length_bucketed_batch(
    step: int, lengths: np.ndarray, size: int, seed: int, pool: int = 50
) -> np.ndarray:
    """Return the example indices (B,) of the batch at `step`, similar lengths together.

    An epoch starts from the order of `batch_indices`. The examples of each `pool` consecutive
    batches are sorted by length and cut into batches, which are then visited in random order.

    Args:
        step (int): step of the run, from 0.
        lengths (S,): length of each example.
        size (int): batch size B.
        seed (int): seed of the order.
        pool (int): number of batches that are sorted together.
    """
    count = len(lengths)
    epoch, batch = divmod(step, steps_per_epoch(count, size))
    rng = generator(seed, "order", epoch)
    order = permuted(np.arange(count), count, rng)
    # Only full batches are permuted: a smaller batch remains the last one of the epoch.
    full_batches = rng.permutation(count // size)
    batch = int(full_batches[batch]) if batch < len(full_batches) else batch
    pool_start = batch // pool * pool * size
    bucket = order[pool_start : pool_start + pool * size]
    bucket = bucket[np.argsort(-lengths[bucket], kind="stable")]
    return bucket[batch * size - pool_start : (batch + 1) * size - pool_start]


def paired_batch(step: int, labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Return the example indices (B,) of the batch at `step`, in pairs of equal labels.

    Each epoch visits all examples once. Those of a label are paired at random, and the pairs are
    visited in random order; the last one of an odd number is alone.

    >>> labels = np.array([0, 1, 2, 1, 0, 2])
    >>> [labels[paired_batch(step, labels, 2, seed=0)].tolist() for step in range(3)]
    [[0, 0], [1, 1], [2, 2]]

    Args:
        step (int): step of the run, from 0.
        labels (S,), int: label of each example.
        size (int): batch size B.
        seed (int): seed of the order.
    """
    count = len(labels)
    epoch, batch = divmod(step, steps_per_epoch(count, size))
    rng = generator(seed, "order", epoch)
    order = permuted(np.arange(count), count, rng)
    order = order[np.argsort(labels[order], kind="stable")]  # by label, each in random order
    _, starts, numbers = np.unique(labels[order], return_index=True, return_inverse=True)
    is_first = (np.arange(count) - starts[numbers]) % 2 == 0  # of its pair
    pair = np.cumsum(is_first) - 1  # (S,), the number of each example's pair
    order = order[np.argsort(rng.permutation(pair[-1] + 1)[pair], kind="stable")]
    return order[batch * size : (batch + 1) * size]


def steps_per_epoch(count: int, size: int) -> int:
    """Return the number of batches of `size` examples in an epoch of `count` examples."""
    return -(-count // size)


def permuted(indices: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Evaluate a pseudorandom permutation of range(count) at `indices`.

    The permutation is computed, not stored, so a corpus of any size can be shuffled. A Feistel
    network of four rounds permutes range(n), where n is a power of four that is at least `count`. A
    value of `count` or above is permuted again until it is below `count`. Luby and Rackoff (1988);
    Black and Rogaway (2002), section 4.

    >>> sorted(permuted(np.arange(7), 7, np.random.default_rng(0)).tolist())
    [0, 1, 2, 3, 4, 5, 6]

    Args:
        indices (any shape, int): indices from 0 to count - 1.
        count (int): size of the permutation.
        rng: draws the four keys of the permutation.
    """
    half = np.uint64(max((count - 1).bit_length() + 1, 2) // 2)
    low = np.uint64((1 << int(half)) - 1)
    keys = rng.integers(0, 2**64, 4, dtype=np.uint64)
    values = np.asarray(indices).astype(np.uint64)
    outside = np.ones(values.shape, bool)
    while outside.any():
        left, right = values[outside] >> half, values[outside] & low
        for key in keys:
            left, right = right, left ^ (_mix_bits(right, key) & low)
        values[outside] = left << half | right
        outside = values >= count
    return values.astype(np.int64)


def _mix_bits(values: np.ndarray, key: np.uint64) -> np.ndarray:
    """Let each bit of a value affect all others, by multiplication and xor."""
    mixed = (values ^ key) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(32)) * np.uint64(0xD6E8FEB86659FD93)
    return mixed ^ mixed >> np.uint64(32)
