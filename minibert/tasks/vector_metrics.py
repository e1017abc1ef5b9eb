"""Metrics of sentence vectors: the rank of the right partner, and the correlation with scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from minibert.tasks.metrics import Metrics, RegressionMetrics, format_table
from minibert.typing import Array

RANKS = (1, 5, 10)  # rows of the table, up to these ranks
NUMBERS = 1 << 24  # cosines that are in memory at a time, 64 MiB of float32

Encode = Callable[[Sequence[str]], Array]  # S texts to vectors (S, D)


@dataclass(frozen=True)
class RetrievalMetrics(Metrics):
    """How well anchors find their right partners among all partners, by cosine.

    Attributes:
        ranks (S,): of the right partner of each anchor, from 1. Of equal cosines, the right one is
            ranked last, so that vectors that are all the same, or not finite, find nothing.
        candidates: number of texts that were compared with each anchor.
        nearer: of triplets, the share of anchors that are nearer to the positive text than to
            their negative one; None without negative texts.
    """

    main_name = "recall@1"
    is_share = True

    ranks: Array
    candidates: int
    nearer: float | None = None

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[str]], encode: Encode) -> Self:
        """Compare the first text of each row with the other texts of all rows.

        An anchor that occurs in several rows has several right partners; for each of its rows, the
        others are left out. Equal texts are one candidate.

        Args:
            rows: S rows of an anchor, a partner and, in triplets, a negative text.
            encode: returns the vectors (S, D) of texts.
        """
        texts, vectors = _encode_rows(rows, encode)
        candidates = np.unique(texts[:, 1:])  # (Q,)
        places = np.searchsorted(candidates, texts[:, 1])  # (S,), of the right candidates
        right: dict[int, list[int]] = {}  # the places of all right partners of an anchor
        for anchor, place in zip(texts[:, 0], places, strict=True):
            right.setdefault(anchor, []).append(place)
        others, ranks = vectors[candidates].T, np.empty(len(rows), np.int64)  # (D, Q), (S,)
        size = max(NUMBERS // len(candidates), 1)
        for start in range(0, len(rows), size):
            anchors = texts[start : start + size, 0]  # (B,)
            cosines = vectors[anchors] @ others  # (B, D) @ (D, Q) -> (B, Q)
            for i, (anchor, own) in enumerate(zip(anchors, cosines, strict=True), start):
                goal = own[places[i]]
                own[right[anchor]] = -np.inf
                own[candidates == anchor] = -np.inf  # a text is the nearest to itself
                ranks[i] = 1 + np.count_nonzero(~(own < goal))  # NaN is not below
        nearer = None
        if texts.shape[1] > 2:
            anchors, positives, negatives = (vectors[texts[:, i]] for i in range(3))  # (S, D) each
            difference = np.einsum("sd,sd->s", anchors, positives - negatives)  # (S,)
            nearer = float((difference > 0).mean())
        return cls(ranks, len(candidates), nearer)

    def recall(self, k: int) -> float:
        """Return the share of anchors whose right partner is among the nearest k (float)."""
        return float((self.ranks <= k).mean())

    @property
    def mrr(self) -> float:
        """The mean reciprocal rank: the mean of 1 / rank."""
        return float((1 / self.ranks).mean())

    @property
    def main(self) -> float:
        """The recall at 1."""
        return self.recall(1)

    def figures(self) -> dict[str, float]:
        """Return the recall at 1 and 5, the mean reciprocal rank, and the share of triplets."""
        figures = {"recall_at_1": self.recall(1), "recall_at_5": self.recall(5), "mrr": self.mrr}
        return figures if self.nearer is None else {**figures, "triplets": self.nearer}

    def trivial_baseline(self) -> str:
        """Describe the recall at 1 of a random order."""
        return f"a random order: recall@1 {1 / self.candidates:.1%}"

    def __str__(self) -> str:
        """Return the figures, rounded.

        >>> print(RetrievalMetrics(np.array([1, 1, 2, 8]), candidates=9))
        recall@1 50.0%, recall@5 75.0%, MRR 0.656
        """
        text = f"recall@1 {self.recall(1):.1%}, recall@5 {self.recall(5):.1%}, MRR {self.mrr:.3f}"
        return text if self.nearer is None else f"{text}, triplets right {self.nearer:.1%}"

    def table(self) -> str:
        """Return how many right partners have a rank, as text.

        >>> print(RetrievalMetrics(np.array([1, 1, 2, 8]), candidates=9).table())
        rank   anchors
        1            2
        2–5          1
        6–10         1
        above        0
        """
        limits = [0, *RANKS, np.inf]
        names = ["1", *(f"{a + 1}–{b}" for a, b in pairwise(RANKS)), "above"]
        counts = [
            np.count_nonzero((limits[i] < self.ranks) & (self.ranks <= limits[i + 1]))
            for i in range(len(names))
        ]
        return format_table(["rank", "anchors"], zip(names, counts, strict=True))


class SimilarityMetrics(RegressionMetrics):
    """How well the cosines of pairs follow their scores: the correlation of their ranks.

    Ties have their mean rank; where all cosines are equal, the correlation is defined as 0.
    """

    main_name = "Spearman"

    @classmethod
    def of_rows(
        cls, rows: Sequence[Sequence[str]], scores: Sequence[float], encode: Encode
    ) -> Self:
        """Compare the cosine of the two texts of each row with its score.

        Args:
            rows: S rows of two texts.
            scores: S scores.
            encode: returns the vectors (S, D) of texts.
        """
        texts, vectors = _encode_rows(rows, encode)
        first, second = (vectors[texts[:, i]] for i in range(2))  # (S, D) each
        cosines = np.einsum("sd,sd->s", first, second)  # (S,)
        return cls(np.asarray(scores, np.float64), cosines)

    @property
    def main(self) -> float:
        """Spearman's correlation."""
        return self.spearman

    def figures(self) -> dict[str, float]:
        """Return Spearman's and Pearson's correlation by their names."""
        return {"spearman": self.spearman, "pearson": self.pearson}

    def trivial_baseline(self) -> str:
        """Describe the correlation of a constant."""
        return "always the same cosine: Spearman 0"

    def __str__(self) -> str:
        """Return both correlations, rounded."""
        return f"Spearman {self.spearman:.3f}, Pearson {self.pearson:.3f}"


def _encode_rows(rows: Sequence[Sequence[str]], encode: Encode) -> tuple[Array, Array]:
    """Return the texts of rows as numbers (S, c), and the vectors of length 1 (U, D) of each."""
    numbers: dict[str, int] = {}  # of each different text
    texts = np.array([[numbers.setdefault(text, len(numbers)) for text in row] for row in rows])
    vectors = np.asarray(encode(list(numbers)))
    # In float64, because the squares of large float32 numbers overflow.
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)  # (U, 1)
    return texts, (vectors / np.maximum(lengths, 1e-12)).astype(vectors.dtype)
