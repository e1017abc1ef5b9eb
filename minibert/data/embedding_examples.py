"""Examples for training sentence vectors: texts that belong together, or do not."""

import logging
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from minibert.data.rng import generator
from minibert.io.text import sanitize

log = logging.getLogger("minibert")


@dataclass(frozen=True)
class EmbeddingExamples:
    """S rows of texts, and what is known about them.

    >>> pairs = EmbeddingExamples([["a cat", "a kitten"], ["red", "crimson"]])
    >>> scored = EmbeddingExamples([["a cat", "a dog"], ["red", "loud"]], scores=[0.6, 0.0])
    >>> pairs.default_loss, scored.default_loss, len(scored)
    ('ranking', 'cosine', 2)

    Attributes:
        rows: S rows of the same number of texts: one with `labels`; a pair; or an anchor, its right
            answer, and one or more wrong ones.
        scores: of each pair, from -1 to 1, the cosine that it is to have; or None.
        labels: of each row, or None. Rows with equal labels are not negatives of each other.

    Raises:
        TypeError: a text is not a string.
        ValueError: a number of texts, scores or labels that does not fit; a pair of equal texts
            without a score; or no label that two rows have.
    """

    rows: Sequence[Sequence[str]]
    scores: Sequence[float] | None = None
    labels: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        """Check the rows; the message names the first one that is wrong."""
        self._check_rows()
        for name in ("scores", "labels"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self):
                raise ValueError(f"{name}: expected {len(self)}, one per row, got {len(values)}")
        if self.scores is not None:
            if self.width != 2:
                raise ValueError(f"scores: expected rows of 2 texts, got {self.width}")
            for i, score in enumerate(self.scores):
                if not -1 <= score <= 1:
                    raise ValueError(f"scores[{i}]: expected -1 to 1, got {score}")
        if self.width == 1:
            if self.labels is None:
                raise ValueError("rows: expected 2 texts or more without labels, got 1")
            counts = Counter(self.labels)
            if max(counts.values()) < 2:
                raise ValueError(
                    f"labels: expected two equal ones at least, got {len(counts)} different ones"
                )

    def _check_rows(self) -> None:
        if not len(self.rows):
            raise ValueError("rows: expected at least one, got none")
        for i, row in enumerate(self.rows):
            if isinstance(row, str) or not all(isinstance(text, str) for text in row):
                raise TypeError(f"rows[{i}]: expected a list of texts, got {row!r:.80}")
            if len(row) != self.width or len(row) == 0:
                raise ValueError(
                    f"rows[{i}]: expected {max(self.width, 1)} texts as in rows[0], got {len(row)}"
                )
            if self.scores is None and len(set(row)) < len(row):
                twice = next(text for text, count in Counter(row).items() if count > 1)
                raise ValueError(
                    f"rows[{i}]: expected different texts, got {sanitize(twice)!r:.80} twice"
                )

    @property
    def width(self) -> int:
        """Number of texts in a row."""
        return len(self.rows[0])

    @property
    def default_loss(self) -> str:
        """The name of the loss that fits these examples (str); see `training.EmbeddingTraining`."""
        if self.scores is not None:
            return "cosine"
        return "contrastive" if self.width == 1 else "ranking"

    def select(self, indices: Iterable[int]) -> Self:
        """Return the examples at these indices, in their order."""
        chosen = list(indices)
        scores, labels = (
            None if values is None else [values[i] for i in chosen]
            for values in (self.scores, self.labels)
        )
        return type(self)([self.rows[i] for i in chosen], scores, labels)

    def checksum(self) -> str:
        """Return a CRC-32 of all texts, scores and labels, in hexadecimal."""
        parts = (self.rows, self.scores, self.labels)
        content = repr([None if part is None else [*map(str, part)] for part in parts])
        return f"{zlib.crc32(content.encode()):08x}"

    def __len__(self) -> int:
        """Return S."""
        return len(self.rows)


def pairs_from_labels(
    texts: Sequence[str], labels: Sequence[Any], iterations: int = 20, seed: int = 0
) -> EmbeddingExamples:
    """Return pairs of labelled texts, with the score 1 for equal labels and 0 for others.

    In each iteration, each text is paired with a random one of its label and a random one of
    another label: Tunstall et al. (2022), section 3, where `iterations` is R. A text whose label no
    other one has is only paired with others.

    >>> pairs = pairs_from_labels(["a", "b", "c", "d"], [0, 0, 1, 1], iterations=1)
    >>> [(*sorted(row), score) for row, score in zip(pairs.rows, pairs.scores) if score]
    [('a', 'b', 1.0), ('a', 'b', 1.0), ('c', 'd', 1.0), ('c', 'd', 1.0)]
    >>> len(pairs)
    8

    Args:
        texts: S texts.
        labels: S labels.
        iterations: pairs of each kind for each text.
        seed: of the random partners.

    Raises:
        ValueError: there are not two labels, or as many labels as texts.
    """
    if len(texts) != len(labels):
        raise ValueError(f"labels: expected {len(texts)}, one per text, got {len(labels)}")
    _, numbers = np.unique(np.array(list(map(str, labels))), return_inverse=True)  # (S,)
    if len(texts) == 0 or numbers.max() == 0:
        raise ValueError(f"labels: expected two different ones at least, got {len(set(labels))}")
    rng = generator(seed, "pairs")
    rows, scores = [], []
    everyone = np.arange(len(texts))
    for _ in range(iterations):
        for i, text in enumerate(texts):
            same = numbers == numbers[i]
            for partners, score in ((same & (everyone != i), 1.0), (~same, 0.0)):
                others = np.flatnonzero(partners)
                if len(others):
                    rows.append([text, texts[int(rng.choice(others))]])
                    scores.append(score)
    return EmbeddingExamples(rows, scores)
