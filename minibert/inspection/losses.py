"""The loss of each kind of labels: the labels of a text, and what is between logits and loss.

`minibert.models` computes losses; here are their formulas, by the names that are printed.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minibert.functional import IGNORED, softmax_forward
from minibert.inference.cross_encoder import SCORES
from minibert.inspection.predictions import mask_positions
from minibert.tasks import Task, task_for
from minibert.tokenization import PreTrainedTokenizer

SOFTMAX_BACKWARD = "softmax - one-hot of the label"


class Labels(NamedTuple):
    """The labels of a text: as the criterion compares them, a batch of one, and as printed."""

    targets: np.ndarray
    names: list[str]


class Step(NamedTuple):
    """An array between the logits and the loss, with its formula."""

    name: str
    formula: str
    value: np.ndarray


class Loss(ABC):
    """A model's loss on one text.

    Args:
        model: whose criterion it is.
        tokenizer: the model's tokenizer.
        task: of a classifier; None: the model's, as `task_for` makes it.

    Attributes:
        handed: the formula of the gradient of the logits.
    """

    handed: ClassVar[str]

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizer, task: Task | None = None):
        self.model, self.tokenizer, self.given = model, tokenizer, task

    @property
    def task(self) -> Any:
        """The task that names the labels."""
        return task_for(self.model) if self.given is None else self.given

    @abstractmethod
    def labels(self, ids: list[int], logits: np.ndarray, label: str | None) -> Labels:
        """Return the labels of a text.

        Args:
            ids: its T token ids.
            logits (T, V) or (C,): the model's.
            label: as a user writes it; None: the most probable one.

        Raises:
            ValueError: it is none of the model's.
        """

    @abstractmethod
    def steps(self, logits: np.ndarray, labels: Labels) -> list[Step]:
        """Return the arrays between the logits and the loss."""

    @abstractmethod
    def formula(self, labels: Labels) -> str:
        """Return the formula of the loss (str)."""


class _SoftmaxLoss(Loss):
    """Cross-entropy of classes, or of tokens."""

    def steps(self, logits: np.ndarray, labels: Labels) -> list[Step]:
        """Return the softmax."""
        softmax, _ = softmax_forward(logits.copy())
        return [Step("softmax", "exp(logit) / Σ exp(logits) of each row", softmax)]

    def formula(self, labels: Labels) -> str:
        """Return the formula of cross-entropy; see `Loss.formula`."""
        count = len(labels.names)
        return f"- log softmax of the {f'{count} labels, their mean' if count > 1 else 'label'}"


class ClassLoss(_SoftmaxLoss):
    """Cross-entropy of the class of a text."""

    handed = SOFTMAX_BACKWARD

    def labels(self, ids: list[int], logits: np.ndarray, label: str | None) -> Labels:
        """Return the class (1,); see `Loss.labels`."""
        config = self.model.config
        if label is not None and label not in config.label2id:
            raise ValueError(f"label: expected one of {', '.join(config.label2id)}, got {label!r}")
        number = int(logits.argmax()) if label is None else config.label2id[label]
        return Labels(np.array([number]), [config.id2label[number]])


class TokenLoss(_SoftmaxLoss):
    """Cross-entropy of tokens: those at [MASK], otherwise every token that is not special."""

    handed = f"({SOFTMAX_BACKWARD}) / M for the M labels, 0 elsewhere"

    def labels(self, ids: list[int], logits: np.ndarray, label: str | None) -> Labels:
        """Return the ids (1, T), -100 for tokens that do not count; see `Loss.labels`."""
        tokenizer = self.tokenizer
        places = mask_positions(tokenizer, tokenizer.convert_ids_to_tokens(ids))
        if places:
            own = logits[places, : len(tokenizer)].argmax(axis=-1).tolist()
            chosen = own if label is None else self._ids_of(label, len(places))
        else:
            if label is not None:
                raise ValueError(f"label: expected a {tokenizer.mask_token} in the text, got none; "
                                 "the label is its token")  # fmt: skip
            places = [t for t, each in enumerate(ids) if each not in tokenizer.all_special_ids]
            chosen = [ids[t] for t in places]
        if not places:
            raise ValueError(
                "values: expected a text with a token that is not special, whose id is the label"
            )
        targets = np.full((1, len(ids)), IGNORED)
        targets[0, places] = chosen
        words = tokenizer.convert_ids_to_tokens(chosen)
        names = [f"{token!r} at token {t}" for t, token in zip(places, words, strict=True)]
        return Labels(targets, names)

    def _ids_of(self, label: str, count: int) -> list[int]:
        """Return the ids of tokens that are separated by spaces."""
        words, tokenizer = label.split(), self.tokenizer
        if len(words) != count:
            raise ValueError(f"label: expected {count} tokens, one for each "
                             f"{tokenizer.mask_token}, got {len(words)}")  # fmt: skip
        for word in words:
            if word not in tokenizer.vocab:
                raise ValueError(f"label: expected a token of the vocabulary, got {word!r}")
        return [tokenizer.vocab[word] for word in words]


class SeveralLabelsLoss(Loss):
    """Binary cross-entropy of each label of a text, which may have several."""

    handed = "(probabilities - targets) / C for the C labels"

    def labels(self, ids: list[int], logits: np.ndarray, label: str | None) -> Labels:
        """Return 1 for each label of the text (1, C); None: those above their thresholds."""
        task = self.task
        if label is None:
            (names,) = task.decode_outputs(task.outputs_from_logits(logits[None]))
        else:
            names = task.parse(label)
        for name in names:
            if name not in task.ids:
                raise ValueError(f"label: expected some of {', '.join(task.names)}, got {name!r}")
        targets = task.encode_label(names).astype(logits.dtype)
        return Labels(targets[None], names or ["none"])  # (C,) -> (1, C)

    def steps(self, logits: np.ndarray, labels: Labels) -> list[Step]:
        """Return the probabilities, which of them are above their thresholds, and the targets."""
        probabilities = self.task.outputs_from_logits(logits)
        predicted = self.task.predict_ids(probabilities[None])[0]
        bounds = ", ".join(f"{each:g}" for each in self.task.thresholds)
        return [
            Step("probabilities", "1 / (1 + exp(-logit)) of each label", probabilities),
            Step("predicted", f"1 above the thresholds, 0 elsewhere; they are {bounds}", predicted),
            Step("targets", "1 for each label of the text, 0 for the others", labels.targets[0]),
        ]

    def formula(self, labels: Labels) -> str:
        """Return the formula of binary cross-entropy; see `Loss.formula`."""
        return "- the mean of y log p + (1 - y) log(1 - p), p the probabilities, y the targets"


class NumberLoss(Loss):
    """The squared error of a number."""

    handed = "2 (logit - target)"

    def labels(self, ids: list[int], logits: np.ndarray, label: str | None) -> Labels:
        """Return the number as the model learns it (1, 1); see `Loss.labels`.

        No number is the most probable one: that of the model has the loss 0 and no gradient.
        """
        if label is None:
            raise ValueError("label: expected a number to compare with that of the model, got none")
        try:
            number = self.task.parse(label)
        except ValueError as error:
            raise ValueError(f"label: {error}") from None
        return Labels(np.array([[self.task.encode_label(number)]]), [f"{number:g}"])

    def steps(self, logits: np.ndarray, labels: Labels) -> list[Step]:
        """Return the number in the labels' unit, and the target in the logit's."""
        task, number, target = self.task, "logit", "label"
        if (task.mean, task.std) != (0, 1):
            number, target = "logit * std + mean", "(label - mean) / std"
        unit = f"; mean is {task.mean:g}, std {task.std:g}" * (target != "label")
        if task.activation is not None:
            names = [name for name, each in SCORES.items() if each is task.activation]
            number = f"{[*names, 'activation'][0]}({number})"
        (value,) = task.outputs_from_logits(logits[None])
        return [
            Step("number", number + unit, np.asarray(value)),
            Step("target", target + unit, labels.targets[0, 0]),
        ]

    def formula(self, labels: Labels) -> str:
        """Return the formula of the squared error; see `Loss.formula`."""
        return "(logit - target)²"


LOSSES: dict[str, type[Loss]] = {  # by `problem_type`
    "single_label_classification": ClassLoss,
    "multi_label_classification": SeveralLabelsLoss,
    "regression": NumberLoss,
}


def loss_class(model: Any) -> type[Loss]:
    """Return the loss of a masked language model, or of a classifier of texts.

    Raises:
        ValueError: the model has several numbers.
    """
    if model.predicts_tokens:
        return TokenLoss
    if model.problem == "regression" and model.config.num_labels > 1:
        raise ValueError(f"values: expected one number, got {model.config.num_labels}")
    return LOSSES[model.problem]
