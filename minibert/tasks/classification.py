"""Text classification: one class per text, or any number of labels per text."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from minibert.inference.cross_encoder import sigmoid
from minibert.tasks.base import ClassWeight, Mistake, PlacePredictions, Task, sorted_names
from minibert.tasks.baselines import tfidf_logistic_regression
from minibert.tasks.examples import Examples
from minibert.tasks.metrics import ClassificationMetrics, F1Metrics, Metrics

# A label of higher probability is predicted, where a text may have several; `tuned` chooses others.
THRESHOLD = 0.5


class _ClassificationTask(Task):
    """The part that single-label and multi-label classification share: C probabilities."""

    @classmethod
    def parse(cls, label: Any) -> Any:
        """Return the raw label; refuse an empty one. See `Task.parse`."""
        if label is None:
            raise ValueError(
                "the label is empty; the task multi-label reads that as a text without a label"
            )
        return label

    def class_weights(
        self,
        labels: Sequence[Any],
        weight: ClassWeight,
        example_weights: Sequence[float] | None = None,
    ) -> np.ndarray | None:
        """Return the weight of each class in the loss (C,), or None; see `Task.class_weights`."""
        if weight is None:
            return None
        if isinstance(weight, str):
            return self.balanced_weights(labels, example_weights)
        if len(weight) != len(self.names):
            raise ValueError(
                f"class_weight: expected {len(self.names)} weights, one for each class, got "
                f"{len(weight)}"
            )
        return np.array(weight, float)

    @abstractmethod
    def balanced_weights(
        self, labels: Sequence[Any], example_weights: Sequence[float] | None
    ) -> np.ndarray:
        """Return the weights (C,) for "balanced"."""

    def json_fields(self, label: Any, output: np.ndarray) -> dict[str, Any]:
        """Return the predicted label, and the probability of each class."""
        named = zip(self.names, output.tolist(), strict=True)
        probabilities = {name: round(probability, 5) for name, probability in named}
        return {"label": label, "probabilities": probabilities}

    def most_probable(self, outputs: np.ndarray, top: int) -> list[list[tuple[str, float]]]:
        """Return the most probable classes of each text; see `Task.most_probable`.

        >>> SingleLabelTask(["a", "b", "c"]).most_probable(np.array([[0.25, 0.5, 0.25]]), 2)
        [[('b', 0.5), ('a', 0.25)]]
        """
        if top < 1:
            raise ValueError(f"top: expected at least 1, got {top}")
        orders = np.argsort(-outputs, axis=-1, kind="stable")[:, :top]  # (S, C) -> (S, K)
        return [[(self.names[i], float(output[i])) for i in order]
                for output, order in zip(outputs, orders, strict=True)]  # fmt: skip

    def describe_logits(self, tokens: Sequence[str], logits: np.ndarray) -> PlacePredictions:
        """Return the classes of one text with their probabilities, the highest first."""
        (several,) = self.most_probable(self.outputs_from_logits(logits[None]), len(self.names))
        return [("the text", several)]

    def baseline(self, examples: Examples, held_out: Examples) -> tuple[str, Metrics] | None:
        """Train logistic regression on TF-IDF features; see `Task.baseline`."""
        targets = np.array([self.encode_label(label) for label in examples.labels])
        outputs = tfidf_logistic_regression(examples, held_out, targets)
        return "TF-IDF with logistic regression", self.metrics(held_out.labels, outputs)


class SingleLabelTask(_ClassificationTask):
    """Single-label classification: each text has one class; outputs are probabilities (S, C).

    >>> task = SingleLabelTask.from_labels(["dog", "cat", "dog"])
    >>> task.names, task.encode_label("dog"), task.decode_outputs(np.array([[0.7, 0.3]]))
    (['cat', 'dog'], 1, ['cat'])
    """

    name = "classification"
    problem_type = "single_label_classification"

    @classmethod
    def from_labels(cls, labels: Sequence[str]) -> Self:
        """Return the task with the labels' classes, in alphabetical order."""
        return cls(sorted_names(labels, "classes"))

    @classmethod
    def parse(cls, label: Any) -> str:
        """Return the raw label, which is one string; see `Task.parse`."""
        if isinstance(label, list):
            raise ValueError(
                f"expected one label, got {len(label)}; the task multi-label takes several"
            )
        return super().parse(label)

    @classmethod
    def names_in(cls, label: str) -> Sequence[str]:
        """Return the class as a list of one."""
        return [label]

    def encode_label(self, label: str) -> int:
        """Return the class id (int)."""
        return self._id(label)

    @classmethod
    def strata(cls, labels: Sequence[str]) -> list[Hashable]:
        """Return the labels, which are the classes."""
        return list(labels)

    @classmethod
    def class_counts(cls, labels: Sequence[str]) -> Counter[str]:
        """Count the texts of each class."""
        return Counter(labels)

    def balanced_weights(
        self, labels: Sequence[str], example_weights: Sequence[float] | None
    ) -> np.ndarray:
        """Return weights (C,) that make all classes count alike."""
        ids = [self._id(label) for label in labels]
        return balanced_class_weights(ids, len(self.names), example_weights)

    def predict_ids(self, outputs: np.ndarray) -> np.ndarray:
        """Return the most probable class id of each text (S,)."""
        return outputs.argmax(axis=-1)

    def decode_outputs(self, outputs: np.ndarray) -> list[str]:
        """Return the most probable class of each text."""
        return [self.names[i] for i in self.predict_ids(outputs)]

    def text_fields(self, label: str, output: np.ndarray) -> list[str]:
        """Return the predicted class and its probability."""
        return [label, f"{output.max():.3f}"]

    def metrics(self, labels: Sequence[str], outputs: np.ndarray) -> ClassificationMetrics:
        """Return accuracy, macro-F1 and the confusion matrix."""
        wide = self.widened(labels)
        actual = np.array([wide.encode_label(label) for label in labels], int)
        return ClassificationMetrics.from_ids(wide.names, actual, self.predict_ids(outputs))

    def mistakes(
        self, texts: Sequence[str], labels: Sequence[str], outputs: np.ndarray
    ) -> Iterator[Mistake]:
        """Yield the wrong predictions with their probabilities."""
        rows = zip(texts, labels, self.decode_outputs(outputs), outputs, strict=True)
        for text, label, predicted, probabilities in rows:
            if predicted != label:
                yield Mistake(float(probabilities.max()), label, predicted, text)


