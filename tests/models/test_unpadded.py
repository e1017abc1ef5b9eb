"""Prediction without padding: the same hidden states and logits as one text at a time."""

from itertools import combinations

import numpy as np
import pytest

import minibert as m
from examples.pre_norm import pre_norm
from minibert.data.ragged import RaggedSequences
from minibert.inference.features import FeatureExtractor
from minibert.models.unpadded import hidden_states_of, logits_of, runs_unpadded
from minibert.tasks import SingleLabelTask, TaggingTask

CONFIG = m.BertConfig(
    vocab_size=40,
    hidden_size=12,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=9,
)
SHAPES = {
    "one text": [(1, 5)],
    "one length": [(4, 3)],
    "all different": [(1, 9), (1, 5), (1, 2)],
    "several": [(2, 7), (1, 6), (5, 4), (3, 1)],
}
KINDS = [
    m.BertForSequenceClassification,
    m.BertForTokenClassification,
    m.BertForNextSentencePrediction,
    m.BertForMaskedLM,
]


def made(kind, dtype=np.float64, config=CONFIG, **parts):
    """Return a model away from its initial values, where all tokens have similar states."""
    model = kind(config, seed=1, **parts).astype(dtype)
    model.params.vector[:] += np.random.default_rng(2).normal(0, 0.1, model.params.vector.shape)
    return model


def batches_of(shapes, model=None):
    """Return batches without padding, checked if there is a model."""
    rng = np.random.default_rng(3)
    names = {"input_ids": 40, "token_type_ids": 2}
    batches = [
        {name: rng.integers(0, limit, shape) for name, limit in names.items()} for shape in shapes
    ]
    return [model.check(**batch) for batch in batches] if model else batches


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_hidden_states_equal_those_of_each_batch_alone(shapes, dtype):
    model = made(m.BertModel, dtype)
    assert runs_unpadded(model)
    batches = batches_of(shapes, model)
    for count in range(1, 5):
        for numbers in combinations(range(4), count):
            found = hidden_states_of(model, batches, set(numbers))
            for batch, states in zip(batches, found, strict=True):
                expected = model.hidden_states(batch, set(numbers))
                assert states.keys() == expected.keys()
                for number, x in states.items():
                    assert x.dtype == dtype
                    np.testing.assert_allclose(
                        x, expected[number], rtol=0, atol=1e-6 if dtype == np.float32 else 1e-12
                    )


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_rows_are_the_only_tokens_computed_in_the_last_block(shapes, monkeypatch):
    model = made(m.BertModel)
    batches = batches_of(shapes, model)
    rng = np.random.default_rng(4)
    for most in (1, 3, 9):
        rows = [rng.integers(0, T, (B, min(most, T))) for B, T in shapes]  # one may occur twice
        found = hidden_states_of(model, batches, {1, 3}, rows)
        for batch, at, states in zip(batches, rows, found, strict=True):
            expected = model.hidden_states(batch, {1, 3}, at)
            for number in (1, 3):
                assert states[number].shape == expected[number].shape
                np.testing.assert_allclose(states[number], expected[number], rtol=0, atol=1e-12)
    seen = []
    feed_forward = model.bert.encoder.blocks[-1].feed_forward
    forward = feed_forward.forward

    def record(params, x, *args):
        seen.append(x.size)
        return forward(params, x, *args)

    monkeypatch.setattr(feed_forward, "forward", record)
    hidden_states_of(model, batches, {3}, [np.zeros((B, 1), int) for B, _ in shapes])
    assert seen == [12 * sum(B for B, _ in shapes)]


@pytest.mark.parametrize("changes", [{}, {"position_embedding_type": "sinusoidal"}])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_those_of_each_batch_alone(kind, shapes, changes):
    model = made(kind, config=m.BertConfig(**{**vars(CONFIG), **changes}))
    batches = batches_of(shapes)
    for found, batch in zip(logits_of(model, batches), batches, strict=True):
        np.testing.assert_allclose(found, model(**batch).logits, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="input_ids"):
        logits_of(model, [{"input_ids": [[40]]}])


@pytest.mark.parametrize("kind", KINDS[:2])
def test_frozen_and_recomputed_blocks_run_unpadded_too(kind):
    model = made(kind)
    batches = batches_of(SHAPES["several"])
    expected = logits_of(model, batches)
    model.freeze(1)
    model.gradient_checkpointing_enable()
    for one, other in zip(logits_of(model, batches), expected, strict=True):
        np.testing.assert_array_equal(one, other)


PREDICTIONS = {
    m.BertForSequenceClassification: (
        SingleLabelTask(["a", "b"]).predict, ["the cat", "a dog sat under the tree", ""]
    ),
    m.BertForTokenClassification: (
        TaggingTask(["B-a", "O"]).predict, [["the", "cat"], ["a"], ["a", "dog", "sat"]]
    ),
    m.BertModel: (
        lambda *args: FeatureExtractor(*args[:2])(args[2]), ["the cat", "a dog sat", "cat"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("parts", [{}, {"block": pre_norm}])
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_only_models_with_parts_of_a_caller_predict_with_padding(
    kind, parts, tokenizer, monkeypatch
):
    sizes = {**vars(CONFIG), "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    model = made(kind, config=m.BertConfig(**sizes), **parts)
    predict, texts = PREDICTIONS[kind]
    batch, whole = RaggedSequences.batch, []

    def record(*args):
        made = batch(*args)
        whole.append(made["attention_mask"].all())
        return made

    monkeypatch.setattr(RaggedSequences, "batch", record)
    together = predict(model, tokenizer, texts)
    assert len(whole) == (1 if parts else 3)  # batches: of all texts, or of one length each
    assert all(whole) == (not parts)
    for text, output in zip(texts, together, strict=True):
        np.testing.assert_allclose(predict(model, tokenizer, [text])[0], output, 0, 1e-12)


def test_batches_of_a_model_with_parts_of_a_caller_are_computed_one_by_one():
    model = made(m.BertForSequenceClassification, block=pre_norm)
    assert not runs_unpadded(model)
    batches = batches_of(SHAPES["several"])
    batches[0]["attention_mask"] = np.array([[1] * 7, [1] * 4 + [0] * 3])  # it may be padded
    for found, batch in zip(logits_of(model, batches), batches, strict=True):
        np.testing.assert_array_equal(found, model(**batch).logits)
    states = hidden_states_of(model, [model.check(**batch) for batch in batches], {0, 3})
    for found, batch in zip(states, batches, strict=True):
        whole = model(**batch, output_hidden_states=True).hidden_states
        for number, x in found.items():
            np.testing.assert_array_equal(x, whole[number])
