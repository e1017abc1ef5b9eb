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
