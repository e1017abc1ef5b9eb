"""Resized embeddings: values by hand, the tied decoder and its bias, gradients, saved folders."""

import numpy as np
import pytest

from minibert import BertConfig, BertForMaskedLM
from minibert.models.table import MODELS, model_class
from minibert.testing.cases.examples import (
    BATCH,
    CONFIG,
    MASKED_LABELS,
    MODERN_CONFIG,
    TWO_CLASSES,
    D,
    V,
)
from minibert.training import AdamW, Engine

TABLE, BIAS = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"
POSITIONS = "bert.embeddings.position_embeddings.weight"

CONFIGS = {"BertForQuestionAnswering": TWO_CLASSES, "ModernBertModel": MODERN_CONFIG,
           "ModernBertForMaskedLM": MODERN_CONFIG}  # fmt: skip


def model_of(name="BertForMaskedLM", dtype=np.float64, config=CONFIG):
    """Return a model with parameters away from their initial values."""
    config = CONFIGS.get(name, config)
    model = model_class(name)(config, dtype=dtype)
    rng = np.random.default_rng(7)
    model.params.vector[:] += rng.normal(size=model.params.vector.shape)
    return model


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [V + 3, V, V - 4])
def test_rows_are_added_as_means_or_cut_and_all_else_stays(name, size):
    model = model_of(name)
    before = {key: array.copy() for key, array in model.params.items()}
    model.resize_token_embeddings(size)
    assert model.config.vocab_size == size
    assert model.params.shapes == model.shapes()
    resized = {TABLE.removeprefix("" if model.prefix else "bert."), BIAS} & before.keys()
    assert len(resized) == 1 + model.predicts_tokens
    for key, array in model.params.items():
        old = before[key]
        if key not in resized:
            np.testing.assert_array_equal(array, old)
            continue
        assert array.shape == (size, *old.shape[1:])
        kept = min(size, V)
        np.testing.assert_array_equal(array[:kept], old[:kept])
        by_hand = sum(old) / V
        for row in array[kept:]:
            np.testing.assert_allclose(row, by_hand, rtol=1e-12)


def test_the_decoder_and_its_bias_are_resized_with_the_table():
    model = model_of()
    ids = np.array([[2, 7, 9, 3]])
    before = model(ids).logits
    model.resize_token_embeddings(V + 2)
    after = model(ids).logits
    assert after.shape == (1, 4, V + 2)
    np.testing.assert_allclose(after[..., :V], before, rtol=1e-12)
    # The logit of an average row is the average logit.
    for new in (V, V + 1):
        np.testing.assert_allclose(after[..., new], before.mean(axis=-1), rtol=1e-9)
    model.params[TABLE][V] = 1  # one table is read as embeddings and as decoder
    changed = model(np.array([[2, V, 9, 3]])).logits
    h_sum = changed[..., V] - model.params[BIAS][V]
    table = model.params[TABLE]
    table[V] = 2
    doubled = model(np.array([[2, 7, 9, 3]])).logits[..., V] - model.params[BIAS][V]
    table[V] = 1
    once = model(np.array([[2, 7, 9, 3]])).logits[..., V] - model.params[BIAS][V]
    np.testing.assert_allclose(doubled, 2 * once, rtol=1e-9)
    assert (h_sum != once).any()  # the new token is embedded, too


def test_a_resized_model_is_the_model_of_its_size():
    """Loss and gradients are those of a model that was made with the parameters."""
    model = model_of()
    model.resize_token_embeddings(V + 3)
    made = BertForMaskedLM(model.config, params=model.params, dtype=np.float64)
    labels = np.where(MASKED_LABELS == 7, V + 1, MASKED_LABELS)
    batch = {**BATCH, "input_ids": np.where(BATCH["input_ids"] == 9, V + 2, BATCH["input_ids"])}
    found = model.loss_and_grads(batch, labels, np.random.default_rng(1))
    expected = made.loss_and_grads(batch, labels, np.random.default_rng(1))
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1].vector, expected[1].vector)
    assert (found[1][TABLE][[V + 1, V + 2]] != 0).any(axis=1).all()


def test_freezing_recomputation_and_parts_survive():
    model = model_of(dtype=np.float32)
    model.freeze(1)
    model.gradient_checkpointing_enable()
    frozen, blocks = model.frozen_names, [type(b) for b in model.bert.encoder.blocks]
    model.resize_token_embeddings(V + 1)
    assert (model.frozen, model.frozen_names) == (1, frozen)
    assert [type(b) for b in model.bert.encoder.blocks] == blocks
    table = model.params[TABLE].copy()
    engine = Engine(model, AdamW(model.params, weight_decay=0), seed=0)
    engine.step([(BATCH, MASKED_LABELS)], 1e-2)
    np.testing.assert_array_equal(model.params[TABLE], table)


def test_a_resized_model_is_saved_and_loaded(tmp_path):
    model = model_of(dtype=np.float32)
    model.resize_token_embeddings(V + 3)
    model.save_pretrained(tmp_path)
    again = BertForMaskedLM.from_pretrained(tmp_path, strict=True)
    np.testing.assert_array_equal(again.params.vector, model.params.vector)
    again.resize_token_embeddings(V)
    assert again(BATCH["input_ids"]).logits.shape[-1] == V


@pytest.mark.parametrize("kind", ["absolute", "sinusoidal"])
def test_positions_are_cut(kind):
    fields = {**CONFIG.to_dict(), "position_embedding_type": kind}
    model = model_of(config=BertConfig.from_dict(fields))
    before = model(BATCH["input_ids"]).logits
    model.resize_position_embeddings(6)
    np.testing.assert_array_equal(model(BATCH["input_ids"]).logits, before)
    assert model.config.max_position_embeddings == 6
    assert model.params.shapes.get(POSITIONS, (6, D)) == (6, D)
    with pytest.raises(ValueError, match="expected at most 6 tokens a sequence"):
        model(np.ones((1, 7), int))
    with pytest.raises(ValueError, match="expected at most 6, the model's positions, got 7"):
        model.resize_position_embeddings(7)


@pytest.mark.parametrize(
    ("size", "message"), [(0, "vocab_size: expected"), (1.5, "vocab_size: expected")]
)
def test_an_invalid_size_is_refused_and_changes_nothing(size, message):
    model = model_of()
    before = model.params
    with pytest.raises(ValueError, match=message):
        model.resize_token_embeddings(size)
    assert model.params is before
    assert model.config.vocab_size == V


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
def test_transformers_opens_a_resized_model(tmp_path):
    import torch
    import transformers

    model = model_of(dtype=np.float32)
    model.resize_token_embeddings(V + 3)
    model.save_pretrained(tmp_path)
    peer = transformers.BertForMaskedLM.from_pretrained(tmp_path).eval()
    ids = np.array([[2, V + 2, 7, V]])
    with torch.no_grad():
        expected = peer(torch.tensor(ids)).logits.numpy()
    np.testing.assert_allclose(model(ids).logits, expected, atol=1e-4)
