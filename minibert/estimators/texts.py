"""The estimators whose labels belong to whole texts: `TextClassifier` and `TextRegressor`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np

from minibert.estimators.base import Estimator
from minibert.estimators.inputs import label_array, number_array, weight_list
from minibert.estimators.predictions import Predictions
from minibert.io.rows import texts_and_pairs
from minibert.tasks import (
    Examples,
    MultiLabelTask,
    RegressionTask,
    SingleLabelTask,
    Task,
)
from minibert.tasks.base import ClassWeight, report_unseen, require_few
from minibert.tasks.metrics import r2
from minibert.training.finetuning import Strategy


@dataclass(eq=False, repr=False)
class TextClassifier(Estimator):
    """Classify texts: one class per text, or any number of labels per text.

    Args:
        model, size, max_length, epochs, batch_size, learning_rate, layer_decay, freeze,
            early_stopping, random_state, threads, verbose: as in `Estimator`.
        class_weight: the weight of each class in the loss, by its label (1 where it is missing), or
            in the order of `classes_`; or "balanced", as if all classes were equally frequent;
            None: texts count alike; with pairs, a class of few texts counts somewhat more. Where a
            text may have several labels, the weight of a label (by its column of y) is that of the
            texts that have it, and "balanced" gives them the same sum as those without it.
        strategy: "direct" trains body and classifier on the labels; "pairs" trains the body so that
            texts with equal labels have similar vectors, and fits a classifier to the vectors
            afterwards, which is better with few labels; only for one class per text. "auto": pairs
            for few texts per class and a pre-trained model, unless `epochs`, `batch_size`,
            `learning_rate` or `layer_decay` is given.

    Attributes:
        classes_ (C,): the labels, sorted.
        n_classes_: C.
        thresholds_ (C,): where a text may have several labels: the probability above which each is
            predicted. With `early_stopping`, those with the best F1 on the held-out examples, else
            0.5; see `tasks.MultiLabelTask.tuned`.
    """

    class_weight: Mapping[Any, float] | Sequence[float] | Literal["balanced"] | None = None
    strategy: Strategy = "auto"

    kind: ClassVar[str | None] = "classifier"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label")

    def fit(self, X: Iterable[Any], y: Any, sample_weight: Any = None) -> Self:
        """Train a model on labelled texts; return the estimator.

        Args:
            X: S texts, or S pairs of texts.
            y: one label per text (S,); or 0 and 1 (S, C), where a text may have several.
            sample_weight (S,): the weight of each text in the loss, 0 or more; a whole number
                equals that many copies, 0 none. "balanced" counts them. With the strategy "pairs",
                the loss is that of the classifier. None: ones.

        Raises:
            TypeError, ValueError: texts or labels are invalid, or their numbers differ.
        """
        texts, pairs = texts_and_pairs(X)
        y, weights = label_array(texts, y), weight_list(texts, sample_weight)
        if y.dtype.kind in "fc" and not np.isfinite(y).all():
            raise ValueError("y: expected labels, got NaN or infinity")
        task, labels = (self._multi_label if y.ndim == 2 else self._single_label)(y)
        self.n_classes_ = len(self.classes_)
        examples = Examples(texts, pairs, labels, weights)
        return self._fit(task, examples, self._weights_by_class(), self.strategy)

    def _set_classes(self, classes: np.ndarray) -> None:
        """Set the labels of a folder's model."""
        self.classes_, self.n_classes_ = classes, len(classes)

    @property
    def thresholds_(self) -> np.ndarray:
        """The thresholds of several labels (C,); an AttributeError where a text has one."""
        task = vars(self).get("task_")
        if not isinstance(task, MultiLabelTask):
            raise AttributeError("thresholds_: expected a model that gives a text several labels")
        return task.thresholds

    def _multi_label(self, y: np.ndarray) -> tuple[Task, list[list[str]]]:
        """Return the task and the lists of labels for indicators y (S, C)."""
        require_few(y.shape[1], "labels", "y: ")
        if not np.isin(y, (0, 1)).all():
            raise ValueError("y: expected 0 and 1 alone where a text may have several labels")
        self.classes_ = np.arange(y.shape[1])
        task = MultiLabelTask([str(i) for i in self.classes_])
        return task, [[str(i) for i in np.flatnonzero(row)] for row in y]

    def _single_label(self, y: np.ndarray) -> tuple[Task, list[str]]:
        """Return the task and the class names for labels y (S,)."""
        if y.ndim != 1:
            raise ValueError(f"y: expected the shape ({len(y)},), got {y.shape}")
        if y.dtype.kind == "f" and (y != np.round(y)).any():
            raise ValueError("y: Unknown label type: continuous; see TextRegressor")
        self.classes_, ids = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("y: expected two classes or more, got 1 class")
        require_few(len(self.classes_), "classes", "y: ")
        task = SingleLabelTask([str(name) for name in self.classes_])
        return task, [task.names[i] for i in ids]

    def _weights_by_class(self) -> ClassWeight:
        """Return `class_weight` with a mapping or an array replaced by a list (C,)."""
        if self.class_weight is None or isinstance(self.class_weight, str):
            return self.class_weight
        if not isinstance(self.class_weight, Mapping):
            if len(self.class_weight) != len(self.classes_):
                raise ValueError(
                    f"class_weight: expected {len(self.classes_)} weights, one for each of the "
                    f"classes {self.classes_.tolist()!r:.80}, got {len(self.class_weight)}"
                )
            return [float(weight) for weight in self.class_weight]
        unknown = [label for label in self.class_weight if label not in self.classes_]
        if unknown:
            raise ValueError(f"class_weight: there is no class {unknown[0]!r} in y")
        return [float(self.class_weight.get(label, 1)) for label in self.classes_]

    def predict_proba(self, X: Iterable[Any]) -> np.ndarray:
        """Return the probability of each class for each text (S, C)."""
        return self._outputs(*texts_and_pairs(X))

    def predict(self, X: Iterable[Any]) -> np.ndarray:
        """Return the most probable label of each text (S,); or 0 and 1 (S, C), as in `fit`."""
        probabilities = self.predict_proba(X)
        ids = self.task_.predict_ids(probabilities)
        return self.classes_[ids] if ids.ndim == 1 else ids

    def predictions(self, X: Iterable[Any]) -> Predictions:
        """Return the predictions with their texts, to look at: a table in a notebook.

        Each is a dict: `text`, `pair` if there is one, the `label` as in `fit` with its
        `probability`; where a text may have several, `labels` with the probability of each (dict).

        Args:
            X: as in `predict`.
        """
        texts, pairs = texts_and_pairs(X)
        outputs = self._outputs(texts, pairs)  # (S, C)
        ids, labels = self.task_.predict_ids(outputs), self.classes_.tolist()
        if ids.ndim == 1:
            found: list[dict[str, Any]] = [
                {"label": labels[i], "probability": float(row[i])}
                for i, row in zip(ids, outputs, strict=True)
            ]
        else:
            found = [
                {"labels": {labels[i]: float(row[i]) for i in np.flatnonzero(chosen)}}
                for chosen, row in zip(ids, outputs, strict=True)
            ]
        return Predictions.of_texts(texts, pairs, found)

    def score(self, X: Iterable[Any], y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy (float); with several labels, the share of exact matches.

        Labels that `fit` did not see count as errors, and a warning names them.

        Args:
            X, y: as in `fit`.
            sample_weight (S,): the weight of each text; None: ones.
        """
        predicted = self.predict(X)
        y, weights = label_array(predicted, y), weight_list(predicted, sample_weight)
        if y.shape != predicted.shape:
            raise ValueError(f"y: expected the shape {predicted.shape}, got {y.shape}")
        if y.ndim == 1:
            known = {*self.classes_.tolist()}
            report_unseen(Counter(str(name) for name in y.tolist() if name not in known), "y")
        correct = (predicted == y).reshape(len(y), -1)
        return float(np.average(correct.all(axis=1), weights=weights))


@dataclass(eq=False, repr=False)
class TextRegressor(Estimator):
    """Predict a number for each text; the arguments are those of `Estimator`."""

    kind: ClassVar[str | None] = "regressor"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)

    def fit(self, X: Iterable[Any], y: Any, sample_weight: Any = None) -> Self:
        """Train a model on texts with numbers; return the estimator.

        Args:
            X: S texts, or S pairs of texts.
            y (S,): the numbers.
            sample_weight (S,): as in `TextClassifier.fit`.

        Raises:
            TypeError, ValueError: texts or numbers are invalid, or their counts differ.
        """
        texts, pairs = texts_and_pairs(X)
        y, weights = number_array(texts, y), weight_list(texts, sample_weight)
        if len(y) < 2:
            raise ValueError("y: expected two numbers or more, got n_samples = 1")
        numbers = y.tolist()
        examples = Examples(texts, pairs, numbers, weights)
        return self._fit(RegressionTask.from_labels(numbers, weights), examples)

    def predict(self, X: Iterable[Any]) -> np.ndarray:
        """Return the predicted numbers (S,)."""
        return self._outputs(*texts_and_pairs(X))

    def predictions(self, X: Iterable[Any]) -> Predictions:
        """Return the predictions with their texts, to look at: a table in a notebook.

        Each is a dict: `text`, `pair` if there is one, and the number as `label`.

        Args:
            X: as in `predict`.
        """
        texts, pairs = texts_and_pairs(X)
        numbers = self._outputs(texts, pairs).tolist()
        return Predictions.of_texts(texts, pairs, [{"label": number} for number in numbers])

    def score(self, X: Iterable[Any], y: Any, sample_weight: Any = None) -> float:
        """Return R² (float): 1 is perfect, 0 as good as predicting the mean.

        Args:
            X, y: as in `fit`.
            sample_weight (S,): the weight of each text; None: ones.
        """
        predicted = self.predict(X)
        y, weights = number_array(predicted, y), weight_list(predicted, sample_weight)
        return r2(y, predicted, weights)
