"""Proofs of `minibert.models`: every parameter of every task, under every option."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from minibert.gradcheck import BlindSpotWarning, away_from_initial, check_model, check_pair
from minibert.gradcheck.checks import MODEL_TOLERANCE, added
from minibert.models import BertModel
from minibert.models.config import ACTIVATIONS
from minibert.parameters import Parameters
from minibert.testing.cases.examples import CLASS_LABELS, C, Task, tasks
from minibert.testing.cases.records import ZEROS, Case, replayed


@dataclass(frozen=True)
class Option:
    """One way to run a model.

    Attributes:
        name: what is special about it.
        config: fields of the configuration that differ.
        batch: arrays of the batch that differ, as functions of what is there.
        place: of each sequence, the only token; None: all of them.
        frozen: so many blocks don't learn; None: all do.
        recomputed: whether blocks are computed again on the way back.
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


# Without an option there is padding, a sequence that sees nothing, and ids that repeat.
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
    Option("a part of a batch", part=True),
]
WEIGHTS = Option("class weights", weights=True)


def model_cases():
    """Yield a case for each task and option."""
    body = Task("BertModel", BertModel, {})
    for task in [body, *tasks()]:
        for option in OPTIONS:
            if task is not body or not option.part:  # its batch has no labels to count
                yield Case(task.name, option.name, partial(_check, task, option))
        if task.labels is CLASS_LABELS:
            yield Case(task.name, WEIGHTS.name, partial(_check, task, WEIGHTS))


def _check(task, option, entries=4):
    model = _model(task.kind, replace(task.config, **option.config), option)
    batch = {name: option.batch.get(name, _as_it_is)(array) for name, array in task.batch.items()}
    labels = task.labels
    if option.place is not None:
        batch, labels = _only(option.place, batch, labels, task.batch["input_ids"].shape)
    still = [
        name
        for name, depth in model.depths().items()
        if option.frozen is not None and depth <= option.frozen
    ]
    how = {"entries": entries, "zeros": _zeros(task, option), "still": still}
    with warnings.catch_warnings():
        if option.place is not None or "attention_mask" in option.batch:
            # No padding, no token that comes twice: what they can't see, the others do.
            warnings.simplefilter("ignore", BlindSpotWarning)
        if task.kind is BertModel:
            return _check_body(model, batch, option.dropout, **how)
        denominator = 2 * np.asarray(model.count(labels)) + 1 if option.part else None
        seed = 5 if option.dropout else None
        return check_model(model, batch, labels, dropout_seed=seed, denominator=denominator, **how)


def _as_it_is(array):
    return array


def _model(kind, config, option):
    """The model away from its initial values, as the option has it."""
    params = away_from_initial(Parameters(kind(config).shapes()))
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


def _only(place, batch, labels, shape):
    """The batch and its labels with one token of each sequence, the one at `place`."""

    def cut(array):
        return array[..., place : place + 1] if np.shape(array) == shape else array

    batch = {name: cut(array) for name, array in batch.items()}
    if not isinstance(labels, Mapping):
        return batch, cut(labels)
    if "start_positions" in labels:  # there is one place to start and to end at
        return batch, {name: np.minimum(array, 0) for name, array in labels.items()}
    return batch, {name: cut(array) for name, array in labels.items()}


def _zeros(task, option):
    """The endings of the gradients that are provably zero."""
    zeros = ZEROS + task.zeros
    if option.place is not None:  # one key has all the attention, whatever it is asked
        zeros += ("self.query.weight", "self.query.bias", "self.key.weight")
        if task.name == "BertForQuestionAnswering":  # and one place all the probability
            zeros += ("",)
    return zeros


def _check_body(model, batch, dropout, **how):
    """Check the model without a head: both outputs, each with a cotangent of its own."""
    batch = model.check(**batch)

    def forward(params):
        model.params = params
        return model.forward(batch, rng=replayed() if dropout else None)

    def backward(douts, cache, params):
        return {"params": added(params, lambda grads: model.backward(douts, cache, grads))[1]}

    return check_pair(forward, backward, {"params": model.params}, tolerance=MODEL_TOLERANCE, **how)
