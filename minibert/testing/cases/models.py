"""Cases of `minibert.models`: every parameter of every model, under every option."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from minibert.gradcheck import (
    BlindSpotWarning,
    GradientResult,
    away_from_initial,
    check_model,
    check_pair,
)
from minibert.gradcheck.checks import MODEL_TOLERANCE, accumulated_gradients
from minibert.models.config import ACTIVATIONS, BertConfig
from minibert.models.table import model_class
from minibert.testing.cases.examples import (
    CLASS_LABELS,
    CONFIG,
    MODERN_CONFIG,
    C,
    ModelCase,
    labelled_models,
)
from minibert.testing.cases.records import ZEROS, Case, dropout_rng


@dataclass(frozen=True)
class Option:
    """One way to run a model.

    Attributes:
        name: of the option; empty: the default.
        config: fields of the configuration that differ.
        batch: arrays of the batch that differ, as functions of the default ones.
        place: the position of the only token of each sequence; None: all tokens.
        frozen: the number of blocks that are frozen with the embeddings; None: nothing is.
        recomputed: whether the backward computes the blocks again.
        dropout: whether there is dropout.
        part: whether the batch is a part of a larger one.
        weights: whether classes have weights.
    """

    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    batch: Mapping[str, Any] = field(default_factory=dict)
    place: int | None = None
    frozen: int | None = None
    recomputed: bool = False
    dropout: bool = False
    part: bool = False
    weights: bool = False


# By default there is padding, a sequence of padding alone, and ids that repeat.
OPTIONS = [
    Option(),
    Option("dropout", dropout=True),
    Option("no padding", batch={"attention_mask": np.ones_like}),
    Option("one token", place=1),
    Option("one segment", {"type_vocab_size": 1}, {"token_type_ids": np.zeros_like}),
    Option("one head", {"num_attention_heads": 1}),
    Option("sinusoidal", {"position_embedding_type": "sinusoidal"}),
    *(Option(name, {"hidden_act": name}) for name in ACTIVATIONS[1:]),
    Option("recomputed, dropout", recomputed=True, dropout=True),
    Option("frozen embeddings", frozen=0),
    Option("one frozen block, dropout", frozen=1, dropout=True),
    Option("frozen and recomputed, dropout", frozen=1, recomputed=True, dropout=True),
    Option("a part of a batch", part=True),
]
WEIGHTS = Option("class weights", weights=True)
# The bodies alone; and the options that have no meaning for a model whose name begins so.
BODIES = {"BertModel": CONFIG, "ModernBertModel": MODERN_CONFIG}
INAPPLICABLE = {"ModernBert": ("one segment", "sinusoidal", "relu")}


def model_cases() -> Iterator[Case]:
    """Yield a case for each model and option."""
    bodies = [ModelCase(name, model_class(name), {}, config) for name, config in BODIES.items()]
    for each in [*bodies, *labelled_models()]:
        front = each.name.partition("For")[0].removesuffix("Model")
        for option in OPTIONS:
            if option.part and each.name in BODIES:  # its batch has no labels to count
                continue
            if option.name not in INAPPLICABLE.get(front, ()):
                yield Case(each.name, option.name, partial(_check, each, option))
        if each.labels is CLASS_LABELS:
            yield Case(each.name, WEIGHTS.name, partial(_check, each, WEIGHTS))


def _check(case: ModelCase, option: Option, entries: int = 4) -> list[GradientResult]:
    """Check a model's gradients under an option."""
    model = _model(case.kind, replace(case.config, **option.config), option)
    batch = {name: option.batch.get(name, np.asarray)(array) for name, array in case.batch.items()}
    labels: Any = case.labels
    if option.place is not None:
        batch, labels = _only(option.place, batch, labels, case.batch["input_ids"].shape)
    still = [
        name
        for name, depth in model.depths().items()
        if option.frozen is not None and depth <= option.frozen
    ]
    how: dict[str, Any] = {"entries": entries, "zeros": _zeros(case, option), "still": still}
    with warnings.catch_warnings():
        if option.place is not None or "attention_mask" in option.batch:
            # Nothing is padded or no id repeats; the other options see what these cannot.
            warnings.simplefilter("ignore", BlindSpotWarning)
        if case.name in BODIES:
            return _check_body(model, batch, option.dropout, **how)
        denominator = 2 * np.asarray(model.count(labels)) + 1 if option.part else None
        seed = 5 if option.dropout else None
        return check_model(model, batch, labels, dropout_seed=seed, denominator=denominator, **how)


def _model(kind: Any, config: BertConfig, option: Option) -> Any:
    """Return the model with an option, away from its initial values."""
    params = away_from_initial(kind(config).params)
    if config.hidden_act == "relu":
        # Half of the units on, half of them off, and none within 0.4 of the kink, where no
        # difference is a slope.
        for name, array in params.items():
            if name.endswith(("intermediate.dense.bias", "transform.dense.bias")):
                array[:] = np.where(np.arange(array.size) % 2, 1.5, -1.5)
            elif name.endswith(("intermediate.dense.weight", "transform.dense.weight")):
                array /= 3
    model = kind(config, params=params)
    if option.recomputed:
        model.gradient_checkpointing_enable()
    if option.weights:
        model.class_weights = 0.5 + np.arange(C)
    model.freeze(option.frozen)
    return model


def _only(
    place: int, batch: Mapping[str, np.ndarray], labels: Any, shape: tuple[int, ...]
) -> tuple[dict[str, np.ndarray], Any]:
    """Return the batch and its labels with one token of each sequence, that at `place`."""

    def cut(array: Any) -> Any:
        return array[..., place : place + 1] if np.shape(array) == shape else array

    cut_batch = {name: cut(array) for name, array in batch.items()}
    if not isinstance(labels, Mapping):
        return cut_batch, cut(labels)
    if "start_positions" in labels:  # of one token, the answer begins and ends there
        return cut_batch, {name: np.minimum(array, 0) for name, array in labels.items()}
    return cut_batch, {name: cut(array) for name, array in labels.items()}


def _zeros(case: ModelCase, option: Option) -> tuple[str, ...]:
    """Return the endings of the names of gradients that are provably zero."""
    zeros = ZEROS + case.zeros
    if option.place is not None:  # one key has all the attention, whatever the query is
        zeros += ("self.query.weight", "self.query.bias", "self.key.weight")
        if case.name == "BertForQuestionAnswering":  # and one token has all the probability
            zeros += ("",)
    return zeros


def _check_body(
    model: Any, batch: Mapping[str, np.ndarray], dropout: bool, **how: Any
) -> list[GradientResult]:
    """Check the model without a head: all outputs, each with a cotangent of its own."""
    checked = model.check(**batch)

    def forward(params):
        model.params = params
        return model.forward(checked, rng=dropout_rng() if dropout else None)

    def backward(douts, cache, params):
        def run(grads):
            _, own = forward(params)  # again each time, because a backward may consume its cache
            return model.backward(douts, own, _learning(model, grads))

        return {"params": accumulated_gradients(params, run)[1]}

    return check_pair(forward, backward, {"params": model.params}, tolerance=MODEL_TOLERANCE, **how)


def _learning(model: Any, grads: Any) -> Any:
    """Return the gradients without those of frozen parameters, as `loss_and_grads` does."""
    return grads.without(model.frozen_names) if model.frozen_names else grads
