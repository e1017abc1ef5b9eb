"""The trial before training names the class and the method of an objective that is wrong."""

import numpy as np
import pytest

from minibert import BertForMaskedLM
from minibert.objectives import ModelObjective
from minibert.objectives.trial import checked_evaluation
from minibert.training import AdamW, Engine, Settings, split_batch, train
from tests.training.test_engine import CONFIG, batch


class Right(ModelObjective):
    """A user's objective: what the model's own loss is."""

    def shards(self, step):
        return split_batch(*batch(step), 2)


class NoShards(Right):
    def shards(self, step):
        return None


class ShardsAtOnce(Right):
    def shards(self, step):
        return iter(super().shards(step))


class CountsInWords(Right):
    def count(self, shard):
        return "many"


class NegativeCounts(Right):
    def count(self, shard):
        return -1


class CountsPerToken(Right):
    def count(self, shard):
        return np.ones(self.tokens(shard))


class TokensAsArray(Right):
    def tokens(self, shard):
        return np.sum(shard[0]["attention_mask"], axis=1)


class LossPerToken(Right):
    def loss_and_grads(self, shard, extra, rng, grads, denominator):
        super().loss_and_grads(shard, extra, rng, grads, denominator)
        return np.ones(3)


class LossAndGrads(Right):
    def loss_and_grads(self, shard, extra, rng, grads, denominator):
        return self.model.loss_and_grads(*shard, rng, grads=grads, denominator=denominator)


class MeanOverTheShard(Right):
    def loss_and_grads(self, shard, extra, rng, grads, denominator):
        return super().loss_and_grads(shard, extra, rng, grads, self.count(shard))


class GradientOfTheMean(Right):
    def loss_and_grads(self, shard, extra, rng, grads, denominator):
        loss = super().loss_and_grads(shard, extra, rng, grads, self.count(shard))
        return loss * self.count(shard) / denominator


class OverwritesTheGradient(Right):
    def loss_and_grads(self, shard, extra, rng, grads, denominator):
        grads.vector[:] = 0
        return super().loss_and_grads(shard, extra, rng, grads, denominator)


class BetweenAsDictionary(Right):
    two_phase = True

    def first(self, shard, rng):
        return 1

    def between(self, parts):
        return dict(enumerate(parts))


def trained(kind, tokenizer):
    model = BertForMaskedLM(CONFIG, seed=1)
    settings = Settings(steps=2, learning_rate=1e-2)
    train(Engine(model, AdamW(model.params), seed=3), kind(model), settings, tokenizer)
    return model.params.vector


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (NoShards, TypeError, r"NoShards\.shards: expected a sequence .*, got NoneType"),
        (ShardsAtOnce, TypeError, r"ShardsAtOnce\.shards: expected a sequence .*iterator"),
        (CountsInWords, TypeError, r"CountsInWords\.count: expected a number, got str"),
        (NegativeCounts, ValueError, r"NegativeCounts\.count: expected 0 or more, got -1"),
        (CountsPerToken, ValueError, r"CountsPerToken\.count: expected one shape for all"),
        (TokensAsArray, TypeError, r"TokensAsArray\.tokens: expected an integer, got an array"),
        (LossPerToken, TypeError, r"LossPerToken\.loss_and_grads: expected the loss as a float"),
        (LossAndGrads, TypeError, r"LossAndGrads\.loss_and_grads: expected the loss as a float"),
        (MeanOverTheShard, ValueError, r"MeanOverTheShard\.loss_and_grads: expected half the loss"),
        (GradientOfTheMean, ValueError, r"GradientOfTheMean\.loss_and_grads: expected a gradient"),
        (OverwritesTheGradient, ValueError, r"OverwritesTheGradient\..*added to `grads`"),
        (BetweenAsDictionary, TypeError, r"BetweenAsDictionary\.between: expected a sequence of 2"),
    ],
)
def test_train_refuses_a_wrong_objective_in_one_line(kind, error, message, tokenizer):
    with pytest.raises(error, match=message) as caught:
        trained(kind, tokenizer)
    assert "\n" not in str(caught.value)


def test_the_trial_changes_no_bit_of_the_training(tokenizer):
    def without_trial(model):
        return ModelObjective(model, lambda step: split_batch(*batch(step), 2))

    assert (trained(Right, tokenizer) == trained(without_trial, tokenizer)).all()


@pytest.mark.parametrize(
    "found", [1.0, ("fine",), ("fine", 1.0), ("fine", {"loss": "low"}), ("fine", {1: 1.0})]
)
def test_checked_evaluation_names_the_class(found):
    objective = ModelObjective(BertForMaskedLM(CONFIG), evaluate=lambda step: found)
    with pytest.raises(TypeError, match=r"ModelObjective\.evaluate: expected a line of text"):
        checked_evaluation(objective, 1)
    objective = ModelObjective(BertForMaskedLM(CONFIG), evaluate=lambda step: None)
    assert checked_evaluation(objective, 1) is None
