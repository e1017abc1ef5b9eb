"""The interface of a task: labels in, training targets, predictions, metrics and a baseline out.

To add a task, subclass `Task` and give an instance to `training.fine_tune` and `training.evaluate`;
a row in `tasks.TASKS` makes it known to the commands and to `tasks.task_for`.
"""

import json
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np

from minibert.data.delimited import quote
from minibert.data.ragged import RaggedSequences
from minibert.functional import softmax_forward
from minibert.inference.cross_encoder import Activation
from minibert.inference.windows import long_texts, map_windows
from minibert.io.text import CONTROL, sanitize
from minibert.models import BertForSequenceClassification, PreTrained
from minibert.models.unpadded import logits_of, runs_unpadded
from minibert.tasks.examples import Examples
from minibert.tasks.metrics import Metrics
from minibert.tokenization import PreTrainedTokenizer, WordPieceTokenizer
from minibert.tokenization.framing import with_pairs

log = logging.getLogger("minibert")

MAX_NAMES = 10  # of unseen labels in a warning
MAX_CLASSES = 10_000  # to learn; their confusion matrix has 800 MB
VOCABULARY_SIZE = 8000  # of a tokenizer that is trained on labelled texts, at most

InputKind = Literal["texts", "words"]
ClassWeight = Sequence[float] | Literal["balanced"] | None
PlacePredictions = list[tuple[str, list[tuple[str, float]]]]  # place -> names with probabilities


class Mistake(NamedTuple):
    """A wrong prediction: its confidence or error, the label, the prediction, the text."""

    severity: float
    expected: str
    predicted: str
    text: str


class TokenizedExamples(NamedTuple):
    """Token ids to train on, and a function from indices of sequences to a model's labels."""

    sequences: RaggedSequences
    labels_at: Callable[[np.ndarray], np.ndarray]


