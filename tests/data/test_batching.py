"""Batches are a partition of each epoch, and every generator is its own."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minibert.data.batching import PURPOSES, generator, rows_at, steps_per_epoch


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**32), st.integers(0, 3))
def test_each_epoch_has_every_row_once(count, size, seed, epoch):
    steps = steps_per_epoch(count, size)
    batches = [rows_at(epoch * steps + i, count, size, seed) for i in range(steps)]
    assert all(len(batch) == size for batch in batches[:-1])
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))


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
