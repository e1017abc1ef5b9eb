"""The other task models: one small class for each use of BERT."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minibert.functional import (
    IGNORED,
    binary_cross_entropy_backward,
    binary_cross_entropy_forward,
    cross_entropy_backward,
    cross_entropy_forward,
    squared_error_backward,
    squared_error_forward,
)
from minibert.layers import ClassifierHead, PooledClassifierHead
from minibert.models.bert import BertBased
from minibert.models.inputs import Batch, as_array, has_shape, match_classes
from minibert.models.masked_lm import BertForMaskedLM, positions_of
from minibert.models.task_model import BertWithHead
from minibert.parameters import Views
from minibert.specs import Spec, merged
from minibert.typing import Array, Rng


class SequenceLevelModel(BertWithHead):
    """A task model whose head reads [CLS] alone, so the last block computes only that token."""

    def rows_read(self, batch: Batch) -> Array | None:
        """Return the first token of each sequence, (B, 1)."""
        return np.zeros((len(batch.sequences().input_ids), 1), np.int64)


class BertForNextSentencePrediction(SequenceLevelModel):
    """Tell whether the second segment followed the first: logits (B, 2), class 0 if it did.

    Devlin et al. (2019), section 3.1. The labels are (B,).
    """

    def build(self, **parts: Any) -> None:
        """Make the body and the classifier of pairs."""
        super().build(**parts)
        self.head = PooledClassifierHead("cls.seq_relationship", self.config.hidden_size, 2)

    def match(self, batch: Batch, labels: Any) -> Array:
        """Return the labels (B,), 0 or 1."""
        return match_classes("labels", labels, batch.input_ids.shape[:1], 2)


class BertForPreTraining(BertForMaskedLM):
    """Both of BERT's pre-training tasks at once; the loss is the sum of theirs.

    Devlin et al. (2019), section 3.1. The labels are a dictionary: `labels` (B, T) of the masked
    tokens, `next_sentence_label` (B,), 0 where the second segment followed the first.
    """

    label_names = ("labels", "next_sentence_label")

    def build(self, **parts: Any) -> None:
        """Make the body and two heads."""
        super().build(**parts)
        self.pair_head = PooledClassifierHead("cls.seq_relationship", self.config.hidden_size, 2)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the body and of both heads."""
        return merged(self, BertBased.specs(self), self.pair_head.specs(), self.head.specs())

    def match(self, batch: Batch, labels: Any) -> Any:
        """Return the labels (B, T) and (B,)."""
        masked, pair = by_name(self.label_names, labels)
        shape = batch.input_ids.shape[:1]
        return super().match(batch, masked), match_classes(self.label_names[1], pair, shape, 2)

    def count(self, labels: Any) -> Any:
        """Return how many labels of either kind count."""
        return np.array(list(map(super().count, by_name(self.label_names, labels))))

    def targets(self, batch: Batch, labels: Any) -> tuple[Array, Any]:
        """Return [CLS] and the masked positions (B, R), and the labels; both heads read [CLS]."""
        masked, pair = self.match(batch, labels)
        wanted = masked != IGNORED
        wanted[:, 0] = True
        rows = positions_of(wanted)
        return rows, (np.take_along_axis(masked, rows, axis=1), pair)

    def head_forward(self, x: Array, rng: Rng | None = None) -> tuple[Any, Any]:
        """Return the logits (B, R, V) and (B, 2) for the tokens x (B, R, D), and the cache."""
        words, words_cache = super().head_forward(x, rng)
        pair, pair_cache = self.pair_head.forward(self.params, x, rng)
        return (words, pair), (words_cache, pair_cache)

    def head_backward(self, dlogits: Any, cache: Any, grads: Views) -> Array:
        """Gradient of `head_forward`: dx (B, R, D), the sum of both heads' gradients."""
        (dwords, dpair), (words_cache, pair_cache) = dlogits, cache
        dx = super().head_backward(dwords, words_cache, grads)
        return dx + self.pair_head.backward(dpair, pair_cache, self.params, grads)

    def criterion_forward(
        self, logits: Any, targets: Any, denominator: Any = None
    ) -> tuple[float, Any]:
        """Return the sum of both cross-entropies, each over its own count, and the cache."""
        each = (None, None) if denominator is None else denominator
        (words, words_cache), (pair, pair_cache) = map(cross_entropy_forward, logits, targets, each)
        return words + pair, (words_cache, pair_cache)

    def criterion_backward(self, cache: Any) -> Any:
        """Gradient of `criterion_forward`: both dlogits."""
        return tuple(map(cross_entropy_backward, cache))

    def outputs(self, logits: Any) -> dict[str, Any]:
        """Return both logits under their names."""
        return dict(zip(("prediction_logits", "seq_relationship_logits"), logits, strict=True))