class Task(ABC):
    """The labels of a problem: parsed, encoded for a model, predicted, measured.

    A label has three forms: raw, as a file contains it; parsed, as users read it; and encoded, as a
    model learns it.

    Args:
        names: the C classes, in the order of the model's logits.
    """

    name: ClassVar[str]  # in `tasks.TASKS`
    model_class: ClassVar[type[PreTrained]] = BertForSequenceClassification
    problem_type: ClassVar[str | None]  # as in `BertConfig.problem_type`
    input_kind: ClassVar[InputKind] = "texts"
    new_model_size: ClassVar[str] = "nano"  # a preset, of a model that is not pre-trained
    mistakes_title: ClassVar[str] = "the most confident mistakes"
    thresholds: np.ndarray | None = None  # (C,) of probabilities, which `tuned` chooses

    def __init__(self, names: Sequence[str]):
        self.names = list(names)
        self.ids = {name: i for i, name in enumerate(self.names)}

    # Labels

    @classmethod
    @abstractmethod
    def from_labels(cls, labels: Sequence[Any]) -> Self:
        """Return the task whose classes occur in parsed labels.

        Raises:
            ValueError: the labels have too few different values to learn.
        """

    @classmethod
    def parse(cls, label: Any) -> Any:
        """Return the parsed form of a raw label, which is None for an empty field.

        Raises:
            ValueError: the raw label does not fit the task.
        """
        return label

    @abstractmethod
    def encode_label(self, label: Any) -> Any:
        """Return a parsed label as a model learns it: an id or an array.

        Raises:
            ValueError: a class that is not among the names.
        """

    @classmethod
    def strata(cls, labels: Sequence[Any]) -> list[Hashable]:
        """Return the class of each example, for stratified splits; all equal by default."""
        return [None] * len(labels)

    @classmethod
    def class_counts(cls, labels: Sequence[Any]) -> Counter[str]:
        """Count the classes where each text has one; empty by default."""
        return Counter()

    @classmethod
    def names_in(cls, label: Any) -> Sequence[str]:
        """Return the names of classes in a parsed label; none by default."""
        return []

    def count_unseen(self, labels: Sequence[Any]) -> Counter[str]:
        """Count the names in parsed labels that the task does not know."""
        names = (name for label in labels for name in self.names_in(label))
        return Counter(name for name in names if name not in self.ids)

    def widened(self, labels: Sequence[Any]) -> Self:
        """Return the task with the unseen names of parsed labels after its own."""
        return type(self)([*self.names, *sorted(self.count_unseen(labels))])

    def scoring_notes(self) -> list[str]:
        """Return what a user needs to know of how predictions are counted; by default, nothing."""
        return []

    def class_weights(
        self,
        labels: Sequence[Any],
        weight: ClassWeight,
        example_weights: Sequence[float] | None = None,
    ) -> np.ndarray | None:
        """Return the weight of each class in the loss (C,), or None.

        Args:
            labels: parsed labels, whose frequencies "balanced" evens out.
            weight: C weights, "balanced", or None.
            example_weights: the weight of each label's example; None: ones.

        Raises:
            ValueError: the task has no class weights, or their number differs from its classes.
        """
        if weight is not None:
            raise ValueError(
                f"class_weight: expected a task of classes or labels of texts, got {self.name}"
            )
        return None

    # Training

    def config(self) -> dict[str, Any]:
        """Return the fields of a model's configuration that the task decides."""
        return {"id2label": dict(enumerate(self.names)), "problem_type": self.problem_type}

    def train_tokenizer(
        self, texts: Sequence[Any], pairs: Sequence[str] | None = None
    ) -> PreTrainedTokenizer:
        """Train a tokenizer on labelled texts, for a model without pre-training.

        Capitals become lower case, but accents are kept, because they tell languages apart.
        """
        lines = [text if isinstance(text, str) else " ".join(text) for text in texts]
        return WordPieceTokenizer.train(
            [*lines, *(pairs or ())], VOCABULARY_SIZE, exact=False, strip_accents=False
        )

    def tokenize_examples(
        self, tokenizer: PreTrainedTokenizer, examples: Examples, max_length: int
    ) -> TokenizedExamples:
        """Return token ids and encoded labels to train on; longer texts are cut.

        Args:
            tokenizer: the model's tokenizer.
            examples: S labelled texts.
            max_length: the longest sequence, in tokens.
        """
        sequences = RaggedSequences(
            tokenizer.encode(text, pair, max_length=max_length)
            for text, pair in with_pairs(examples.texts, examples.pairs)
        )
        labels = np.array([self.encode_label(label) for label in examples.labels])
        return TokenizedExamples(sequences, lambda indices: labels[indices])

    def standardized(self, labels: Sequence[Any]) -> Self:
        """Return the task that learns labels in a unit of their own; by default, self."""
        return self

    def normalize_head(self, model: PreTrained) -> None:
        """Rescale a trained model's head from the labels' unit: undo `denormalize_head`."""
        return

    def denormalize_head(self, model: PreTrained) -> Self:
        """Rescale a trained model's head to the labels' unit; return the task in that unit."""
        return self

    def tuned(self, labels: Sequence[Any], outputs: Any) -> Self:
        """Return the task with the decision rule that fits held-out labels best; by default, self.

        Args:
            labels: S parsed labels.
            outputs: the outputs of `predict` for their texts.
        """
        return self

    def count_truncated(
        self,
        tokenizer: PreTrainedTokenizer,
        texts: Sequence[Any],
        pairs: Sequence[str] | None,
        max_length: int,
    ) -> int:
        """Count the texts of more than `max_length` tokens, which are cut in training."""
        return len(long_texts(tokenizer, texts, pairs, max_length=max_length))

    # Predictions

    def predict(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizer,
        texts: Sequence[Any],
        pairs: Sequence[str] | None = None,
        *,
        stride: int | None = None,
        truncate: bool = False,
        long: list[int] | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> Any:
        """Return the outputs for S texts: probabilities (S, C), or as `outputs_from_logits`.

        The logits of a text that is longer than the model are the mean over its windows; see
        `inference.windows`. They change nothing for the other texts.

        Args:
            model: a model of the task's class.
            tokenizer: the model's tokenizer.
            texts: S texts.
            pairs: S second texts, or None.
            stride: the number of tokens that two windows of a long text share; None: one quarter.
            truncate: cut long texts at the model's positions instead.
            long: receives the indices of the texts that are longer than the model.
            threads: how many batches are computed at a time; None: one for each core.
            progress: show a progress bar.

        Raises:
            FloatingPointError: a logit is not finite.
            ValueError: the stride is out of range.
        """
        logits = map_windows(
            lambda batches: np.concatenate(logits_of(model, batches)),
            tokenizer,
            texts,
            pairs,
            max_length=model.config.longest,
            stride=stride,
            truncate=truncate,
            long=long,
            padded=not runs_unpadded(model),
            threads=threads,
            progress=progress,
        )
        require_finite(logits)
        return self.outputs_from_logits(logits)

    def outputs_from_logits(self, logits: np.ndarray) -> np.ndarray:
        """Return the outputs for logits (S, C): by default, probabilities (S, C)."""
        return softmax_forward(logits.copy())[0]  # which consumes its argument

    @abstractmethod
    def decode_outputs(self, outputs: Any) -> list[Any]:
        """Return the predicted labels, in parsed form, for the outputs of `predict`."""

    def predict_ids(self, outputs: Any) -> np.ndarray:
        """Return the predicted labels in the encoded form, for the outputs of `predict`."""
        return np.array([self.encode_label(label) for label in self.decode_outputs(outputs)])

    def with_activation(self, activation: Activation | None) -> Self:
        """Return the task with a cross-encoder's activation; by default, self.

        The probabilities of classes have an activation already.
        """
        return self

    def at_threshold(self, threshold: float) -> Self:
        """Return the task with another threshold of its probabilities; by default, refuse.

        Raises:
            ValueError: the threshold is out of range, or a text has one label in this task.
        """
        raise ValueError(f"threshold: expected a model that gives a text several labels, got one "
                         f"for the task {self.name}")  # fmt: skip

    def most_probable(self, outputs: Any, top: int) -> list[list[tuple[str, float]]]:
        """Return the most probable classes of each text with their probabilities.

        Args:
            outputs: those of `predict`.
            top: the number of classes; all, if there are fewer.

        Raises:
            ValueError: the number is below 1, or the task has no probability of each class.
        """
        raise ValueError(f"top: expected a model that classifies texts, got one for the task "
                         f"{self.name}")  # fmt: skip

    def text_fields(self, label: Any, output: Any) -> list[str]:
        """Return the columns of a predicted label in a tab-separated line."""
        return [str(label)]

    def json_fields(self, label: Any, output: Any) -> dict[str, Any]:
        """Return the fields of a predicted label in a JSON line."""
        return {"label": label}

    def format_text(
        self,
        texts: Sequence[Any],
        outputs: Any,
        pairs: Sequence[str] | None = None,
        *,
        top: int | None = None,
    ) -> Iterator[str]:
        """Yield a tab-separated line for each text: the predicted label's columns, the text.

        Args:
            texts: S texts.
            outputs: those of `predict`.
            pairs: S second texts, each in a further column; or None.
            top: the columns are this number of classes, each with its probability; None: see
                `text_fields`.

        Raises:
            ValueError: as `most_probable`.
        """
        if top is None:
            labels = self.decode_outputs(outputs)
            columns = [self.text_fields(*both) for both in zip(labels, outputs, strict=True)]
        else:
            columns = [[part for name, share in several for part in (name, f"{share:.3f}")]
                       for several in self.most_probable(outputs, top)]  # fmt: skip
        for row, *sides in zip(columns, texts, *([pairs] if pairs else []), strict=True):
            yield "\t".join(map(quote, [*row, *map(one_line, sides)]))

    def format_json(
        self,
        texts: Sequence[Any],
        outputs: Any,
        pairs: Sequence[str] | None = None,
        *,
        top: int | None = None,
        lines: Sequence[str] | None = None,
    ) -> Iterator[str]:
        """Yield a line of JSON for each text: the text and the predicted label's fields.

        Args:
            texts, outputs, pairs: as in `format_text`.
            top: the number of classes in the list `top`, which replaces the probabilities of all;
                None: see `json_fields`.
            lines: the S texts, where `texts` are lists of their words; None: the words, joined.

        Raises:
            ValueError: as `most_probable`.
        """
        labels = self.decode_outputs(outputs)
        if top is None:
            fields = [self.json_fields(*both) for both in zip(labels, outputs, strict=True)]
        else:
            fields = [
                {"label": label,
                 "top": [{"label": name, "score": round(share, 5)} for name, share in several]}
                for label, several in zip(labels, self.most_probable(outputs, top), strict=True)
            ]  # fmt: skip
        for i, (text, more) in enumerate(zip(texts, fields, strict=True)):
            pair = {"pair": pairs[i]} if pairs else {}
            yield json_line({"text": text, **pair, **more})

    # Evaluation

    @abstractmethod
    def metrics(self, labels: Sequence[Any], outputs: Any) -> Metrics:
        """Compare the outputs of `predict` with parsed labels.

        A label that the task does not know counts as an error.
        """

    def mistakes(
        self, texts: Sequence[Any], labels: Sequence[Any], outputs: Any
    ) -> Iterator[Mistake]:
        """Yield the wrong predictions; by default, each with severity 1."""
        predictions = self.decode_outputs(outputs)
        for text, label, predicted in zip(texts, labels, predictions, strict=True):
            if predicted != label:
                yield Mistake(1.0, str(label), str(predicted), text)

    def baseline(self, examples: Examples, held_out: Examples) -> tuple[str, Metrics] | None:
        """Train a cheap model on the examples; return its name and held-out metrics.

        Returns:
            None if the task has no baseline.

        Raises:
            ImportError: the baseline needs scikit-learn (extra: parity).
        """
        return None

    # Inspection

    def describe_logits(self, tokens: Sequence[str], logits: np.ndarray) -> PlacePredictions:
        """Return the predictions for one text: (place, [(name, probability), ...]) pairs.

        Args:
            tokens: the T tokens, [CLS] and [SEP] included.
            logits (C,): the text's logits; (T, C) where each token has its own.
        """
        (label,) = self.decode_outputs(self.outputs_from_logits(logits[None]))
        return [("the text", [(str(label), 1.0)])]

    def select_score(self, logits: np.ndarray, label: str | None) -> tuple[str, np.ndarray]:
        """Return the name of a score and its gradient with respect to one text's logits.

        Args:
            logits (C,): the text's logits; (T, C) where each token has its own.
            label: the class of the score; None: the most probable one.

        Raises:
            ValueError: a class that is not among the names.
        """
        chosen = int(logits.argmax()) if label is None else self.require_name(label)
        gradient = np.zeros_like(logits)
        gradient[chosen] = 1
        return repr(self.names[chosen]), gradient

    def require_name(self, name: str) -> int:
        """Return the index of a class's name.

        Raises:
            ValueError: there is no such class.
        """
        if name not in self.ids:
            raise ValueError(f"label: expected one of {', '.join(self.names)}, got {name!r}")
        return self.ids[name]

    def _id(self, name: str) -> int:
        if name not in self.ids:
            known = ", ".join(self.names)
            raise ValueError(f"unknown label {name!r}, expected one of {known}")
        return self.ids[name]


def describe_long(count: int, total: int, longest: int, truncated: bool = False) -> str:
    """Return how many texts are longer than `longest` tokens, and what happens to them (str)."""
    done = "truncated" if truncated else "predicted over windows"
    return f"{count:,} of {total:,} texts are longer than {longest} tokens and are {done}"


def require_finite(logits: np.ndarray) -> None:
    """Raise FloatingPointError unless all logits are finite."""
    if not np.isfinite(logits).all():
        raise FloatingPointError("the model's logits are not finite: its training failed")


def report_unseen(names: Counter[str], where: object) -> None:
    """Warn of names that training did not see; they count as errors.

    Args:
        names: how often each name occurs, as `Task.count_unseen` returns them.
        where: the file or the argument that contains them.
    """
    if names:
        shown = [f"{name!r} ({count:,})" for name, count in names.most_common(MAX_NAMES)]
        rest = len(names) - len(shown)
        log.warning(
            "warning: %s: training did not see these labels, which count as errors: %s%s",
            sanitize(where), sanitize(", ".join(shown)), f" and {rest:,} more" if rest else "",
        )  # fmt: skip


def sorted_names(names: Iterable[str], what: str) -> list[str]:
    """Return the different names, sorted; raise ValueError if there are fewer than two."""
    found = sorted(set(names))
    if len(found) < 2:
        got = f"only {found[0]!r}" if found else "none"
        raise ValueError(f"expected two {what} or more, got {got}")
    require_few(len(found), what)
    return found


def require_few(count: int, what: str, name: str = "") -> None:
    """Raise ValueError if the classes to learn are too many, before any memory is used for them.

    >>> require_few(10_000, "classes")

    Args:
        count (int): C, the number of classes.
        what: their name in the message.
        name: the start of the message.
    """
    if count > MAX_CLASSES:
        table = 8 * count**2 / 1e9  # int64, in GB
        raise ValueError(
            f"{name}expected at most {MAX_CLASSES:,} {what}, got {count:,}, for which a confusion "
            f"matrix needs {table:,.1f} GB; does each text have a label of its own?"
        )


def one_line(text: str) -> str:
    """Return a text with each run of white space replaced by one blank."""
    return " ".join(text.split())


def json_line(fields: dict[str, Any]) -> str:
    """Return fields as one line of JSON, in which only control characters are escaped."""
    text = json.dumps(fields, ensure_ascii=False)
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
