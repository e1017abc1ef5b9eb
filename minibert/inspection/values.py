"""Every number of a small model on one text: the forward pass, the loss and the backward pass.

The loss is the model's own: cross-entropy of a class, of several labels or of tokens, or the
squared error of a number. A model's own layers compute, in float64 and without dropout;
`minibert.by_hand` computes the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.inspection.activations import Activation, shape_text
from minibert.inspection.attention_entries import OF_DISTANCES, OF_PAIRS
from minibert.inspection.formulas import SHARED, TIED, formulas_of
from minibert.inspection.losses import Labels, Loss, loss_class
from minibert.inspection.walk import RecordedModel
from minibert.io.html import Markup, escaped
from minibert.io.text import printable, sanitize
from minibert.layers.embeddings import WORDS
from minibert.models import BertForMaskedLM, BertForSequenceClassification
from minibert.objectives.base import quiet
from minibert.parameters import Parameters
from minibert.tasks import Task
from minibert.tokenization import PreTrainedTokenizer

MAX_NUMBERS = 400  # of a tensor that is printed


@dataclass(frozen=True)
class Tensor:
    """An array of a pass.

    Attributes:
        part: as in `Activation`, or "loss".
        name: of an activation or a parameter; a gradient's begins with "d ".
        formula: how it is computed; empty: it is a parameter.
        value: without the batch axis, in float64.
        rows: the names along the last axis but one; empty: their numbers.
        columns: the names along the last axis; empty: none.
    """

    part: str
    name: str
    formula: str
    value: np.ndarray
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()


@dataclass(frozen=True)
class Values:
    """All numbers of a model on one text.

    Attributes:
        kind: the name of the model's class.
        text: the text, and its pair.
        tokens: T tokens.
        labels: what the loss compares the logits with: the class, the labels that the text has, the
            number, or a token for each label.
        forward: the tensors of the forward pass, the parameters before the first use; at the end
            the loss.
        backward: the gradients in the reverse order, those of the parameters after the activation
            that they were used for.
    """

    kind: str
    text: str
    tokens: list[str]
    labels: list[str]
    forward: list[Tensor]
    backward: list[Tensor]

    @property
    def loss(self) -> float:
        """The loss: in nats, or in the square of a number's unit."""
        return float(self.forward[-1].value)

    def _repr_html_(self) -> Markup:
        """Return the loss, and all numbers below it, for a notebook."""
        lines = "&#10;".join(map(escaped, printed_values(self)))
        return Markup(
            f"<div><details><summary><b>{escaped(self.kind)}</b>: {escaped(self.text)}, loss "
            f"{self.loss:.4f}</summary><pre>{lines}</pre></details></div>"
        )


def values_of(
    model: Any,
    tokenizer: PreTrainedTokenizer,
    text: str,
    pair: str | None = None,
    *,
    label: str | None = None,
    task: Task | None = None,
) -> Values:
    """Compute every number of the forward pass and the backward pass of a model on one text.

    The labels of a masked language model are the tokens at [MASK]. A text without one has the
    label of every token that is not special: its own id. Classes have no weights.

    Args:
        model: a masked language model, or a classifier of texts with one label or several or with a
            number, of any family or of layers of this package.
        tokenizer: the model's tokenizer.
        text: the text; tokens beyond the model's positions are cut.
        pair: a second text.
        label: the class; labels, separated by commas; the number; or the tokens at [MASK], one for
            each, separated by spaces. None: the most probable ones.
        task: of a classifier, with its thresholds, or its mean and standard deviation; None: that
            of `task_for`, whose thresholds are 0.5.

    Raises:
        FloatingPointError: a hidden state or a logit is not finite.
        ValueError: the model is another one or has a tensor of more than `MAX_NUMBERS` numbers, or
            the label is not the model's, or missing for a number.
    """
    _check_model(model)
    _check_sizes({name: array.shape for name, array in model.params.items()})
    model = model.astype(np.float64)
    model.class_weights = None
    encoding = tokenizer.encode(text, pair, max_length=model.config.longest)
    batch = model.check([encoding.input_ids], [encoding.token_type_ids], [encoding.attention_mask])
    recorded = RecordedModel(model)
    with quiet():
        logits = recorded.forward(batch)
    assert logits is not None
    recorded.require_finite(logits)
    criterion = loss_class(model)(model, tokenizer, task)
    labels = criterion.labels(encoding.input_ids, logits[0], label)
    loss, cache = model.criterion_forward(logits, labels.targets)
    dlogits = model.criterion_backward(cache)
    grads = recorded.backward(dlogits)
    activations = [each for record in recorded.records for each in record.activations()]
    activations.append(Activation("logits", "head", logits[0], dlogits[0]))
    _check_sizes({f"{each.part}: {each.name}": each.shape for each in activations})
    writer = _Writer(model, encoding.tokens, _table_names(model, tokenizer))
    return Values(
        kind=type(model).__name__,
        text=text if pair is None else f"{text} | {pair}",
        tokens=encoding.tokens,
        labels=labels.names,
        forward=[*writer.forward(activations), *writer.loss(logits[0], criterion, labels, loss)],
        backward=writer.backward(activations, grads),
    )