CRITERIA: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "single_label_classification": (cross_entropy_forward, cross_entropy_backward),
    "multi_label_classification": (binary_cross_entropy_forward, binary_cross_entropy_backward),
    "regression": (squared_error_forward, squared_error_backward),
}


class BertForSequenceClassification(SequenceLevelModel):
    """Put the whole text into one class, into several, or on a scale: logits (B, C) from [CLS].

        logits = linear(dropout(tanh(linear(x[:, 0]))))

    Devlin et al. (2019), section 4.1. `config.problem_type` decides labels and loss:

    - `single_label_classification`: the class, (B,), -100 where a text does not count;
      cross-entropy.
    - `multi_label_classification`: (B, C), 1 for each class that a text has and 0 for each that it
      does not have, -100 where that does not count; binary cross-entropy.
    - `regression`: numbers, (B, C), or (B,) if C is 1; the mean of the squared errors.

    If it is None, one class means regression, and several mean a single label.

    Attributes:
        class_weights (C,): how much each class counts in the loss of a single label, or each label
            of several where a text has it; None: ones.
    """

    def build(self, **parts: Any) -> None:
        """Make the body, the pooler and the classifier."""
        super().build(**parts)
        config = self.config
        self.class_weights: Array | None = None
        default = "regression" if config.num_labels == 1 else "single_label_classification"
        self.problem = config.problem_type or default
        self.head = PooledClassifierHead(
            "classifier", config.hidden_size, config.num_labels, config.classifier_rate
        )

    def match(self, batch: Batch, labels: Any) -> Array:
        """Return the labels (B,) or (B, C), as the kind of problem has them."""
        size, classes = len(batch.input_ids), self.config.num_labels
        if self.problem == "single_label_classification":
            return match_classes("labels", labels, (size,), classes)
        if self.problem == "regression":
            narrow = classes == 1 and np.ndim(labels) == 1
            numbers = match_numbers("labels", labels, (size,) if narrow else (size, classes))
            return numbers.reshape(size, classes)  # (B,) -> (B, 1)
        shares = match_numbers("labels", labels, (size, classes))
        wrong = shares[((shares < 0) | (shares > 1)) & (shares != IGNORED)]
        if wrong.size:
            raise ValueError(f"labels: expected numbers from 0 to 1, got {wrong[0]}")
        return shares

    def count(self, labels: Any) -> Any:
        """Return how many labels count, or the sum of their classes' weights."""
        return self.counts(labels).sum()

    def counts(self, labels: Any) -> Array:
        """Return how many labels of each text count (B,), or the weight of its class.

        Every number of a regression counts.
        """
        labels = np.asarray(labels)
        counted = (labels != IGNORED) | (self.problem == "regression")
        if self.class_weights is not None and self.problem == "single_label_classification":
            return np.where(counted, self.class_weights[np.where(counted, labels, 0)], 0.0)
        counts: Array = counted.reshape(len(labels), -1).sum(axis=1)  # (B,) or (B, C) -> (B,)
        return counts

    def criterion_forward(
        self, logits: Any, targets: Any, denominator: Any = None
    ) -> tuple[float, Any]:
        """Compare logits (B, C) with their targets: the loss, and the cache."""
        extra = {} if self.class_weights is None else {"weights": self.class_weights}
        loss: tuple[float, Any] = CRITERIA[self.problem][0](logits, targets, denominator, **extra)
        return loss

    def criterion_backward(self, cache: Any) -> Any:
        """Gradient of `criterion_forward`: dlogits (B, C)."""
        return CRITERIA[self.problem][1](cache)


class BertForMultipleChoice(SequenceLevelModel):
    """Choose among several sequences: logits (B, C) for ids (B, C, T), a sequence for each choice.

    Devlin et al. (2019), section 4.4. The labels are (B,), the right choice, or -100.
    """

    axes = ("B", "C", "T")

    def build(self, **parts: Any) -> None:
        """Make the body, the pooler and one logit for a sequence."""
        super().build(**parts)
        config = self.config
        self.head = PooledClassifierHead(
            "classifier", config.hidden_size, 1, config.classifier_rate
        )

    def match(self, batch: Batch, labels: Any) -> Array:
        """Return the labels (B,), each one of the choices."""
        size, choices, _ = batch.input_ids.shape
        return match_classes("labels", labels, (size,), choices)

    def head_forward(self, x: Array, rng: Rng | None = None) -> tuple[Any, Any]:
        """Return the logits (B, C) for the tokens x (B, C, R, D), and the cache."""
        logits, cache = super().head_forward(x, rng)
        return logits[..., 0], cache  # (B, C, 1) -> (B, C)

    def head_backward(self, dlogits: Any, cache: Any, grads: Views) -> Array:
        """Gradient of `head_forward`: dx (B, C, R, D)."""
        return super().head_backward(dlogits[..., None], cache, grads)  # (B, C) -> (B, C, 1)


