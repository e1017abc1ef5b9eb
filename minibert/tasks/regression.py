"""Text regression: each text has a number."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from minibert.inference.cross_encoder import Activation
from minibert.models import PreTrained
from minibert.models.classifier_head import scale_outputs
from minibert.tasks.base import Mistake, PlacePredictions, Task
from minibert.tasks.baselines import tfidf_ridge_regression
from minibert.tasks.examples import Examples
from minibert.tasks.metrics import Metrics, RegressionMetrics

MAX_LABEL = float(np.finfo(np.float32).max)  # absolute value; models learn in float32


class RegressionTask(Task):
    """Regression: each text has a number; outputs are numbers (S,).

    A model learns standardized numbers, (label - mean) / std, so that no learning rate depends on
    the labels' unit; `denormalize_head` multiplies mean and std into the last layer afterwards.

    Args:
        names: the name of the number, as a list of one.
        mean: the mean of the labels to learn.
        std: their standard deviation.
        activation: a function of the numbers (S, 1), as a cross-encoder has one; None: none.
    """

    name = "regression"
    problem_type = "regression"
    mistakes_title = "the largest errors"

    def __init__(
        self,
        names: Sequence[str] = ("value",),
        mean: float = 0.0,
        std: float = 1.0,
        activation: Activation | None = None,
    ):
        super().__init__(names)
        self.mean, self.std, self.activation = mean, std, activation

    @classmethod
    def from_labels(cls, labels: Sequence[float], weights: Sequence[float] | None = None) -> Self:
        """Return the task with the labels' mean and standard deviation.

        Args:
            labels: S numbers.
            weights: S weights, not all 0, of which a whole number equals that many copies of a
                label; None: ones.

        Raises:
            ValueError: there are no two different numbers of a weight above 0.
        """
        numbers = np.array(labels, float)
        if weights is not None:
            kept = np.asarray(weights, float) > 0
            numbers, weights = numbers[kept], np.asarray(weights, float)[kept].tolist()
        if not len(numbers) or np.ptp(numbers) == 0:
            got = f"only {numbers[0]:g}" if len(numbers) else "none"
            raise ValueError(f"labels: expected different numbers to learn, got {got}")
        mean = np.average(numbers, weights=weights)
        variance = np.average((numbers - mean) ** 2, weights=weights)
        return cls(mean=float(mean), std=float(np.sqrt(variance)))

    @classmethod
    def parse(cls, label: Any) -> float:
        """Return the number (float) that a raw label is written as."""
        try:
            number = float(label)
        except (TypeError, ValueError):
            raise ValueError(f"expected a number as label, got {label!r:.80}") from None
        if not abs(number) <= MAX_LABEL:
            raise ValueError(
                f"expected a finite number as label, at most {MAX_LABEL:.1e}, got {label!r:.80}"
            )
        return number

    def encode_label(self, label: float) -> float:
        """Return the standardized number (float)."""
        return (float(label) - self.mean) / self.std

    def decode_outputs(self, outputs: np.ndarray) -> list[float]:
        """Return the numbers as a list."""
        return outputs.tolist()

    def text_fields(self, label: float, output: float) -> list[str]:
        """Return the number with four digits."""
        return [f"{label:.4g}"]

    def metrics(self, labels: Sequence[float], outputs: np.ndarray) -> RegressionMetrics:
        """Return R², mean absolute error and correlations."""
        return RegressionMetrics(np.array(labels, float), outputs)

    def mistakes(
        self, texts: Sequence[str], labels: Sequence[float], outputs: np.ndarray
    ) -> Iterator[Mistake]:
        """Yield every text with its absolute error."""
        for text, label, predicted in zip(texts, labels, outputs, strict=True):
            error = abs(predicted - float(label))
            yield Mistake(error, f"{float(label):g}", f"{predicted:.3g}", text)

    def outputs_from_logits(self, logits: np.ndarray) -> np.ndarray:
        """Return the numbers (S,) in the labels' unit, for logits (S, 1)."""
        numbers = logits.astype(float) * self.std + self.mean  # (S, 1)
        return (numbers if self.activation is None else self.activation(numbers))[:, 0]

    def with_activation(self, activation: Activation | None) -> Self:
        """Return the task with an activation after the model; see `Task.with_activation`."""
        return type(self)(self.names, self.mean, self.std, activation)

    def standardized(self, labels: Sequence[float]) -> Self:
        """Return the task with the labels' mean and standard deviation; see `from_labels`."""
        return self.from_labels(labels)

    def normalize_head(self, model: PreTrained) -> None:
        """Divide mean and std out of the classifier."""
        scale_outputs(model, 1 / self.std, -self.mean / self.std)

    def denormalize_head(self, model: PreTrained) -> Self:
        """Multiply mean and std into the classifier; return the task without them."""
        scale_outputs(model, self.std, self.mean)
        return type(self)(self.names)

    def baseline(self, examples: Examples, held_out: Examples) -> tuple[str, Metrics] | None:
        """Train ridge regression on TF-IDF features; see `Task.baseline`."""
        outputs = tfidf_ridge_regression(examples, held_out, np.array(examples.labels, float))
        return "TF-IDF with ridge regression", self.metrics(held_out.labels, outputs)

    def describe_logits(self, tokens: Sequence[str], logits: np.ndarray) -> PlacePredictions:
        """Return the number as the name of one prediction."""
        (number,) = self.outputs_from_logits(logits[None])
        return [("the text", [(f"{number:.4g}", 1.0)])]
