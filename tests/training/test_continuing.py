"""Continued pre-training: its settings, and the rows of new words."""

import numpy as np
import pytest

from minibert import BertConfig, BertForMaskedLM, BertForPreTraining, ModernBertForMaskedLM
from minibert.models.table import family_class
from minibert.tokenization.widening import read_new_words
from minibert.training.continuing import (
    FULL_RATE_WIDTH,
    continued_settings,
    describe_start,
    tables_of_tokens,
    widen,
)
from minibert.training.recipes import RECIPES

WORDS, BIAS = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"


def make_model(tokenizer, kind=BertForMaskedLM, spare=0):
    """Return a model whose parameters are all different (kind)."""
    config = family_class(kind.config_class.model_type, "Config").preset(
        "tiny", vocab_size=len(tokenizer) + spare, max_position_embeddings=16
    )
    model = kind(config, seed=0)
    model.params.vector[:] = np.random.default_rng(1).normal(size=model.params.vector.size)
    return model


@pytest.fixture
def words(tokenizer, tmp_path):
    """Return new words with their pieces, one of them with a letter that is unknown (dict)."""
    (tmp_path / "words.txt").write_text("zebra\nö7\nquokka\n", "utf-8")
    return read_new_words(tmp_path / "words.txt", tokenizer)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
@pytest.mark.parametrize(("length", "batch"), [(16, 64), (64, 64), (512, 8), (8192, 8)])
def test_the_settings_are_the_recipe_with_another_rate_and_batch(recipe, length, batch):
    config = BertConfig.preset("mini", vocab_size=9, max_position_embeddings=length)
    found = continued_settings(recipe, config, "a model", steps=10)
    assert (found.batch_size, found.start, found.initialization) == (batch, "a model", "trained")
    plain = recipe.settings(config, steps=10)
    assert found.learning_rate == pytest.approx(FULL_RATE_WIDTH / 256 * plain.learning_rate)
    for name in ("recipe", "optimizer", "schedule", "beta2", "masked_share", "warmup", "clip"):
        assert getattr(found, name) == getattr(plain, name)


def test_the_rate_of_a_narrow_model_is_that_of_the_recipe():
    config = BertConfig.preset("tiny", vocab_size=9, hidden_size=64)
    found, plain = (
        continued_settings(RECIPES["2"], config, "x", steps=10),
        RECIPES["2"].settings(config, steps=10),
    )
    assert found.learning_rate == plain.learning_rate


def test_stated_settings_replace_the_defaults():
    config = BertConfig.preset("tiny", vocab_size=9)
    stated = {"learning_rate": 0.5, "batch_size": 3, "whole_words": True, "shards": 1}
    found = continued_settings(RECIPES["2"], config, "x", steps=10, **stated)
    assert vars(found).items() >= stated.items()


def test_a_start_is_described_by_name_and_weights(tokenizer):
    model = make_model(tokenizer)
    before = describe_start("m", model)
    assert before.startswith("m, weights ")
    model.params.vector[-1] += 1
    assert describe_start("m", model) != before


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertForPreTraining, ModernBertForMaskedLM])
@pytest.mark.parametrize("spare", [0, 2, 9])
def test_new_rows_are_the_means_of_the_rows_of_the_pieces(tokenizer, words, kind, spare):
    model = make_model(tokenizer, kind, spare)
    old = {name: array.copy() for name, array in model.params.items()}
    wide = widen(model, tokenizer, words)
    assert len(wide) == len(tokenizer) + 3
    assert model.config.vocab_size == max(len(wide), len(tokenizer) + spare)
    tables = tables_of_tokens(model)
    assert {WORDS, BIAS} >= set(tables) >= {WORDS}
    for name, array in model.params.items():
        if name not in tables:
            assert (array == old[name]).all()
            continue
        known = old[name][: len(tokenizer)]
        assert (array[: len(tokenizer)] == known).all()
        for word, pieces in words.items():
            unknown = tokenizer.unk_token_id in pieces
            expected = (known if unknown else known[pieces]).mean(axis=0)
            np.testing.assert_allclose(array[wide.vocab[word]], expected, rtol=1e-5, atol=1e-6)


def test_the_logits_of_a_new_word_are_the_mean_of_those_of_its_pieces(tokenizer, words):
    model = make_model(tokenizer).astype(np.float64)
    batch = {"input_ids": np.array([[2, 9, 4, 12, 3]])}
    before = model(**batch).logits
    wide = widen(model, tokenizer, words)
    after = model(**batch).logits
    np.testing.assert_allclose(after[..., : len(tokenizer)], before, rtol=1e-12, atol=1e-12)
    expected = before[..., words["zebra"]].mean(axis=-1)
    np.testing.assert_allclose(after[..., wide.vocab["zebra"]], expected, rtol=1e-10, atol=1e-10)


def test_a_widened_model_belongs_to_its_new_tokenizer(tokenizer, words, tmp_path, caplog):
    tokenizer.save_pretrained(tmp_path / "old")
    make_model(tokenizer).save_pretrained(tmp_path / "old")
    model = BertForMaskedLM.from_pretrained(tmp_path / "old")
    wide = widen(model, tokenizer, words)
    wide.save_pretrained(tmp_path / "new")
    model.save_pretrained(tmp_path / "new")
    again = BertForMaskedLM.from_pretrained(tmp_path / "new", strict=True)
    assert not caplog.records  # no warning of another vocabulary
    assert (again.params.vector == model.params.vector).all()