class BertForTokenClassification(BertWithHead):
    """Put each token into a class: logits (B, T, C).

    Devlin et al. (2019), section 5.3. The labels are (B, T), -100 where a token does not count.
    """

    def build(self, **parts: Any) -> None:
        """Make the body and the classifier."""
        super().build(**parts)
        config = self.config
        self.head = ClassifierHead(
            "classifier", config.hidden_size, config.num_labels, config.classifier_rate
        )

    def match(self, batch: Batch, labels: Any) -> Array:
        """Return the labels (B, T), each a class."""
        return match_classes("labels", labels, batch.input_ids.shape, self.config.num_labels)


class BertForQuestionAnswering(BertWithHead):
    """Find where an answer begins and ends: logits (B, 2, T), softmax over the tokens.

    Devlin et al. (2019), section 4.2. The labels are a dictionary, `start_positions` and
    `end_positions`, (B,) each, -100 in both where a text does not count; the loss is the mean over
    starts and ends. As there, padding takes part in the softmax.
    """

    label_names = ("start_positions", "end_positions")

    def build(self, **parts: Any) -> None:
        """Make the body and two logits for each token.

        Raises:
            ValueError: the configuration does not have two labels.
        """
        super().build(**parts)
        if self.config.num_labels != 2:
            raise ValueError(
                "id2label: expected two for question answering, a start and an end, got "
                f"{self.config.num_labels}"
            )
        self.head = ClassifierHead("qa_outputs", self.config.hidden_size, 2)

    def match(self, batch: Batch, labels: Any) -> Array:
        """Return the labels (B, 2), each a position."""
        size, length = batch.input_ids.shape
        pairs = zip(self.label_names, by_name(self.label_names, labels), strict=True)
        start, end = (match_classes(name, part, (size,), length) for name, part in pairs)
        if ((start == IGNORED) != (end == IGNORED)).any():
            raise ValueError(f"end_positions: expected {IGNORED} where start_positions has it")
        return np.stack([start, end], axis=1)  # (B,), (B,) -> (B, 2)

    def count(self, labels: Any) -> Any:
        """Return how many starts and ends count."""
        return sum(map(super().count, by_name(self.label_names, labels)))

    def head_forward(self, x: Array, rng: Rng | None = None) -> tuple[Any, Any]:
        """Return the logits (B, 2, T) for the tokens x (B, T, D), and the cache."""
        logits, cache = super().head_forward(x, rng)
        return logits.swapaxes(1, 2), cache  # (B, T, 2) -> (B, 2, T)

    def head_backward(self, dlogits: Any, cache: Any, grads: Views) -> Array:
        """Gradient of `head_forward`: dx (B, T, D)."""
        return super().head_backward(dlogits.swapaxes(1, 2), cache, grads)  # -> (B, T, 2)

    def outputs(self, logits: Any) -> dict[str, Any]:
        """Return the logits of the starts and of the ends, (B, T) each."""
        return {"start_logits": logits[:, 0], "end_logits": logits[:, 1]}


def by_name(names: tuple[str, ...], labels: Any) -> list[Any]:
    """Return the values of labels that are a dictionary of exactly these names.

    Raises:
        TypeError: they are something else.
    """
    if not isinstance(labels, dict) or labels.keys() != set(names):
        got = ", ".join(labels) if isinstance(labels, dict) else type(labels).__name__
        raise TypeError(f"labels: expected a dictionary of {' and '.join(names)}, got {got}")
    return [labels[name] for name in names]


def match_numbers(name: str, labels: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Return labels as an array of finite numbers.

    Raises:
        TypeError, ValueError: of another dtype or shape, or not finite; the message begins with
            `name`.
    """
    array = has_shape(name, as_array(name, labels), shape)
    if array.dtype == bool:
        array = array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise TypeError(f"{name}: expected numbers, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got {array[~np.isfinite(array)][0]}")
    return array