class MultiLabelTask(_ClassificationTask):
    """Multi-label classification: a text has any number of labels, independently predicted.

    >>> task = MultiLabelTask.from_labels([["red", "big"], [], ["big"]])
    >>> task.encode_label(["big"]).tolist(), task.decode_outputs(np.array([[0.9, 0.8], [0.1, 0.2]]))
    ([1.0, 0.0], [['big', 'red'], []])

    Args:
        names: the C labels, in the order of the model's logits.
        thresholds (C,): the probability above which each label is predicted; None: 0.5.
    """

    name = "multi-label"
    problem_type = "multi_label_classification"
    thresholds: np.ndarray

    def __init__(self, names: Sequence[str], thresholds: Sequence[float] | None = None):
        super().__init__(names)
        given = [THRESHOLD] * len(self.names) if thresholds is None else thresholds
        self.thresholds = np.array(given, float)  # (C,)
        if self.thresholds.shape != (len(self.names),) or not (abs(self.thresholds) <= 1).all():
            raise ValueError(
                f"thresholds: expected {len(self.names)} probabilities, one for each label, got "
                f"{given!r:.80}"
            )

    @classmethod
    def from_labels(cls, labels: Sequence[Sequence[str]]) -> Self:
        """Return the task with all labels that occur, in alphabetical order."""
        return cls(sorted_names((name for several in labels for name in several), "labels"))

    @classmethod
    def parse(cls, label: Any) -> list[str]:
        """Return the list of labels of a raw list, or of a string with commas; [] for None."""
        if label is None:
            return []
        if isinstance(label, str):
            return [name.strip() for name in label.split(",") if name.strip()]
        return label

    @classmethod
    def names_in(cls, label: Sequence[str]) -> Sequence[str]:
        """Return the labels of a text."""
        return label

    def encode_label(self, label: Sequence[str]) -> np.ndarray:
        """Return 1 for each label of a text and 0 for all others (C,)."""
        indicators = np.zeros(len(self.names), np.float32)
        indicators[[self._id(name) for name in label]] = 1
        return indicators

    def balanced_weights(
        self, labels: Sequence[Sequence[str]], example_weights: Sequence[float] | None
    ) -> np.ndarray:
        """Return weights (C,) by which the texts with each label count as much as those without.

        >>> MultiLabelTask(["a", "b"]).balanced_weights([["a"], ["a"], ["a", "b"], []], None)
        array([0.33333333, 3.        ])

        A label that every text has, or none, has the weight 1.
        """
        weights = np.ones(len(labels)) if example_weights is None else np.array(example_weights)
        indicators = np.stack([self.encode_label(label) for label in labels])  # (S, C)
        having = weights @ indicators.astype(float)  # (S,) @ (S, C) -> (C,)
        others = weights.sum() - having
        known = (having > 0) & (others > 0)
        return np.where(known, others, 1) / np.where(known, having, 1)

    def predict_ids(self, outputs: np.ndarray) -> np.ndarray:
        """Return 1 for each predicted label and 0 for all others (S, C)."""
        return (outputs > self.thresholds).astype(int)

    def tuned(self, labels: Sequence[Sequence[str]], outputs: np.ndarray) -> Self:
        """Return the task with the threshold of each label that has the highest F1.

        Each label has its own threshold (Yang, 2001, section 3: SCut); see `best_threshold`.

        Args:
            labels: S lists of labels.
            outputs (S, C): their probabilities.
        """
        return type(self)(
            self.names,
            [
                best_threshold(np.array([name in label for label in labels], bool), column)
                for name, column in zip(self.names, outputs.T, strict=True)
            ],
        )

    def at_threshold(self, threshold: float) -> Self:
        """Return the task with one threshold for all labels, a number from 0 to 1."""
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold: expected a number from 0 to 1, got {threshold}")
        return type(self)(self.names, [threshold] * len(self.names))

    def widened(self, labels: Sequence[Sequence[str]]) -> Self:
        """Return the task with the unseen labels after its own, with the threshold 0.5."""
        unseen = sorted(self.count_unseen(labels))
        thresholds = [*self.thresholds.tolist(), *[THRESHOLD] * len(unseen)]
        return type(self)([*self.names, *unseen], thresholds)

    def decode_outputs(self, outputs: np.ndarray) -> list[list[str]]:
        """Return the labels of each text whose probability is above their threshold."""
        return [[self.names[i] for i in np.flatnonzero(row)] for row in self.predict_ids(outputs)]

    def text_fields(self, label: list[str], output: np.ndarray) -> list[str]:
        """Return the predicted labels, and all probabilities in the order of the names."""
        return [",".join(label), " ".join(f"{probability:.3f}" for probability in output)]

    def metrics(self, labels: Sequence[Sequence[str]], outputs: np.ndarray) -> F1Metrics:
        """Return precision, recall and F1 over all labels."""
        wide = self.widened(labels)
        actual = np.array([wide.encode_label(label) for label in labels])
        predicted = wide.predict_ids(wide.pad_outputs(outputs))
        return F1Metrics.from_indicators(wide.names, actual > THRESHOLD, predicted == 1)

    def pad_outputs(self, outputs: np.ndarray) -> np.ndarray:
        """Return probabilities (S, C), with 0 for the names that the model does not know."""
        return np.pad(outputs, [(0, 0), (0, len(self.names) - outputs.shape[1])])

    def mistakes(
        self, texts: Sequence[str], labels: Sequence[Sequence[str]], outputs: np.ndarray
    ) -> Iterator[Mistake]:
        """Yield the texts with a wrong label, and the largest error of a probability."""
        wide = self.widened(labels)
        padded = wide.pad_outputs(outputs)
        rows = zip(texts, labels, self.decode_outputs(outputs), padded, strict=True)
        for text, label, predicted, probabilities in rows:
            if set(predicted) != set(label):
                error = float(np.abs(probabilities - wide.encode_label(label)).max())
                yield Mistake(error, " ".join(label) or "none", " ".join(predicted) or "none", text)

    def outputs_from_logits(self, logits: np.ndarray) -> np.ndarray:
        """Return the sigmoid of the logits (S, C)."""
        return sigmoid(logits)


