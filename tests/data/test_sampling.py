"""Batches are a partition of each epoch, and every generator is its own."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minibert.data.sampling import (
    PURPOSES,
    generator,
    held_out_of,
    rows_at,
    rows_of_like_length_at,
    shuffled,
    steps_per_epoch,
)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**32), st.integers(0, 3))
def test_each_epoch_has_every_row_once(count, size, seed, epoch):
    steps = steps_per_epoch(count, size)
    batches = [rows_at(epoch * steps + i, count, size, seed) for i in range(steps)]
    assert all(len(batch) == size for batch in batches[:-1])
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))


@given(st.integers(1, 300), st.integers(0, 2**32))
def test_a_computed_order_is_an_order(count, seed):
    def order():
        return np.random.default_rng(seed)

    everything = shuffled(np.arange(count), count, order())
    assert sorted(everything.tolist()) == list(range(count))
    some = np.arange(count)[:: 1 + seed % 5]
    assert (shuffled(some, count, order()) == everything[some]).all()


def test_a_computed_order_looks_random():
    count = 1000
    orders = np.array(
        [shuffled(np.arange(count), count, np.random.default_rng(s)) for s in range(200)]
    )
    # The mean of a place over 200 orders: 288.7 / √200 around 499.5; and neighbours know nothing of
    # each other.
    assert np.abs(orders.mean(axis=0) - 499.5).max() < 5 * 288.7 / 200**0.5
    ahead = np.corrcoef(orders[:, :-1].ravel(), orders[:, 1:].ravel())[0, 1]
    assert abs(ahead) < 0.02


def test_ten_billion_rows_can_be_shuffled():
    places = np.arange(64) + 7 * 10**9
    order = shuffled(places, 10**10, np.random.default_rng(0))
    assert len(set(order.tolist())) == 64
    assert ((order >= 0) & (order < 10**10)).all()


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 99), st.integers(1, 4))
def test_rows_of_like_length_are_each_epochs_rows(count, size, seed, pool):
    lengths = np.random.default_rng(seed).integers(1, 30, count)
    steps = steps_per_epoch(count, size)
    batches = [
        rows_of_like_length_at(3 * steps + i, lengths, size, seed, pool) for i in range(steps)
    ]
    assert all(len(batch) == size for batch in batches[:-1])
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))


def test_rows_of_like_length_need_less_padding():
    lengths = np.random.default_rng(0).integers(1, 100, 640)

    def padded(batches):
        return sum(len(batch) * lengths[batch].max() for batch in batches)

    shuffled_rows = padded(rows_at(i, 640, 16, 0) for i in range(40))
    sorted_rows = padded(rows_of_like_length_at(i, lengths, 16, 0) for i in range(40))
    assert sorted_rows < 1.05 * lengths.sum() < 1.5 * lengths.sum() < shuffled_rows


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(rows_at(step, 30, 30, seed).tolist()) for step in range(4) for seed in range(3)}
    assert len(orders) == 12


def test_no_two_places_of_a_run_share_a_generator():
    places = [(), *itertools.product(range(4)), *itertools.product(range(4), range(4))]
    # (step 1) and (step 1, shard 0) can't both occur for one purpose.
    draws = {
        (purpose, place): generator(0, purpose, *place).integers(2**60)
        for purpose in PURPOSES
        for place in places
        if len(place) == {"evaluation": 0, "dropout": 2}.get(purpose, 1)
    }
    assert len(set(draws.values())) == len(draws)


def test_each_seed_holds_out_others_of_each_class_alike():
    classes = ["a"] * 40 + ["b"] * 20 + ["c"] * 2 + ["d"]
    drawn = [held_out_of(classes, 0.25, seed) for seed in range(5)]
    assert len({tuple(rows) for rows in drawn}) == 5
    for rows in drawn:
        assert rows.tolist() == sorted(set(rows.tolist()))
        found = [sum(classes[row] == name for row in rows) for name in "abcd"]
        assert found == [10, 5, 1, 0]
    assert len(np.unique(np.concatenate(drawn))) > 25  # not always the same ones
    assert len(held_out_of(classes, 1.0, 0)) == 39 + 19 + 1
