"""Splits: equal fractions of each class, no common texts, different examples for each seed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minibert.data.splits import linked_split, stratified_split


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


PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(31, 60)), min_size=4, max_size=40)


@given(PAIRS, st.floats(0.1, 0.5), st.integers(0, 3))
def test_linked_split_shares_no_value_between_its_sides(rows, share, seed):
    chosen = linked_split(rows, share, seed).tolist()
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= round(share * len(rows))
    sides = {True: set(), False: set()}
    for index, row in enumerate(rows):
        sides[index in chosen] |= {*row}
    assert not sides[True] & sides[False]


def test_linked_split_of_rows_without_common_values_has_the_share():
    rows = [(f"a{i}", f"b{i}") for i in range(40)]
    drawn = {tuple(linked_split(rows, 0.25, seed).tolist()) for seed in range(5)}
    assert len(drawn) == 5
    assert {len(chosen) for chosen in drawn} == {10}
    assert len(linked_split([("a", i) for i in range(9)], 0.5, 0)) == 0
