"""The engine: gradients of shards add up, with the same bits for any number of threads."""

import threading
import tracemalloc
from itertools import combinations
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    FeatureExtractor,
)
from minibert.gradients import Gradients
from minibert.layers import Encoder
from minibert.objectives.evaluation import masked_lm_metrics
from minibert.training import AdamW, Engine, Settings, split_batch

CONFIG = BertConfig(
    vocab_size=40,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=9,
    id2label={0: "a", 1: "b", 2: "c"},
)


def batch(seed, count=6, length=9):
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, 40, (count, length))
    mask = np.arange(length) < rng.integers(3, length + 1, count)[:, None]
    labels = np.where(mask & (rng.random(ids.shape) < 0.4), ids, -100)
    labels[0, 1] = 7
    return {"input_ids": ids, "attention_mask": mask.astype(int)}, labels


def shards_at(step):
    return split_batch(*batch(step), 2)


def weights_after(steps, model=None, **options):
    model = model or BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, AdamW(model.params), seed=3)
    settings = Settings(steps=steps, learning_rate=1e-2, **options)
    for step in range(steps):
        engine.step(shards_at(step), settings.rate(step))
    return model.params.vector


def test_step_on_shards_equals_a_step_on_the_batch():
    config = BertConfig(**{**vars(CONFIG), "hidden_dropout_prob": 0.0,
                           "attention_probs_dropout_prob": 0.0})  # fmt: skip
    results, vectors = [], []
    for parts in (1, 2, 4):
        model = BertForMaskedLM(config, seed=0, dtype=np.float64)
        engine = Engine(model, AdamW(model.params))
        results.append(engine.step(split_batch(*batch(0), parts), 1e-2))
        vectors.append(engine.grads.vector.copy())
    for result, vector in zip(results[1:], vectors[1:], strict=True):
        assert result.loss == pytest.approx(results[0].loss, rel=1e-12)
        np.testing.assert_allclose(vector, vectors[0], rtol=1e-9, atol=1e-14)


def test_step_on_trimmed_shards_equals_a_step_on_the_batch():
    config = BertConfig(**{**vars(CONFIG), "hidden_dropout_prob": 0.0,
                           "attention_probs_dropout_prob": 0.0})  # fmt: skip
    inputs, _ = batch(0, count=7)
    classes = np.arange(7) % 3
    steps = []
    for shards in ([(inputs, classes)], split_batch(inputs, classes, 3, trim=True)):
        model = BertForSequenceClassification(config, seed=0, dtype=np.float64)
        engine = Engine(model, AdamW(model.params))
        steps.append((engine.step(shards, 1e-2).loss, engine.grads.vector))
    assert steps[1][0] == pytest.approx(steps[0][0], rel=1e-12)
    np.testing.assert_allclose(steps[1][1], steps[0][1], rtol=1e-9, atol=1e-14)


def test_step_needs_less_memory_for_more_shards():
    inputs, labels = batch(0, count=64)

    def peak(parts):
        model = BertForMaskedLM(CONFIG)
        engine = Engine(model, AdamW(model.params), threads=1)
        shards = split_batch(inputs, labels, parts)
        engine.step(shards, 1e-3)
        tracemalloc.start()
        engine.step(shards, 1e-3)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(16) < 0.3 * peak(1)


def test_step_draws_other_dropout_for_each_shard_step_and_seed():
    inputs, labels = batch(0)

    def losses(shards, steps=1, seed=0):
        model = BertForMaskedLM(CONFIG, seed=1)
        engine = Engine(model, AdamW(model.params), seed=seed)
        return [engine.step([(inputs, labels)] * shards, 1e-30).loss for _ in range(steps)]

    first, second = losses(1, steps=2)
    (other_seed,) = losses(1, seed=1)
    (both,) = losses(2)  # with the same dropout in both shards, their mean would be the same
    for one, other in combinations((first, second, other_seed, both), 2):
        assert one != pytest.approx(other, rel=1e-4)


def test_step_lowers_the_loss():
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, AdamW(model.params))
    losses = [engine.step([batch(0)], 1e-2).loss for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_step_raises_before_the_update_if_the_loss_is_nan():
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, AdamW(model.params))
    engine.step(shards_at(0), 1e-3)
    model.params["cls.predictions.bias"][3] = np.nan
    before = model.params.vector.copy()
    with pytest.raises(FloatingPointError, match="step 2: the loss is nan"):
        engine.step(shards_at(1), 1e-3)
    assert np.array_equal(model.params.vector, before, equal_nan=True)


