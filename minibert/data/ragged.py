"""Ragged storage of encoded texts: a few bytes per token, padded only when batched."""

from collections.abc import Iterable, Iterator
from copy import copy

import numpy as np

from minibert.tokenization import Encoding


class RaggedSequences:
    """S sequences of ids of different lengths, stored in one array.

    >>> one = Encoding([2, 7, 3], [0, 0, 0], [1, 1, 1], [], [], [], [])
    >>> two = Encoding([2, 3, 8, 3], [0, 0, 1, 1], [1, 1, 1, 1], [], [], [], [])
    >>> RaggedSequences([one, two]).batch([0, 1], pad_id=0)["input_ids"].tolist()
    [[2, 7, 3, 0], [2, 3, 8, 3]]

    Args:
        encodings: source of the ids; each is read once and not kept.

    Attributes:
        lengths (S,), int: tokens per sequence.
        ids (N,), int32: ids of all sequences, one after the other.
    """

    def __init__(self, encodings: Iterable[Encoding]):
        parts, lengths, first_lengths = [], [], []
        for encoding in encodings:
            parts.append(np.array(encoding.input_ids, np.int32))
            lengths.append(len(encoding.input_ids))
            first_lengths.append(len(encoding.input_ids) - sum(encoding.token_type_ids))
        self.ids = np.concatenate([np.zeros(0, np.int32), *parts])
        self.lengths = np.array(lengths, int)
        self._first_lengths = np.array(first_lengths, int)  # tokens of segment 0
        self._starts = np.cumsum(self.lengths) - self.lengths

    def __len__(self) -> int:
        """Return S."""
        return len(self.lengths)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the ids (T,) of each sequence."""
        for start, length in zip(self._starts, self.lengths, strict=True):
            yield self.ids[start : start + length]

    def select(self, indices: np.ndarray) -> "RaggedSequences":
        """Return the sequences at `indices`, which share the array of ids."""
        chosen = copy(self)
        chosen.lengths, chosen._starts = self.lengths[indices], self._starts[indices]
        chosen._first_lengths = self._first_lengths[indices]
        return chosen

    def longest_first(self) -> np.ndarray:
        """Return the indices (S,) of the sequences, longest first, ties ordered by their ids.

        So the batches do not depend on the order in which the sequences were given.
        """
        stops = self._starts + self.lengths
        keys = [
            (-length, first_length, self.ids[start:stop].tobytes())
            for length, first_length, start, stop in zip(
                self.lengths, self._first_lengths, self._starts, stops, strict=True
            )
        ]
        return np.array(sorted(range(len(self)), key=keys.__getitem__), int)

    def batch(self, indices: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
        """Return a model's batch of the sequences at `indices` (B,), padded: (B, T) each."""
        first_lengths = self._first_lengths[indices]
        is_inside = self._is_inside(indices)  # (B, T)
        positions = np.arange(is_inside.shape[1])
        is_second = (positions >= first_lengths[:, None]) & is_inside
        return {
            "input_ids": self.stack(self.ids, indices, pad_id),
            "token_type_ids": is_second.astype(np.int64),
            "attention_mask": is_inside.astype(np.int64),
        }

    def stack(self, values: np.ndarray, indices: np.ndarray, fill: int) -> np.ndarray:
        """Return per-token `values` (N,) of the sequences at `indices`, padded: (B, T), int64."""
        is_inside = self._is_inside(indices)  # (B, T)
        positions = self._starts[indices][:, None] + np.arange(is_inside.shape[1])
        out = np.full(is_inside.shape, fill, np.int64)
        out[is_inside] = values[positions[is_inside]]
        return out

    def _is_inside(self, indices: np.ndarray) -> np.ndarray:
        """Return the padding mask (B, T): True for tokens, False for padding."""
        lengths = self.lengths[indices]
        is_inside: np.ndarray = np.arange(lengths.max()) < lengths[:, None]
        return is_inside
