"""Pre-training: models learn from context, and settings and budgets reach the run."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import AlbertConfig, AlbertForPreTraining, BertForMaskedLM, BertForPreTraining
from minibert.data.corpus import pack
from minibert.data.masking import mask_sequences
from minibert.data.next_sentence import next_sentence_pairs
from minibert.objectives import MaskedLM
from minibert.objectives.baselines import count_tokens, unigram_baseline
from minibert.objectives.evaluation import next_sentence_accuracy
from minibert.training import Settings, train_masked_lm
from minibert.training.pretraining import TIMED_STEPS, WARM_UP_STEPS, step_seconds, steps_in
from minibert.training.ranks import Ranks
from tests.objectives.language import small


@pytest.mark.slow
def test_train_masked_lm_learns_from_context(tokenizer, packed):
    rows, held_out = packed
    model = small(tokenizer)
    settings = Settings(steps=300, batch_size=16, learning_rate=1.5e-3, evaluate_every=100)
    result = train_masked_lm(model, tokenizer, rows, held_out, settings)
    _, labels = mask_sequences(held_out, tokenizer, np.random.default_rng(0))
    baseline = unigram_baseline(count_tokens(rows, tokenizer), labels, tokenizer)
    assert result.loss < baseline.loss - 1
    assert result.accuracy > baseline.accuracy + 0.3


def test_masked_lm_warns_once_of_a_model_no_better_than_the_baseline(tokenizer, packed, caplog):
    rows, held_out = packed
    settings = Settings(steps=10, batch_size=4, learning_rate=1e-9, evaluate_every=1)
    train_masked_lm(small(tokenizer), tokenizer, rows, held_out, settings)
    warnings = [record.message for record in caplog.records if "warning" in record.message]
    assert len(warnings) == 1
    assert "after 5 of 10 steps the held-out loss" in warnings[0]
    advice = "; more steps, another learning rate, a longer warm-up"
    assert warnings[0].endswith(f"{advice} or shorter sequences may help")
    caplog.clear()
    dropping = BertForMaskedLM(replace(small(tokenizer).config, hidden_dropout_prob=0.1))
    train_masked_lm(dropping, tokenizer, rows, held_out, settings)
    assert f"{advice}, shorter sequences or no dropout may help" in caplog.text


def test_step_seconds_is_the_median_and_does_not_change_the_model(tokenizer, packed, monkeypatch):
    model = small(tokenizer)
    before = model.params.vector.copy()
    ticks = count()
    monkeypatch.setattr("minibert.training.pretraining.time.perf_counter", lambda: next(ticks))
    settings = Settings(steps=1, batch_size=4)
    objective = MaskedLM(model, tokenizer, packed[0], None, settings)
    assert step_seconds(model, objective, settings) == 1
    assert (model.params.vector == before).all()
    assert next(ticks) == 2 * (WARM_UP_STEPS + TIMED_STEPS)
    step_seconds(model, objective, settings, limit=20)
    assert next(ticks) == 2 * (WARM_UP_STEPS + TIMED_STEPS + 20) + 1


class Second(Ranks):
    """The second of two ranks: it hears of the first one whether to go on, then the seconds."""

    rank, size = 1, 2

    def __init__(self, heard):
        self.heard = iter(heard)

    def of_first(self, value):
        return next(self.heard)


def test_step_seconds_of_all_ranks_are_those_of_the_first(tokenizer, packed):
    model = small(tokenizer)
    settings = Settings(steps=1, batch_size=4)
    objective = MaskedLM(model, tokenizer, packed[0], None, settings)
    ranks = Second([True] * 4 + [False, 0.25])
    assert step_seconds(model, objective, settings, ranks=ranks) == 0.25
    assert list(ranks.heard) == []


@given(
    st.floats(-10, 1e6),
    st.floats(1e-3, 10),
    st.integers(1, 100),
    st.integers(1, 1000),
    st.integers(0, 5000),
)
def test_steps_and_their_evaluations_fit_into_the_time(seconds, step, batch, every, held_out):
    settings = Settings(steps=1, batch_size=batch, shards=1, evaluate_every=every)

    def spent(steps):
        evaluations = max(steps - 1, 0) // every
        return step * (steps + evaluations * held_out / (3 * batch))

    steps = steps_in(seconds, step, settings, held_out)
    assert steps >= 0
    assert spent(steps) <= max(seconds, 0) * (1 + 1e-9)
    evaluation = step * held_out / (3 * batch)
    assert spent(steps + 1) + evaluation > max(seconds, 0) * (1 - 1e-9)
    assert steps_in(2 * abs(seconds), step, settings, held_out) >= steps


@pytest.mark.parametrize("change", [{"clip": 1e-3}, {"weight_decay": 0.5}, {"seed": 1}])
def test_settings_reach_the_pretraining(tokenizer, packed, change):
    rows, held_out = packed

    def trained(**settings):
        model = small(tokenizer)
        train_masked_lm(model, tokenizer, rows, held_out[:4],
                        Settings(**{"steps": 3, "batch_size": 4, **settings}))  # fmt: skip
        return model.params.vector

    assert (trained() == trained()).all()
    assert (trained() != trained(**change)).any()


@pytest.mark.slow
def test_train_masked_lm_learns_next_sentences_too(tokenizer, packed):
    rows, held_out = packed
    model = BertForPreTraining(small(tokenizer).config)
    before = model.params["cls.seq_relationship.weight"].copy()
    settings = Settings(steps=300, batch_size=16, learning_rate=1.5e-3)
    result = train_masked_lm(model, tokenizer, rows, held_out, settings)
    assert (model.params["cls.seq_relationship.weight"] != before).any()
    _, labels = mask_sequences(held_out, tokenizer, np.random.default_rng(0))
    assert (
        result.loss < unigram_baseline(count_tokens(rows, tokenizer), labels, tokenizer).loss - 0.5
    )
    # In a language of three sentences, many wrong continuations are also plausible.
    assert result.next_sentence > 0.55
    pairs = next_sentence_pairs(
        held_out, np.arange(len(held_out)), tokenizer, np.random.default_rng(1)
    )
    wrong = pairs[0], pairs[1], 1 - pairs[2]
    pad = tokenizer.pad_token_id
    shares = [next_sentence_accuracy(model, *each, pad, threads=2) for each in (pairs, wrong)]
    assert sum(shares) == pytest.approx(1)


@pytest.mark.slow
def test_train_masked_lm_learns_the_order_of_sentences(tokenizer):
    """In each text a cat is before a dog."""
    rng = np.random.default_rng(0)
    places = ["sat on the mat .", "ran under a tree .", "was big and red ."]
    texts = [[f"the cat {rng.choice(places)}", f"the dog {rng.choice(places)}"] for _ in range(300)]
    rows = pack(texts, tokenizer, 16)
    config = AlbertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, embedding_size=16, max_position_embeddings=16, initializer_range=0.1,
    )  # fmt: skip
    model = AlbertForPreTraining(config)
    settings = Settings(steps=200, batch_size=16, learning_rate=3e-3)
    result = train_masked_lm(model, tokenizer, rows[30:], rows[:30], settings)
    assert result.sentence_order > 0.9
