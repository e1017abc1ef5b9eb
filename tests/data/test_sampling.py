"""Batch order: each epoch is a partition of the examples, in a pseudorandom order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minibert.data.sampling import (
    batch_indices,
    length_bucketed_batch,
    paired_batch,
    permuted,
    steps_per_epoch,
)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**32), st.integers(0, 3))
def test_batch_indices_visit_each_example_once_per_epoch(count, size, seed, epoch):
    steps = steps_per_epoch(count, size)
    batches = [batch_indices(epoch * steps + i, count, size, seed) for i in range(steps)]
    assert all(len(batch) == size for batch in batches[:-1])
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))


@given(st.integers(1, 300), st.integers(0, 2**32))
def test_permuted_is_a_permutation(count, seed):
    def order():
        return np.random.default_rng(seed)

    whole = permuted(np.arange(count), count, order())
    assert sorted(whole.tolist()) == list(range(count))
    some = np.arange(count)[:: 1 + seed % 5]
    assert (permuted(some, count, order()) == whole[some]).all()


def test_permuted_looks_random():
    count = 1000
    orders = np.array(
        [permuted(np.arange(count), count, np.random.default_rng(s)) for s in range(200)]
    )
    # The mean at a position over 200 orders deviates from 499.5 by 288.7 / √200; neighbouring
    # values are uncorrelated.
    assert np.abs(orders.mean(axis=0) - 499.5).max() < 5 * 288.7 / 200**0.5
    ahead = np.corrcoef(orders[:, :-1].ravel(), orders[:, 1:].ravel())[0, 1]
    assert abs(ahead) < 0.02


def test_permuted_works_for_ten_billion_examples():
    indices = np.arange(64) + 7 * 10**9
    order = permuted(indices, 10**10, np.random.default_rng(0))
    assert len(set(order.tolist())) == 64
    assert ((order >= 0) & (order < 10**10)).all()


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 99), st.integers(1, 4))
def test_length_bucketed_batch_visits_each_example_once_per_epoch(count, size, seed, pool):
    lengths = np.random.default_rng(seed).integers(1, 30, count)
    steps = steps_per_epoch(count, size)
    batches = [
        length_bucketed_batch(3 * steps + i, lengths, size, seed, pool) for i in range(steps)
    ]
    assert all(len(batch) == size for batch in batches[:-1])
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))


def test_length_bucketed_batch_needs_less_padding():
    lengths = np.random.default_rng(0).integers(1, 100, 640)

    def padded(batches):
        return sum(len(batch) * lengths[batch].max() for batch in batches)

    tokens_shuffled = padded(batch_indices(i, 640, 16, 0) for i in range(40))
    tokens_bucketed = padded(length_bucketed_batch(i, lengths, 16, 0) for i in range(40))
    total = lengths.sum()
    assert tokens_bucketed < 1.05 * total < 1.5 * total < tokens_shuffled


def test_batch_indices_differ_between_epochs_and_seeds():
    orders = {
        tuple(batch_indices(step, 30, 30, seed).tolist()) for step in range(4) for seed in range(3)
    }
    assert len(orders) == 12


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 20), st.integers(0, 3))
def test_paired_batches_visit_each_example_once_and_keep_pairs_together(labels, size, seed):
    labels = np.array(labels)
    for epoch in range(2):
        steps = steps_per_epoch(len(labels), size)
        batches = [paired_batch(epoch * steps + i, labels, size, seed) for i in range(steps)]
        assert all(len(batch) == size for batch in batches[:-1])
        order = np.concatenate(batches)
        assert sorted(order.tolist()) == list(range(len(labels)))
        found, i = [], 0  # from the left, equal neighbours are pairs
        while i < len(order):
            paired = labels[order[i : i + 2]]
            alone = len(paired) < 2 or paired[0] != paired[1]
            found += [labels[order[i]]] if alone else []
            i += 1 if alone else 2
        assert len(set(found)) == len(found)  # at most one of each label is alone


def test_paired_batches_differ_between_epochs_and_seeds():
    labels = np.arange(30) % 3
    orders = [paired_batch(step, labels, 30, seed) for step, seed in ((0, 0), (1, 0), (0, 1))]
    assert len({order.tobytes() for order in orders}) == 3
