"""Split labelled examples into a training set and a held-out set."""

from collections.abc import Hashable, Sequence

import numpy as np

from minibert.data.rng import generator


def stratified_split(classes: Sequence[Hashable], share: float, seed: int) -> np.ndarray:
    """Return the sorted indices of held-out examples, drawn from each class.

    A class with two or more examples has at least one on each side. A single example of a class
    remains in the training set.

    >>> stratified_split(["a"] * 8 + ["b"] * 4 + ["c"], 0.25, seed=0).reshape(-1).tolist()
    [1, 2, 11]

    Args:
        classes (S values): class of each example.
        share (float): fraction of each class that is held out, from 0 to 1.
        seed (int): seed of the draw.
    """
    rng = generator(seed, "split")
    indices_of: dict[Hashable, list[int]] = {}
    for index, name in enumerate(classes):
        indices_of.setdefault(name, []).append(index)
    held_out: list[int] = []
    for indices in indices_of.values():
        count = min(max(round(share * len(indices)), 1), len(indices) - 1)
        held_out += rng.permutation(indices)[:count].tolist()
    return np.array(sorted(held_out), int)


def linked_split(rows: Sequence[Sequence[Hashable]], share: float, seed: int) -> np.ndarray:
    """Return the sorted indices of held-out rows that have no value in common with the others.

    Rows with a common value, directly or through other rows, are on the same side. Groups of them
    are drawn at random, as long as they fit into the share.

    >>> rows = [("a", "b"), ("c", "d"), ("b", "e"), ("f", "g"), ("h", "i"), ("a", "k")]
    >>> {0, 2, 5}.isdisjoint(linked_split(rows, 0.34, seed=0).tolist())
    True

    Args:
        rows (S rows of values): such as pairs of texts.
        share (float): fraction of the rows that is held out, from 0 to 1, rounded to whole rows.
        seed (int): seed of the draw.
    """
    group = list(range(len(rows)))  # each row's parent; a root is its own

    def root(index: int) -> int:
        while group[index] != index:
            group[index] = group[group[index]]
            index = group[index]
        return index

    first: dict[Hashable, int] = {}  # row of each value
    for index, row in enumerate(rows):
        for value in row:
            group[root(index)] = root(first.setdefault(value, index))
    members: dict[int, list[int]] = {}
    for index in range(len(rows)):
        members.setdefault(root(index), []).append(index)
    groups, target = list(members.values()), round(share * len(rows))
    held_out: list[int] = []
    for number in generator(seed, "split").permutation(len(groups)):
        if len(held_out) + len(groups[number]) <= target:
            held_out += groups[number]
    return np.array(sorted(held_out), int)
