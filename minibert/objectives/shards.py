"""Shards: the parts of a batch that are computed independently."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from minibert.typing import Array

Labels: TypeAlias = Array | Mapping[str, Array]  # by name, where a model has several heads
Shard: TypeAlias = tuple[Mapping[str, Array], Labels]  # a part of a batch, and its labels


def split_batch(
    batch: Mapping[str, Array], labels: Labels, parts: int, *, trim: bool = False
) -> list[Shard]:
    """Cut a batch into shards of sequences of similar length.

    >>> mask = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]])
    >>> batch = {"input_ids": 7 * mask, "attention_mask": mask}
    >>> for part, labels in split_batch(batch, np.array([0, 1, 2]), 2, trim=True):
    ...     print(part["input_ids"].tolist(), labels)
    [[7, 0], [7, 7]] [1 2]
    [[7, 7, 7, 7]] [0]

    Args:
        batch (B, ..., T): arrays by name.
        labels (B, ...): one array, or several by name; those of shape (B, T) belong to tokens.
        parts: number of shards, with about as many tokens each; fewer for fewer sequences.
        trim: cut off the padding beyond a shard's longest sequence, also from labels of tokens. The
            loss stays the same unless padding enters it, as in `BertForQuestionAnswering`.
    """
    shape = batch["input_ids"].shape
    size, longest = shape[0], shape[-1]
    lengths = np.full(size, longest)
    if "attention_mask" in batch:
        used = np.asarray(batch["attention_mask"]).reshape(size, -1, longest).any(axis=1)  # (B, T)
        lengths = np.maximum((used * np.arange(1, longest + 1)).max(axis=1), 1)
    order = np.argsort(lengths, kind="stable")
    cuts = _cuts(np.cumsum(lengths[order]), min(parts, size))

    def cut(array: Array, rows: Array) -> Array:
        part = np.asarray(array)[rows]
        return part[..., : lengths[rows].max()] if trim and array.shape == shape else part

    def part_of(arrays: Labels, rows: Array) -> Labels:
        if isinstance(arrays, Mapping):
            return {name: cut(array, rows) for name, array in arrays.items()}
        return cut(arrays, rows)

    return [
        ({name: cut(array, rows) for name, array in batch.items()}, part_of(labels, rows))
        for rows in np.split(order, cuts)
    ]


def _cuts(tokens: Array, parts: int) -> list[int]:
    """Return where to cut so that all parts have about as many tokens and none is empty.

    Args:
        tokens (B,): running total of the sequences' tokens.
        parts: number of parts, at most B.
    """
    cuts = [0]
    for i in range(1, parts):
        cut = int(np.searchsorted(tokens, tokens[-1] * i / parts, side="right"))
        cuts.append(min(max(cut, cuts[-1] + 1), len(tokens) - parts + i))
    return cuts[1:]
