"""Metrics of predictions: one class, several labels or entities, numbers.

Every class has `main`, the figure by which models are compared (higher is better), with its name,
`figures` for a run's history, a line of text, a trivial baseline, and a table.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from minibert.io.html import Markup, escaped
from minibert.io.text import printable

MAX_MATRIX_CLASSES = 20  # a larger confusion matrix is wider than a terminal


class Metrics(ABC):
    """The metrics of one set of predictions; a task's own metrics subclass it.

    Attributes:
        main_name: the name of `main`.
        is_share: whether `main` is a share, which is printed in percent.
    """

    main_name: ClassVar[str] = "score"
    is_share: ClassVar[bool] = False

    @property
    @abstractmethod
    def main(self) -> float:
        """The figure by which models are compared; higher is better."""

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """Return the figures by their names, for a run's history."""

    @abstractmethod
    def trivial_baseline(self) -> str:
        """Describe the result of a constant prediction, in one line of text."""

    @abstractmethod
    def __str__(self) -> str:
        """Return the figures as one line of text, rounded."""

    @abstractmethod
    def table(self) -> str:
        """Return a detailed table as text."""

    def _repr_html_(self) -> Markup:
        """Return the line, the trivial baseline and the table for a notebook."""
        line, table = escaped(f"{self}; {self.trivial_baseline()}"), self.table().splitlines()
        return Markup(f"<div><p>{line}</p><pre>{'&#10;'.join(map(escaped, table))}</pre></div>")


@dataclass(frozen=True)
class ClassificationMetrics(Metrics):
    """Metrics of a single-label classifier, computed from its confusion matrix.

    Attributes:
        names: the C class names.
        confusion (C, C): how often the row's class was predicted as the column's.
    """

    main_name = "macro-F1"
    is_share = True

    names: Sequence[str]
    confusion: np.ndarray

    @classmethod
    def from_ids(cls, names: Sequence[str], actual: np.ndarray, predicted: np.ndarray) -> Self:
        """Count predictions into a confusion matrix.

        Args:
            names: the C class names.
            actual (S,): the class ids of the labels.
            predicted (S,): the predicted class ids.
        """
        confusion = np.zeros((len(names), len(names)), np.int64)
        np.add.at(confusion, (actual, predicted), 1)
        return cls(names, confusion)

    @property
    def accuracy(self) -> float:
        """The share of correct predictions."""
        return float(np.trace(self.confusion) / max(self.confusion.sum(), 1))

    @property
    def macro_f1(self) -> float:
        """The unweighted mean of the classes' F1, as scikit-learn computes it.

        A class that is neither a label nor a prediction is left out.
        """
        true_positives, predicted, actual = self._counts()
        each = f1(true_positives, predicted, actual)[predicted + actual > 0]
        return float(each.mean()) if each.size else 0.0

    def _counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the true positives, predictions and labels of each class, (C,) each."""
        confusion = self.confusion
        return np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)

    @property
    def majority_accuracy(self) -> float:
        """The accuracy of always predicting the most frequent class of these labels."""
        return float(self.confusion.sum(axis=1).max() / max(self.confusion.sum(), 1))

    @property
    def main(self) -> float:
        """The macro-F1, because a rare class counts as much as a frequent one."""
        return self.macro_f1

    def figures(self) -> dict[str, float]:
        """Return accuracy and macro-F1 by their names."""
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1}

    def trivial_baseline(self) -> str:
        """Describe the accuracy of always predicting the most frequent class."""
        return f"always the commonest class: {self.majority_accuracy:.1%}"

    def __str__(self) -> str:
        """Return accuracy and macro-F1, rounded."""
        return f"accuracy {self.accuracy:.1%}, macro-F1 {self.macro_f1:.1%}"

    def table(self) -> str:
        """Return the confusion matrix as text: a row per label, a column per prediction.

        More than `MAX_MATRIX_CLASSES` classes are listed one per row, with counts and F1.

        >>> print(ClassificationMetrics(["cat", "dog"], np.array([[3, 1], [0, 2]])).table())
        true/said  cat  dog
        cat          3    1
        dog          0    2
        """
        if len(self.names) > MAX_MATRIX_CLASSES:
            return _table_of_counts(self.names, *self._counts())
        return format_table(
            ["true/said", *self.names], zip(self.names, *self.confusion.T, strict=True)
        )


@dataclass(frozen=True)
class F1Metrics(Metrics):
    """Precision, recall and F1 of labels or entities, counted by name.

    Attributes:
        names: the C labels, or kinds of entities.
        true_positives, predicted, actual (C,): correct predictions, all predictions, all labels.
        extra: one more figure, by its name.
        trivial: the trivial baseline, as a line of text.
    """

    main_name = "F1"
    is_share = True

    names: Sequence[str]
    true_positives: np.ndarray
    predicted: np.ndarray
    actual: np.ndarray
    extra: dict[str, float]
    trivial: str

    @classmethod
    def from_indicators(
        cls, names: Sequence[str], actual: np.ndarray, predicted: np.ndarray
    ) -> Self:
        """Count predictions where a text may have several labels.

        Args:
            names: the C labels.
            actual (S, C), bool: the labels of each text.
            predicted (S, C), bool: the predicted labels of each text.
        """
        exact = float((actual == predicted).all(axis=1).mean()) if len(actual) else 0.0
        empty = float((~actual.any(axis=1)).mean()) if len(actual) else 0.0
        return cls(
            names,
            (actual & predicted).sum(axis=0),
            predicted.sum(axis=0),
            actual.sum(axis=0),
            {"all labels right": exact},
            f"never a label: all labels right {empty:.1%}",
        )

    @property
    def precision(self) -> float:
        """The share of predictions that are correct."""
        return float(_ratio(self.true_positives.sum(), self.predicted.sum()))

    @property
    def recall(self) -> float:
        """The share of labels that were predicted."""
        return float(_ratio(self.true_positives.sum(), self.actual.sum()))

    @property
    def micro_f1(self) -> float:
        """F1 of the counts summed over all names."""
        return float(f1(self.true_positives.sum(), self.predicted.sum(), self.actual.sum()))

    @property
    def macro_f1(self) -> float:
        """The unweighted mean of F1 over all names, as scikit-learn computes it.

        A name that is neither a label nor a prediction has F1 0.
        """
        each = f1(self.true_positives, self.predicted, self.actual)
        return float(each.mean()) if each.size else 0.0

    @property
    def main(self) -> float:
        """The micro-F1."""
        return self.micro_f1

    def figures(self) -> dict[str, float]:
        """Return precision, recall, both F1 and the extra figure by their names."""
        names = ("precision", "recall", "micro_f1", "macro_f1")
        return {name: getattr(self, name) for name in names} | self.extra

    def trivial_baseline(self) -> str:
        """Describe the result of predicting no label at all."""
        return self.trivial

    def __str__(self) -> str:
        """Return F1, precision, recall and the extra figure, rounded."""
        extra = "".join(f", {name} {value:.1%}" for name, value in self.extra.items())
        return (
            f"F1 {self.micro_f1:.1%} (precision {self.precision:.1%}, "
            f"recall {self.recall:.1%}){extra}"
        )

    def table(self) -> str:
        """Return the counts and F1 of each name as text."""
        return _table_of_counts(self.names, self.true_positives, self.predicted, self.actual)


@dataclass(frozen=True)
class RegressionMetrics(Metrics):
    """Metrics of predicted numbers.

    Attributes:
        actual (S,): the numbers of the labels.
        predicted (S,): the predicted numbers.
    """

    main_name = "R²"

    actual: np.ndarray
    predicted: np.ndarray

    @property
    def mae(self) -> float:
        """The mean absolute error."""
        return float(np.abs(self.predicted - self.actual).mean())

    @property
    def r2(self) -> float:
        """1 - Σ(predicted - actual)² / Σ(actual - mean)²; 0 is as good as the mean."""
        return r2(self.actual, self.predicted)

    @property
    def pearson(self) -> float:
        """Pearson's correlation; 0 if either side is constant."""
        return _correlation(self.actual, self.predicted)

    @property
    def spearman(self) -> float:
        """Spearman's rank correlation; equal numbers share the mean of their ranks."""
        return _correlation(_ranks(self.actual), _ranks(self.predicted))

    @property
    def main(self) -> float:
        """R²."""
        return self.r2

    def figures(self) -> dict[str, float]:
        """Return R², mean absolute error and both correlations by their names."""
        return {name: getattr(self, name) for name in ("r2", "mae", "pearson", "spearman")}

    def trivial_baseline(self) -> str:
        """Describe the mean absolute error of always predicting the median."""
        error = np.abs(self.actual - np.median(self.actual)).mean()
        return f"always the median: mean error {error:.3g}"

    def __str__(self) -> str:
        """Return all four figures, rounded."""
        return (
            f"R² {self.r2:.3f}, mean error {self.mae:.3g}, "
            f"correlation {self.pearson:.3f} (of ranks {self.spearman:.3f})"
        )

    def table(self) -> str:
        """Return the mean absolute error in each quarter of the actual numbers.

        >>> print(RegressionMetrics(np.arange(8.0), np.arange(8.0) + 0.5).table())
        true from  to  mean error
        0           1         0.5
        2           3         0.5
        4           5         0.5
        6           7         0.5
        """
        order = np.argsort(self.actual, kind="stable")
        quarters = [part for part in np.array_split(order, 4) if len(part)]
        rows = [
            [
                f"{self.actual[part[0]]:.4g}",
                f"{self.actual[part[-1]]:.4g}",
                f"{np.abs(self.predicted[part] - self.actual[part]).mean():.3g}",
            ]
            for part in quarters
        ]
        return format_table(["true from", "to", "mean error"], rows)