def printed_values(values: Values) -> Iterator[str]:
    """Yield the lines that show all numbers, to four decimals."""
    yield printable(f"{values.kind}: {values.text}")
    yield printable(f"tokens: {' '.join(values.tokens)}")
    yield printable(f"label{'s' * (len(values.labels) > 1)}: {', '.join(values.labels)}")
    for title, tensors in (("forward", values.forward), ("backward", values.backward)):
        part = None
        for tensor in tensors:
            if tensor.part != part:
                part = tensor.part
                yield ""
                yield f"{title}: {part}"
            yield from _lines(tensor)


# What is computed.


def _check_model(model: Any) -> None:
    """Raise ValueError unless the formulas of the model's loss and of its layers are known."""
    is_known = isinstance(model, BertForMaskedLM | BertForSequenceClassification)
    if not is_known or model.label_names != ("labels",):
        raise ValueError("values: expected a masked language model or a classifier of texts, got "
                         f"{type(model).__name__}")  # fmt: skip
    formulas_of(model)


def _check_sizes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError if a tensor is too large to be read."""
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        if count > MAX_NUMBERS:
            raise ValueError(
                f"values: expected at most {MAX_NUMBERS} numbers in a tensor, got {count:,} in "
                f"{name} ({shape_text(shape)}); a model of a few units and a short text can be read"
            )


def _table_names(model: Any, tokenizer: PreTrainedTokenizer) -> list[str]:
    """Return the names of the table's rows; a model may have more than the tokenizer."""
    known = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return known + [str(i) for i in range(len(known), model.config.vocab_size)]