def best_threshold(actual: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the threshold with the highest F1; of several, the one nearest to 0.5.

    >>> best_threshold(np.array([True, True, False]), np.array([0.4, 0.3, 0.1])).__round__(6)
    0.2

    The candidates are 0.5 and the middles between neighbouring probabilities. A label that no text
    has keeps 0.5.

    Args:
        actual (S,): whether each text has the label.
        probabilities (S,): of the label.
    """
    if not actual.any():
        return THRESHOLD
    order = np.argsort(-probabilities, kind="stable")
    sorted_probabilities = probabilities[order].astype(float)  # (S,), the highest first
    ends = np.flatnonzero(np.append(np.diff(sorted_probabilities) != 0, True))  # of equal ones
    below = np.append(sorted_probabilities[ends[1:]], 0.0)
    above_half = probabilities > THRESHOLD
    # (n,): each candidate, how many texts are above it, and how many of these have the label.
    candidates = np.append((sorted_probabilities[ends] + below) / 2, THRESHOLD)
    sizes = np.append(ends + 1, above_half.sum())
    hits = np.append(np.cumsum(actual[order])[ends], (above_half & actual).sum())
    scores = 2 * hits / (sizes + actual.sum())
    best = candidates[scores == scores.max()]
    return float(best[np.argmin(abs(best - THRESHOLD))])


def balanced_class_weights(
    ids: Sequence[int], classes: int, example_weights: Sequence[float] | None = None
) -> np.ndarray:
    """Return weights (C,) that make all classes count alike: S / (C · class frequency).

    >>> balanced_class_weights([0, 0, 0, 1], 2)
    array([0.66666667, 2.        ])

    Args:
        ids: the class ids of S examples.
        classes: C.
        example_weights: how often each example counts; None: once.
    """
    counts = np.bincount(np.array(ids, int), example_weights, minlength=classes)
    return counts.sum() / (classes * np.where(counts > 0, counts, 1))