def f1(true_positives: Any, predicted: Any, actual: Any) -> Any:
    """Return F1, 2 · true positives / (predicted + actual); 0 where both counts are 0."""
    return _ratio(2 * true_positives, predicted + actual)


def r2(actual: np.ndarray, predicted: np.ndarray, weights: Sequence[float] | None = None) -> float:
    """Return 1 - Σ w (predicted - actual)² / Σ w (actual - mean)², with the weighted mean.

    >>> r2(np.array([0.0, 2.0, 9.0]), np.array([0.0, 1.0, 0.0]), [1.0, 1.0, 0.0])
    0.5

    Args:
        actual (S,), predicted (S,): numbers.
        weights: S numbers w; None: ones.
    """
    own = np.ones(1) if weights is None else np.asarray(weights)  # (1,) or (S,)
    total = (own * np.square(actual - np.average(actual, weights=weights))).sum()
    residual = (own * np.square(predicted - actual)).sum()
    return float(1 - residual / total) if total else float(residual == 0)


def _ratio(part: Any, whole: Any) -> Any:
    return np.asarray(part) / np.maximum(whole, 1)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else 0.0


def _ranks(numbers: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places]


def _table_of_counts(
    names: Sequence[str], true_positives: np.ndarray, predicted: np.ndarray, actual: np.ndarray
) -> str:
    each = [f"{value:.1%}" for value in f1(true_positives, predicted, actual)]
    rows = zip(names, true_positives, predicted, actual, each, strict=True)
    return format_table(["", "right", "said", "true", "F1"], rows)


def format_table(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a table as text, its first column left-aligned, the others right-aligned.

    The control characters of cells are escaped.
    """
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
