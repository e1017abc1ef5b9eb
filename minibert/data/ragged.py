"""Encoded texts, kept as few bytes a token until a batch needs them."""

from collections.abc import Iterable

import numpy as np

from minibert.tokenization import Encoding


class Sequences:
    """S sequences of ids that lie one after the other in one array.

    >>> one = Encoding([2, 7, 3], [0, 0, 0], [1, 1, 1], [], [], [], [])
    >>> two = Encoding([2, 3, 8, 3], [0, 0, 1, 1], [1, 1, 1, 1], [], [], [], [])
    >>> Sequences([one, two]).batch([0, 1], pad_id=0)["input_ids"].tolist()
    [[2, 7, 3, 0], [2, 3, 8, 3]]

    Args:
        encodings: where the ids come from; they are used one at a time and not kept.

    Attributes:
        lengths: (S,), in tokens.
        ids: (N,), of all sequences.
    """

    def __init__(self, encodings: Iterable[Encoding]):
        parts, lengths, firsts = [], [], []
        for encoding in encodings:
            parts.append(np.array(encoding.input_ids, np.int32))
            lengths.append(len(encoding.input_ids))
            firsts.append(len(encoding.input_ids) - sum(encoding.token_type_ids))
        self.ids = np.concatenate([np.zeros(0, np.int32), *parts])
        self.lengths, self._firsts = np.array(lengths, int), np.array(firsts, int)
        self._starts = np.cumsum(self.lengths) - self.lengths

    def __len__(self) -> int:
        """Return S."""
        return len(self.lengths)

    def longest_first(self) -> np.ndarray:
        """Return the numbers of the sequences, longest first, those of one length by their ids.

        So each meets the same others in a batch, whatever order they came in: (S,).
        """
        stops = self._starts + self.lengths
        keys = [
            (-length, first, self.ids[start:stop].tobytes())
            for length, first, start, stop in zip(
                self.lengths, self._firsts, self._starts, stops, strict=True
            )
        ]
        return np.array(sorted(range(len(self)), key=keys.__getitem__), int)

    def batch(self, rows: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
        """Return a model's batch of these sequences, padded to the longest: (B, T) each."""
        lengths = self.lengths[rows]
        places = np.arange(lengths.max())
        first = self._firsts[rows]
        return {
            "input_ids": self.stack(self.ids, rows, pad_id),
            "token_type_ids": ((places >= first[:, None]) & self._inside(rows)).astype(np.int64),
            "attention_mask": self._inside(rows).astype(np.int64),
        }

    def stack(self, values: np.ndarray, rows: np.ndarray, fill: int) -> np.ndarray:
        """Return what `values` (N,) has for the tokens of these sequences, padded: (B, T)."""
        inside = self._inside(rows)  # (B, T)
        places = self._starts[rows][:, None] + np.arange(inside.shape[1])
        out = np.full(inside.shape, fill, np.int64)
        out[inside] = values[places[inside]]
        return out

    def _inside(self, rows):
        lengths = self.lengths[rows]
        return np.arange(lengths.max()) < lengths[:, None]  # (B, T)
