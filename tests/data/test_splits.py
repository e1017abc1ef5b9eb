"""Stratified splits: equal fractions of each class, different examples for each seed."""

import numpy as np

from minibert.data.splits import stratified_split


def test_stratified_split_holds_out_the_share_of_each_class():
    classes = ["a"] * 40 + ["b"] * 20 + ["c"] * 2 + ["d"]
    drawn = [stratified_split(classes, 0.25, seed) for seed in range(5)]
    assert len({tuple(indices) for indices in drawn}) == 5
    for indices in drawn:
        assert indices.tolist() == sorted(set(indices.tolist()))
        found = [sum(classes[i] == name for i in indices) for name in "abcd"]
        assert found == [10, 5, 1, 0]
    assert len(np.unique(np.concatenate(drawn))) > 25  # different seeds hold out different examples
    assert len(stratified_split(classes, 1.0, 0)) == 39 + 19 + 1
