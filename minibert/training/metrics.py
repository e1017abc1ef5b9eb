"""How well classes are told apart: accuracy, macro-F1, and who is taken for whom."""

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
        """The mean of the classes' F1 = 2 · right / (said + true), each class alike.

        A class that neither occurs nor is ever said is left out.
        """
        right = np.diag(self.confusion)
        either = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)
        present = either > 0
        return float((2 * right[present] / either[present]).mean()) if present.any() else 0.0

    @property
    def majority(self) -> float:
        """The accuracy of saying the commonest class of these texts every time."""
        return float(self.confusion.sum(axis=1).max() / max(self.confusion.sum(), 1))

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
        corner = "true/said"
        first = max(len(corner), *map(len, self.labels))
        widths = [max(len(label), len(str(self.confusion.max())), 4) for label in self.labels]
        lines = [
            corner.ljust(first)
            + "".join(f" {x:>{w}}" for x, w in zip(self.labels, widths, strict=True))
        ]
        for label, counts in zip(self.labels, self.confusion, strict=True):
            cells = "".join(f" {n:>{w}}" for n, w in zip(counts, widths, strict=True))
            lines.append(label.ljust(first) + cells)
        return "\n".join(lines)


def count(labels: Sequence[str], true: np.ndarray, said: np.ndarray) -> Scores:
    """Count the answers.

    Args:
        labels: the C classes' names.
        true, said: (S,), the right classes' numbers and the answers'.
    """
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (true, said), 1)
    return Scores(labels, confusion)