def test_step_trains_a_classifier():
    model = BertForSequenceClassification(CONFIG, seed=0)
    inputs, _ = batch(0)
    labels = np.array([0, 1, 2, -100, 1, 0])
    engine = Engine(model, AdamW(model.params))
    losses = [engine.step([(inputs, labels)], 1e-2).loss for _ in range(40)]
    assert losses[-1] < 0.3 < losses[0]


def test_step_returns_the_gradient_norm_before_clipping():
    norms = []
    for clip in (1e-3, 1e3):
        model = BertForMaskedLM(CONFIG, seed=1)
        norms.append(Engine(model, AdamW(model.params), clip=clip).step([batch(0)], 1e-3).norm)
    assert norms[0] == norms[1] > 1e-3


@pytest.mark.parametrize("parts", [1, 3, 5])
def test_step_gives_the_same_bits_for_any_number_of_threads(parts):
    def train_on(threads):
        model = BertForMaskedLM(CONFIG, seed=1)
        engine = Engine(model, AdamW(model.params), seed=3, threads=threads)
        losses = [engine.step(split_batch(*batch(n), parts), 1e-2).loss for n in range(4)]
        return losses, model.params.vector

    losses, vector = train_on(1)
    for threads in (2, 3, 8):
        other_losses, other = train_on(threads)
        assert other_losses == losses
        assert (other == vector).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_every_thread_that_multiplies_limits_its_own_blas(threads, monkeypatch, tokenizer):
    own, seen = threading.local(), []

    class Blas:  # MKL, say
        def limit(self, limits):
            before, own.limit = getattr(own, "limit", 8), limits
            return SimpleNamespace(restore_original_limits=lambda: setattr(own, "limit", before))

    forward = Encoder.forward

    def watched(*arguments, **options):
        seen.append(own.limit)
        return forward(*arguments, **options)

    monkeypatch.setattr("minibert.runtime.blas._blas_of_threads", Blas)
    monkeypatch.setattr(
        "minibert.runtime.blas.run_in_fresh_thread", Mock()
    )  # no limit for the whole process
    monkeypatch.setattr(Encoder, "forward", watched)
    model = BertForMaskedLM(CONFIG, seed=1)
    Engine(model, AdamW(model.params), threads=threads).step(shards_at(0), 1e-2)
    masked_lm_metrics(model, batch(1)[0]["input_ids"], batch(1)[1], 0, threads=threads)
    FeatureExtractor(model, tokenizer)(["the cat sat"], threads=threads)
    assert seen == 4 * [1]  # two shards, the metrics, the features
    assert getattr(own, "limit", 8) == 8


def test_step_allocates_one_gradient_per_thread_and_one_more(monkeypatch):
    model = BertForMaskedLM(CONFIG, seed=1)
    made, right = [], Gradients.__init__

    def counted(self, *arguments, **options):
        made.append(1)
        right(self, *arguments, **options)

    monkeypatch.setattr(Gradients, "__init__", counted)
    engine = Engine(model, AdamW(model.params), threads=2)
    for _ in range(3):
        engine.step(split_batch(*batch(0), 6), 1e-3)
    assert 2 <= len(made) <= 3


def test_step_is_right_after_a_step_that_failed():
    def vector(fail):
        model = BertForMaskedLM(CONFIG, seed=1)
        engine = Engine(model, AdamW(model.params), seed=3, threads=2)
        for number in range(3):
            shards = split_batch(*batch(number), 5)
            if fail:
                broken = [*shards[:3], (shards[3][0], shards[3][1] + 99), shards[4]]
                with pytest.raises(ValueError, match="labels: expected integers"):
                    engine.step(broken, 1e-2)
            engine.step(shards, 1e-2)
        return model.params.vector

    assert (vector(fail=True) == vector(fail=False)).all()


def test_engine_refuses_a_model_without_a_loss_and_without_an_objective():
    model = BertModel(CONFIG)
    with pytest.raises(TypeError, match=r"expected one with a loss .*, got BertModel; give an"):
        Engine(model, AdamW(model.params))
