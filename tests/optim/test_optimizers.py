"""A user's optimizer: trained with, stored in checkpoints, and resumed."""

from functools import partial

import numpy as np
import pytest

from minibert import BertForMaskedLM
from minibert.objectives import ModelObjective
from minibert.optim import AdamW, Optimizer, pieces, spans
from minibert.optim.base import load_arrays
from minibert.training import Engine, Settings, pretrain, split_batch
from minibert.training.checkpoint import checkpoints, restore_optimizer
from minibert.training.pretraining import made_optimizer
from tests.training.test_engine import CONFIG, batch


class Lion:
    """Chen et al. (2023): the sign of an interpolation between momentum and gradient."""

    def __init__(self, params, weight_decay=0.1):
        self.params, self.weight_decay, self.step = params, weight_decay, 0
        self.momentum = np.zeros_like(params.vector)
        self.pieces = pieces(spans(params, {}))

    def jobs(self, gradient, rate, scale):
        self.step += 1
        return [partial(self.update, gradient * scale, rate, piece) for piece in self.pieces]

    def update(self, gradient, rate, piece):
        g, m, p = (array[piece.where] for array in (gradient, self.momentum, self.params.vector))
        if piece.decays:
            p *= 1 - rate * self.weight_decay
        p -= rate * np.sign(0.9 * m + 0.1 * g)
        m += 0.01 * (g - m)

    def state(self):
        return {"momentum": self.momentum}

    def load(self, state):
        load_arrays(self, self.state(), state)


def shards_at(step):
    return split_batch(*batch(step), 2)


def lion_for(model, settings):
    return Lion(model.params, settings.weight_decay)


def trained(tokenizer, steps, optimizer, model=None, **options):
    model = model or BertForMaskedLM(CONFIG, seed=1)
    settings = Settings(steps=6, learning_rate=1e-3, save_every=2)

    def until(step):
        if step == steps:
            raise RuntimeError("stopped")
        return shards_at(step)

    arguments = model, ModelObjective(model, until), settings, tokenizer
    if steps < settings.steps:
        with pytest.raises(RuntimeError, match="stopped"):
            pretrain(*arguments, optimizer=optimizer, **options)
    else:
        pretrain(*arguments, optimizer=optimizer, **options)
    return model


def test_pretrain_takes_a_factory_and_lion_lowers_the_loss():
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, lion_for(model, Settings(steps=1)))
    losses = [engine.step([batch(0)], 3e-3).loss for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_a_run_with_lion_is_resumed_to_the_same_bits(tokenizer, tmp_path):
    whole = trained(tokenizer, 6, lion_for)
    trained(tokenizer, 4, lion_for, run=tmp_path)
    newest = checkpoints(tmp_path)[-1]
    model = BertForMaskedLM.from_pretrained(newest)
    lion = Lion(model.params, 0.01)
    restore_optimizer(newest, lion)
    assert lion.step == 4
    assert lion.momentum.any()
    trained(tokenizer, 6, lion, model)
    assert (model.params.vector == whole.params.vector).all()


def test_restore_optimizer_refuses_another_class(tokenizer, tmp_path):
    model = trained(tokenizer, 6, lion_for, run=tmp_path)
    adam = AdamW(model.params)
    with pytest.raises(ValueError, match=r"optimizer: the run in .* has Lion, got AdamW") as caught:
        restore_optimizer(checkpoints(tmp_path)[-1], adam)
    assert "\n" not in str(caught.value)
    assert adam.step == 0
    assert not adam.first.any()


def test_made_optimizer_names_a_class_that_is_not_an_optimizer():
    model, settings = BertForMaskedLM(CONFIG), Settings(steps=1)
    lion = Lion(model.params)
    assert isinstance(lion, Optimizer)
    assert made_optimizer(lion, model, settings) is lion
    assert isinstance(made_optimizer(lion_for, model, settings), Lion)
    for wrong in (3, lambda *_: "Lion"):
        with pytest.raises(TypeError, match="optimizer: expected step, jobs, state and load"):
            made_optimizer(wrong, model, settings)


def test_engine_names_an_optimizer_that_does_not_count_its_steps():
    class Forgetful(Lion):
        def jobs(self, gradient, rate, scale):
            return []

    model = BertForMaskedLM(CONFIG, seed=1)
    with pytest.raises(
        ValueError, match=r"Forgetful\.jobs: expected step 1 after an update, got 0"
    ):
        Engine(model, Forgetful(model.params)).step(shards_at(0), 1e-3)
