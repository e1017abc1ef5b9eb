"""Every number of a small model on one text: the forward pass, the loss and the backward pass.

The loss is the model's own: cross-entropy of a class, or of tokens. A model's own layers compute,
in float64 and without dropout; `minibert.by_hand` computes the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minibert.functional import IGNORED
from minibert.inspection.activations import Activation, shape_text
from minibert.inspection.attention_entries import OF_DISTANCES, OF_PAIRS
from minibert.inspection.formulas import SHARED, TIED, formulas_of
from minibert.inspection.predictions import mask_positions
from minibert.inspection.walk import RecordedModel
from minibert.io.html import Markup, escaped
from minibert.io.text import printable, sanitize
from minibert.layers.embeddings import WORDS
from minibert.models import BertForMaskedLM, BertForSequenceClassification
from minibert.objectives.base import quiet
from minibert.parameters import Parameters
from minibert.tokenization import PreTrainedTokenizer

MAX_NUMBERS = 400  # of a tensor that is printed
ONE_CLASS = "single_label_classification"


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
        labels: what the loss compares the logits with: the class, or a token for each label.
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
        """The loss in nats."""
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
) -> Values:
    """Compute every number of the forward pass and the backward pass of a model on one text.

    The labels of a masked language model are the tokens at [MASK]. A text without one has the
    label of every token that is not special: its own id.

    Args:
        model: a masked language model, or a classifier of texts with a single label, of any family
            or of layers of this package.
        tokenizer: the model's tokenizer.
        text: the text; tokens beyond the model's positions are cut.
        pair: a second text.
        label: the class, or the tokens at [MASK], one for each, separated by spaces; None: the most
            probable ones.

    Raises:
        FloatingPointError: a hidden state or a logit is not finite.
        ValueError: the model is another one or has a tensor of more than `MAX_NUMBERS` numbers, or
            the label is not a class or tokens.
    """
    _check_model(model)
    _check_sizes({name: array.shape for name, array in model.params.items()})
    model = model.astype(np.float64)
    encoding = tokenizer.encode(text, pair, max_length=model.config.longest)
    batch = model.check([encoding.input_ids], [encoding.token_type_ids], [encoding.attention_mask])
    recorded = RecordedModel(model)
    with quiet():
        logits = recorded.forward(batch)
    assert logits is not None
    recorded.require_finite(logits)
    chosen = _choose_labels(model, tokenizer, encoding.input_ids, logits[0], label)
    loss, cache = model.criterion_forward(logits, chosen.targets)
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
        labels=chosen.names,
        forward=writer.forward(activations, chosen, loss),
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


class _Labels(NamedTuple):
    """The targets of the loss, (1, T) or (1,), what they are called, and the tokens that count."""

    targets: np.ndarray
    names: list[str]
    places: list[int]


def _check_model(model: Any) -> None:
    """Raise ValueError unless the formulas of the model's loss and of its layers are known."""
    kind, problem = type(model).__name__, getattr(model, "problem", ONE_CLASS)
    is_known = isinstance(model, BertForMaskedLM | BertForSequenceClassification)
    if not is_known or model.label_names != ("labels",) or problem != ONE_CLASS:
        got = kind if problem == ONE_CLASS else f"{kind} for {problem.replace('_', ' ')}"
        raise ValueError(
            f"values: expected a masked language model or a classifier of texts, got {got}"
        )
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


def _choose_labels(
    model: Any,
    tokenizer: PreTrainedTokenizer,
    ids: list[int],
    logits: np.ndarray,
    label: str | None,
) -> _Labels:
    """Return the labels of a text: a class, or tokens."""
    if not model.predicts_tokens:
        known = model.config.label2id
        if label is not None and label not in known:
            raise ValueError(f"label: expected one of {', '.join(known)}, got {label!r}")
        number = int(logits.argmax()) if label is None else known[label]
        return _Labels(np.array([number]), [model.config.id2label[number]], [0])
    tokens = tokenizer.convert_ids_to_tokens(ids)
    places = mask_positions(tokenizer, tokens)
    if places:
        own = logits[places, : len(tokenizer)].argmax(axis=-1).tolist()
        chosen = own if label is None else _ids_of(tokenizer, label, len(places))
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
    names = [f"{token!r} at token {t}" for t, token in
             zip(places, tokenizer.convert_ids_to_tokens(chosen), strict=True)]  # fmt: skip
    return _Labels(targets, names, places)


def _ids_of(tokenizer: PreTrainedTokenizer, label: str, count: int) -> list[int]:
    """Return the ids of tokens that are separated by spaces."""
    words = label.split()
    if len(words) != count:
        raise ValueError(
            f"label: expected {count} tokens, one for each {tokenizer.mask_token}, got {len(words)}"
        )
    for word in words:
        if word not in tokenizer.vocab:
            raise ValueError(f"label: expected a token of the vocabulary, got {word!r}")
    return [tokenizer.vocab[word] for word in words]


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

    def forward(
        self, activations: Sequence[Activation], chosen: _Labels, loss: float
    ) -> list[Tensor]:
        """Return the tensors of the forward pass, and the loss."""
        tensors: list[Tensor] = []
        for each in activations:
            place = each.part, each.name
            for name, _ in self.parameters.get(place, []):
                tensors.append(self.parameter(each.part, name, "", self.params))
            formula = self.formulas[place][0].forward
            tensors.append(self.activation(each, each.name, formula, each.value))
        logits = activations[-1].value
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        shares = exponentials / exponentials.sum(axis=-1, keepdims=True)
        rows = self.tokens if logits.ndim > 1 else ()
        formula = "exp(logit) / Σ exp(logits) of each row"
        tensors.append(Tensor("loss", "softmax", formula, shares, rows, self.classes))
        count = f"{len(chosen.places)} labels" if len(chosen.places) > 1 else "label"
        formula = f"- log softmax of the {count}{', their mean' * (len(chosen.places) > 1)}"
        return [*tensors, Tensor("loss", "loss", formula, np.asarray(loss))]

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
