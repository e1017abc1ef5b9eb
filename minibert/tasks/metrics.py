"""How good answers are: for one label, for several, and for numbers.

Each kind of scores has `main`, the figure by which models are compared (more is better), `figures`
for a run's history, a line of text with its yardstick, and a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """The counts of a classifier's answers, and what is computed from them.

    Attributes:
        labels: the C classes' names.
        confusion: (C, C), how often the row's class was taken for the column's.
    """

    labels: Sequence[str]
    confusion: np.ndarray

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return float(np.trace(self.confusion) / max(self.confusion.sum(), 1))

    @property
    def macro_f1(self) -> float:
        """The mean of the classes' F1, each class alike.

        A class that neither occurs nor is ever said is left out.
        """
        said, true = self.confusion.sum(axis=0), self.confusion.sum(axis=1)
        present = said + true > 0
        each = f1(np.diag(self.confusion), said, true)[present]
        return float(each.mean()) if each.size else 0.0

    @property
    def majority(self) -> float:
        """The accuracy of saying the commonest class of these texts every time."""
        return float(self.confusion.sum(axis=1).max() / max(self.confusion.sum(), 1))

    @property
    def main(self) -> float:
        """The macro-F1, which no class can hide in."""
        return self.macro_f1

    def figures(self) -> dict[str, float]:
        """Return the figures by their names."""
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1}

    def yardstick(self) -> str:
        """Say what costs nothing."""
        return f"always the commonest class: {self.majority:.1%}"

    def __str__(self) -> str:
        """Return the accuracy and the macro-F1, rounded."""
        return f"accuracy {self.accuracy:.1%}, macro-F1 {self.macro_f1:.1%}"

    def table(self) -> str:
        """Return the confusion as text: a row for each true class, a column for each answer.

        >>> print(Scores(["cat", "dog"], np.array([[3, 1], [0, 2]])).table())
        true/said  cat  dog
        cat          3    1
        dog          0    2
        """
        return aligned(
            ["true/said", *self.labels], zip(self.labels, *self.confusion.T, strict=True)
        )


def count(labels: Sequence[str], true: np.ndarray, said: np.ndarray) -> Scores:
    """Count the answers.

    Args:
        labels: the C classes' names.
        true, said: (S,), the right classes' numbers and the answers'.
    """
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (true, said), 1)
    return Scores(labels, confusion)


@dataclass(frozen=True)
class Hits:
    """How many things of each kind were right, were said and were there: labels, or entities.

    Attributes:
        kinds: their names.
        right, said, true: (C,), how many of each.
        extra: one more figure, by its name.
        nothing: what it is to say nothing at all, as a line.
    """

    kinds: Sequence[str]
    right: np.ndarray
    said: np.ndarray
    true: np.ndarray
    extra: dict[str, float]
    nothing: str

    @property
    def precision(self) -> float:
        """The share of what was said that is right."""
        return float(_share(self.right.sum(), self.said.sum()))

    @property
    def recall(self) -> float:
        """The share of what is there that was said."""
        return float(_share(self.right.sum(), self.true.sum()))

    @property
    def micro_f1(self) -> float:
        """F1 over all kinds together."""
        return float(f1(self.right.sum(), self.said.sum(), self.true.sum()))

    @property
    def macro_f1(self) -> float:
        """The mean of F1 over the kinds that occur or were said."""
        present = self.said + self.true > 0
        each = f1(self.right, self.said, self.true)[present]
        return float(each.mean()) if each.size else 0.0

    @property
    def main(self) -> float:
        """F1 over all kinds together."""
        return self.micro_f1

    def figures(self) -> dict[str, float]:
        """Return the figures by their names."""
        names = ("precision", "recall", "micro_f1", "macro_f1")
        return {name: getattr(self, name) for name in names} | self.extra

    def yardstick(self) -> str:
        """Say what costs nothing."""
        return self.nothing

    def __str__(self) -> str:
        """Return precision, recall, F1 and the extra figure, rounded."""
        extra = "".join(f", {name} {value:.1%}" for name, value in self.extra.items())
        return (
            f"F1 {self.micro_f1:.1%} (precision {self.precision:.1%}, "
            f"recall {self.recall:.1%}){extra}"
        )

    def table(self) -> str:
        """Return a row for each kind."""
        return aligned(
            ["", "right", "said", "true", "F1"],
            zip(
                self.kinds,
                self.right,
                self.said,
                self.true,
                [f"{each:.1%}" for each in f1(self.right, self.said, self.true)],
                strict=True,
            ),
        )


def count_labels(labels: Sequence[str], true: np.ndarray, said: np.ndarray) -> Hits:
    """Count the answers where a text may have several labels.

    Args:
        labels: the C classes' names.  true, said: (S, C) of truth values.
    """
    exact = float((true == said).all(axis=1).mean()) if len(true) else 0.0
    nothing = float((~true.any(axis=1)).mean()) if len(true) else 0.0
    return Hits(
        labels,
        (true & said).sum(axis=0),
        said.sum(axis=0),
        true.sum(axis=0),
        {"all labels right": exact},
        f"never a label: all labels right {nothing:.1%}",
    )


@dataclass(frozen=True)
class NumberScores:
    """How far numbers are from what they should be.

    Attributes:
        true, said: (S,).
    """

    true: np.ndarray
    said: np.ndarray

    @property
    def mae(self) -> float:
        """The mean of the absolute errors."""
        return float(np.abs(self.said - self.true).mean())

    @property
    def r2(self) -> float:
        """1 - Σ(said - true)² / Σ(true - mean)²: 1 is perfect, 0 as good as the mean."""
        spread = np.square(self.true - self.true.mean()).sum()
        errors = np.square(self.said - self.true).sum()
        return float(1 - errors / spread) if spread else float(errors == 0)

    @property
    def pearson(self) -> float:
        """The correlation of what was said with what is true; 0 if either never changes."""
        return _correlation(self.true, self.said)

    @property
    def spearman(self) -> float:
        """The correlation of their ranks, equal numbers sharing the mean of theirs."""
        return _correlation(_ranks(self.true), _ranks(self.said))

    @property
    def main(self) -> float:
        """R²."""
        return self.r2

    def figures(self) -> dict[str, float]:
        """Return the figures by their names."""
        return {name: getattr(self, name) for name in ("r2", "mae", "pearson", "spearman")}

    def yardstick(self) -> str:
        """Say what costs nothing."""
        far = np.abs(self.true - np.median(self.true)).mean()
        return f"always the median: mean error {far:.3g}"

    def __str__(self) -> str:
        """Return all four figures, rounded."""
        return (
            f"R² {self.r2:.3f}, mean error {self.mae:.3g}, "
            f"correlation {self.pearson:.3f} (of ranks {self.spearman:.3f})"
        )

    def table(self) -> str:
        """Return the mean error in each quarter of the true numbers.

        >>> print(NumberScores(np.arange(8.0), np.arange(8.0) + 0.5).table())
        true from  to  mean error
        0           1         0.5
        2           3         0.5
        4           5         0.5
        6           7         0.5
        """
        order = np.argsort(self.true, kind="stable")
        quarters = [part for part in np.array_split(order, 4) if len(part)]
        rows = [
            [
                f"{self.true[part[0]]:.4g}",
                f"{self.true[part[-1]]:.4g}",
                f"{np.abs(self.said[part] - self.true[part]).mean():.3g}",
            ]
            for part in quarters
        ]
        return aligned(["true from", "to", "mean error"], rows)


def f1(right, said, true):
    """2 · right / (said + true), the harmonic mean of precision and recall; 0 of nothing."""
    return _share(2 * right, said + true)


def _share(part, whole):
    return np.asarray(part) / np.maximum(whole, 1)


def _correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    length = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / length) if length else 0.0


def _ranks(numbers):
    _, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places]


def aligned(header: Sequence[str], rows) -> str:
    """Return a table as text, the first column to the left and the others to the right."""
    cells = [header, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
