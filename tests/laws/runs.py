"""Training runs in plain expressions of each setting, and a record of the random generators."""

import dataclasses
import re
from contextlib import contextmanager

import numpy as np
import pytest

from minibert.data.rng import PURPOSES


class PlainAdamW:
    """AdamW, one parameter after the other: the equations in the docstring of `AdamW`.

    Args:
        params: named arrays, updated in place; norms and biases do not decay.
        weight_decay, betas, eps: as in `AdamW`.
        rates: factors of the learning rate by name; 1 where none is given.
    """

    def __init__(self, params, *, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8, rates=None):
        self.params, self.decay, self.betas, self.eps = params, weight_decay, betas, eps
        self.rates, self.step = rates or {}, 0
        self.moments = {name: (np.zeros_like(p), np.zeros_like(p)) for name, p in params.items()}

    def update(self, grads, rate, scale=1.0):
        self.step += 1
        one, two = self.betas
        for name, p in self.params.items():
            g, (m, v) = scale * grads[name], self.moments[name]
            m[:], v[:] = one * m + (1 - one) * g, two * v + (1 - two) * g**2
            mean, square = m / (1 - one**self.step), v / (1 - two**self.step)
            decay = 0.0 if re.search(r"bias$|LayerNorm", name) else self.decay
            p -= self.rates.get(name, 1.0) * rate * (mean / (np.sqrt(square) + self.eps)
                                                     + decay * p)  # fmt: skip


def plain_run(model, objective, settings, *, until=None, rates=None):
    """Train a model in place; return loss, norm and rate of each step (list of dict).

    Args:
        model: computes the gradients.
        objective: its shards.
        settings: a `Settings`.
        until: the number of steps; None: all.
        rates: as in `PlainAdamW`.
    """
    optimizer = PlainAdamW(model.params, weight_decay=settings.weight_decay, rates=rates)
    lines = []
    for step in range(settings.steps if until is None else until):
        shards, grads, loss = objective.shards(step), model.params.zeros_like(), 0.0
        total = sum(objective.count(shard) for shard in shards)
        for i, (batch, labels) in enumerate(shards):
            rng = generator(settings.seed, "dropout", step, i)
            loss += model.loss_and_grads(batch, labels, rng, grads=grads, denominator=total)[0]
        norm = float(np.sqrt((grads.vector**2).sum()))
        lines.append({"loss": loss, "norm": norm, "rate": rate_at(step, settings)})
        optimizer.update(grads, rate_at(step, settings), min(1, settings.clip / norm))
    return lines


def generator(seed, purpose, *position):
    """Return a generator as the documentation of `data.rng` describes it."""
    return np.random.default_rng((seed, PURPOSES.index(purpose) + 1, *position))


def rate_at(step, settings):
    """Return the learning rate of a step: linear warm-up, linear decay to 0."""
    rising = round(settings.warmup * settings.steps)
    if step < rising:
        return settings.learning_rate * (step + 1) / rising
    return settings.learning_rate * (settings.steps - step) / (settings.steps - rising)


@contextmanager
def recorded_generators():
    """Yield the list of the seeds of all generators that are made: tuples, or an integer.

    The second number of a tuple is replaced by the name of the purpose.
    """
    original, seeds = np.random.default_rng, []

    def record(seed=None):
        named = isinstance(seed, tuple)
        seeds.append((seed[0], PURPOSES[seed[1] - 1], *seed[2:]) if named else seed)
        return original(seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "default_rng", record)
        yield seeds


def changed(settings, name, value):
    """Return settings with another value of one field."""
    other = dataclasses.replace(settings, **{name: value})
    assert getattr(other, name) != getattr(settings, name)
    return other
