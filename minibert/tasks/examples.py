"""Labelled examples: texts or lists of words, optional second texts, and labels."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Examples:
    """S labelled texts.

    Attributes:
        texts: S texts; for a task with `input_kind` "words", S lists of words.
        pairs: S second texts, or None.
        labels: S labels, in the form that `Task.encode_label` takes.
        weights: S weights in the loss, above 0; None: ones.
    """

    texts: Sequence[Any]
    pairs: Sequence[str] | None
    labels: Sequence[Any]
    weights: Sequence[float] | None = None

    def select(self, indices: Iterable[int]) -> Self:
        """Return the examples at these indices, in their order."""
        indices = list(indices)
        pairs = None if self.pairs is None else [self.pairs[i] for i in indices]
        texts, labels = ([side[i] for i in indices] for side in (self.texts, self.labels))
        weights = None if self.weights is None else [self.weights[i] for i in indices]
        return type(self)(texts, pairs, labels, weights)

    def split(self, indices: Iterable[int]) -> tuple[Self, Self]:
        """Return the examples at the other indices, and those at these indices.

        >>> rest, chosen = Examples(["a", "b", "c"], None, [1, 2, 3]).split([1])
        >>> rest.texts, chosen.labels
        (['a', 'c'], [2])
        """
        chosen = set(indices)
        rest = [i for i in range(len(self)) if i not in chosen]
        return self.select(rest), self.select(sorted(chosen))

    def checksum(self) -> str:
        """Return a CRC-32 of all texts, pairs, labels and weights, in hexadecimal."""
        weights = () if self.weights is None else (list(self.weights),)
        content = repr((list(self.texts), self.pairs, list(self.labels), *weights))
        return f"{zlib.crc32(content.encode()):08x}"

    def __len__(self) -> int:
        """Return S."""
        return len(self.texts)
