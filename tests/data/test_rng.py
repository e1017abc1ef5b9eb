"""Random generators: each purpose and position has its own stream."""

import itertools

from minibert.data.rng import PURPOSES, generator


def test_generator_differs_between_purposes_and_positions():
    positions = [(), *itertools.product(range(4)), *itertools.product(range(4), range(4))]
    # One purpose never uses both (step 1) and (step 1, shard 0).
    draws = {
        (purpose, position): generator(0, purpose, *position).integers(2**60)
        for purpose in PURPOSES
        for position in positions
        if len(position) == {"evaluation": 0, "dropout": 2}.get(purpose, 1)
    }
    assert len(set(draws.values())) == len(draws)