class _Writer:
    """Turns activations and gradients into tensors with names and formulas.

    Args:
        model: whose parameters are shown.
        tokens: of the text.
        vocabulary: the names of the table's rows.
    """

    def __init__(self, model: Any, tokens: list[str], vocabulary: list[str]):
        self.params, self.formulas = model.params, formulas_of(model)
        self.tokens, self.vocabulary = tokens, vocabulary
        is_tied = model.predicts_tokens
        self.classes = vocabulary if is_tied else list(model.config.id2label.values())
        uses: dict[str, list[tuple[tuple[str, str], str]]] = {}
        for place, (entry, scope) in self.formulas.items():
            for name, formula in entry.parameters:
                if scope + name in self.params:
                    uses.setdefault(scope + name, []).append((place, formula))
        # The parameters by the activation that uses them first. Where blocks share one, its
        # gradient is complete after the lowest of them, which comes last in the backward.
        self.parameters: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for name, own in uses.items():
            place, formula = own[0]
            formula += SHARED * (len(own) > 1) + TIED * (name.endswith(WORDS) and is_tied)
            self.parameters.setdefault(place, []).append((name, formula))

    def forward(self, activations: Sequence[Activation]) -> list[Tensor]:
        """Return the tensors of the forward pass, up to the logits."""
        tensors: list[Tensor] = []
        for each in activations:
            place = each.part, each.name
            for name, _ in self.parameters.get(place, []):
                tensors.append(self.parameter(each.part, name, "", self.params))
            formula = self.formulas[place][0].forward
            tensors.append(self.activation(each, each.name, formula, each.value))
        return tensors

    def loss(
        self, logits: np.ndarray, criterion: Loss, labels: Labels, loss: float
    ) -> list[Tensor]:
        """Return what is between the logits and the loss, and the loss."""
        tensors = [
            Tensor("loss", *step, self.tokens if step.value.ndim > 1 else (),
                   self.classes if step.value.ndim else ())
            for step in criterion.steps(logits, labels)
        ]  # fmt: skip
        return [*tensors, Tensor("loss", "loss", criterion.formula(labels), np.asarray(loss))]

    def backward(self, activations: Sequence[Activation], grads: Parameters) -> list[Tensor]:
        """Return the gradients in the order in which they are computed."""
        tensors: list[Tensor] = []
        for each in activations[::-1]:
            if each.gradient is None:  # of positions that do not learn
                continue
            place = each.part, each.name
            formula = self.formulas[place][0].backward
            tensors.append(self.activation(each, f"d {each.name}", formula, each.gradient))
            for name, formula in self.parameters.get(place, []):
                tensors.append(self.parameter(each.part, name, formula, grads))
        return tensors

    def activation(
        self, activation: Activation, name: str, formula: str, value: np.ndarray
    ) -> Tensor:
        """Return an activation or its gradient."""
        columns: Sequence[str] = ()
        if activation.name in OF_PAIRS:
            columns = self.tokens
        elif activation.name == "logits":
            columns = self.classes
        is_by_token = value.ndim > 1 and activation.name not in OF_DISTANCES
        rows = self.tokens if is_by_token else ()
        return Tensor(activation.part, name, formula, value, rows, columns)

    def parameter(self, part: str, name: str, formula: str, source: Parameters) -> Tensor:
        """Return a parameter, or with a formula its gradient."""
        rows = self.vocabulary if name.endswith(WORDS) else ()
        return Tensor(part, f"d {name}" if formula else name, formula, source[name].copy(), rows)


# What is printed.

WIDTH = 10  # numbers in a line
NAME = 12  # characters of the name of a row or column


def _lines(tensor: Tensor) -> Iterator[str]:
    """Yield the lines of a tensor."""
    formula = f" = {tensor.formula}" if tensor.formula else ""
    if tensor.value.ndim == 0:
        yield f"  {tensor.name}{formula}: {_number(tensor.value).strip()}"
        return
    yield f"  {tensor.name} ({shape_text(tensor.value.shape)}){formula}"
    matrices: Any = tensor.value if tensor.value.ndim == 3 else [tensor.value]
    for head, matrix in enumerate(matrices, start=1):
        if tensor.value.ndim == 3:
            yield f"    head {head}"
        yield from _matrix(np.atleast_2d(matrix), tensor)


def _matrix(matrix: np.ndarray, tensor: Tensor) -> Iterator[str]:
    """Yield the lines of a matrix, at most `WIDTH` columns side by side."""
    rows = tensor.rows
    if not rows:
        rows = [""] if tensor.value.ndim == 1 else [str(i) for i in range(len(matrix))]
    for start in range(0, matrix.shape[1], WIDTH):
        part = matrix[:, start : start + WIDTH]
        if tensor.columns:
            names = tensor.columns[start : start + WIDTH]
            yield " " * (NAME + 4) + "".join(f" {sanitize(name)[:9]:>9}" for name in names)
        for name, numbers in zip(rows, part, strict=True):
            yield f"    {sanitize(name)[:NAME]:<{NAME}}" + "".join(map(_number, numbers))


def _number(value: Any) -> str:
    """Return a number with four decimals (str); no zero has a sign."""
    shown = f" {value:9.4f}"  # separated from the one before, also if it is wider
    return shown.replace("-0.0000", " 0.0000") if shown.endswith("-0.0000") else shown
