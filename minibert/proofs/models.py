"""Proofs of `minibert.models`: every parameter of every task, under every switch."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minibert.config import ACTIVATIONS
from minibert.gradcheck import check_model, check_pair
from minibert.models import BertModel
from minibert.parameters import Parameters
from minibert.proofs.cases import MODEL_TOLERANCE, ZEROS, Case, added, replayed
from minibert.proofs.examples import BATCH, CONFIG, away_from_initial, tasks

SWITCHES: list[tuple[str, Any]] = [
    ("position_embedding_type", "sinusoidal"),
    *(("hidden_act", name) for name in ACTIVATIONS[1:]),
]


def model_cases():
    """Yield a case for each task, with and without dropout, and for each switch of two of them."""
    sinusoidal = replace(CONFIG, position_embedding_type="sinusoidal")
    yield Case("BertModel", partial(_check_body, CONFIG))
    yield Case("BertModel, dropout", partial(_check_body, CONFIG, replayed))
    yield Case("BertModel, sinusoidal", partial(_check_body, sinusoidal, replayed))
    for task in tasks():
        yield Case(task.name, partial(_check_task, task))
        yield Case(f"{task.name}, dropout", partial(_check_task, task, 5))
        yield Case(f"{task.name}, part of a batch", partial(_check_part, task))
    for task in tasks()[:2]:
        for name, value in SWITCHES:
            switched = replace(task, config=replace(task.config, **{name: value}))
            yield Case(f"{task.name}, {value}", partial(_check_task, switched))
            yield Case(f"{task.name}, {value}, dropout", partial(_check_task, switched, 5))


def _away(kind, config):
    params = away_from_initial(Parameters(kind(config).shapes()))
    if config.hidden_act == "relu":
        # Half of the units on, half of them off, and none within 0.4 of the kink, where no
        # difference is a slope.
        for name, array in params.items():
            if name.endswith(("intermediate.dense.bias", "transform.dense.bias")):
                array[:] = np.where(np.arange(array.size) % 2, 1.5, -1.5)
            elif name.endswith(("intermediate.dense.weight", "transform.dense.weight")):
                array /= 3
    return kind(config, params=params)


def _check_task(task, dropout_seed=None):
    return check_model(
        _away(task.kind, task.config),
        task.batch,
        task.labels,
        dropout_seed=dropout_seed,
        zeros=ZEROS + task.zeros,
        tolerance=MODEL_TOLERANCE,
    )


def _check_params(model, forward, add, zeros=()):
    """Check a model through `forward(model) -> out, cache` and `add(model, dout, cache, grads)`."""

    def twin(params):
        return type(model)(model.config, params=params)

    return check_pair(
        lambda params: forward(twin(params)),
        lambda d, cache, params: {
            "params": added(params, lambda grads: add(twin(params), d, cache, grads))[1]
        },
        {"params": model.params},
        entries=4,
        zeros=ZEROS + tuple(zeros),
        tolerance=MODEL_TOLERANCE,
    )


def _check_part(task):
    """The loss of a part, divided by the whole batch's count, as `loss_and_grads` computes it."""
    model = _away(task.kind, task.config)
    whole = 2 * model.count(task.labels) + 1

    def add(model, dloss, cache, grads):
        part = model.params.zeros_like()
        part.vector[:] = 1  # what was there before must stay
        model.loss_and_grads(task.batch, task.labels, grads=part, denominator=whole)
        grads.vector[:] += dloss * (part.vector - 1)

    def forward(model):
        return model.loss_forward(task.batch, task.labels, denominator=whole)

    return _check_params(model, forward, add, task.zeros)


def _check_body(config, rng=lambda: None):
    """Both outputs of the model without a head, each with a cotangent of its own."""
    model = _away(BertModel, config)
    batch = model.check(**BATCH)
    return _check_params(
        model,
        lambda model: model.forward(batch, rng=rng()),
        lambda model, douts, cache, grads: model.backward(douts, cache, grads),
    )
