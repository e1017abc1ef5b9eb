"""ModernBERT: its formulas, laws, windows, files, and the engine's ways to run it.

See `test_relatives` for what all families have.
"""

import copy
import json
import logging
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

import minibert as m
from minibert.functional import attention_backward, attention_forward, padding_mask
from minibert.functional.families.window import (
    window_attention_backward,
    window_attention_forward,
    window_bias,
)
from minibert.inspection.walk import RecordedModel
from minibert.layers import PreNormResidual
from minibert.layers.families.windowed import RotaryByKind
from minibert.models.checkpoints import read_config
from minibert.models.families.window_config import FULL, SLIDING
from minibert.models.pooling_block import (
    has_room,
    pooling_names,
    pooling_of,
    reading_mean,
    with_pooling_block,
)
from minibert.models.table import family_class
from minibert.models.unpadded import hidden_states_of, logits_of, runs_unpadded
from minibert.models.weights import open_weights
from minibert.training import AdamW, Engine, split_batch
from minibert.training.distillation import make_student
from tests import plain

B, T, V, D, F, L, K = 3, 7, 31, 12, 10, 3, 2
CONFIG = m.ModernBertConfig(
    vocab_size=V,
    hidden_size=D,
    num_hidden_layers=L,
    num_attention_heads=K,
    intermediate_size=F,
    max_position_embeddings=20,
    pad_token_id=0,
    rope_theta=9.0,
    global_attn_every_n_layers=1,
)
RNG = np.random.default_rng(0)
IDS = RNG.integers(1, V, (B, T))
MASK = (np.arange(T) < np.array([T, 4, 5])[:, None]).astype(np.int64)
BATCH = {"input_ids": IDS * MASK, "attention_mask": MASK}
LABELS = np.where(MASK & (np.arange(T) % 3 == 1), IDS, -100)


def made(kind=m.ModernBertForMaskedLM, dtype=np.float64, config=CONFIG):
    """Return a model away from its initial values."""
    model = kind(config, dtype=dtype)
    model.params.vector[:] += np.random.default_rng(2).normal(0, 0.3, model.params.vector.shape)
    return model


def test_logits_equal_the_plain_formula_of_the_file(tmp_path):
    """From the names and layouts of the file: halves, q before k before v, gate after gelu."""
    model = made()
    model.save_pretrained(tmp_path)
    with open_weights(tmp_path) as tensors:
        arrays = {name: tensor.read() for name, tensor in tensors.items()}
    expected = plain.modernbert_logits(arrays, IDS[0], K, (9.0,) * L, 1e-5, (None,) * L)
    np.testing.assert_allclose(model(IDS[:1]).logits[0], expected, rtol=1e-9, atol=1e-10)


def test_blocks_have_pre_norms_but_the_first_none_before_attention():
    blocks = made().bert.encoder.blocks
    assert [block.attention.norm is None for block in blocks] == [True, False, False]
    assert all(
        isinstance(half, PreNormResidual) and half.norm is not None
        for half in [*(b.feed_forward for b in blocks), *(b.attention for b in blocks[1:])]
    )


def test_no_parameter_is_a_bias_but_that_of_the_logits():
    names = list(made().params)
    assert [name for name in names if "bias" in name] == ["cls.predictions.bias"]
    assert not any("position" in name or "token_type" in name for name in names)


# Laws.


@pytest.mark.parametrize("shift", [1, 4])
def test_outputs_do_not_depend_on_where_a_text_begins(shift):
    """Padding in front moves all positions, and scores depend on distances alone."""
    model = made(m.ModernBertModel)
    moved = np.pad(IDS, ((0, 0), (shift, 0)))
    mask = np.pad(np.ones_like(IDS), ((0, 0), (shift, 0)))
    out = model(moved, attention_mask=mask).last_hidden_state[:, shift:]
    np.testing.assert_allclose(out, model(IDS).last_hidden_state, rtol=1e-9, atol=1e-11)


def test_outputs_depend_on_the_order_of_the_tokens():
    model, order = made(m.ModernBertModel), np.array([0, 2, 1, 3, 4, 6, 5])
    swapped = model(IDS[:, order]).last_hidden_state
    assert np.abs(swapped - model(IDS).last_hidden_state[:, order]).max() > 1e-3


def test_padding_changes_nothing():
    model = made()
    padded = model(**BATCH).logits
    for ids, mask, logits in zip(IDS, MASK, padded, strict=True):
        alone = model(ids[None, mask == 1]).logits[0]
        np.testing.assert_allclose(logits[mask == 1], alone, rtol=1e-9, atol=1e-11)
    other = model(np.where(MASK, IDS, 5), attention_mask=MASK).logits
    np.testing.assert_array_equal(padded[MASK == 1], other[MASK == 1])


def test_segments_are_ignored():
    model, types = made(), (np.arange(T) > 3).astype(int)[None].repeat(B, 0)
    np.testing.assert_array_equal(model(IDS, types).logits, model(IDS).logits)


# Windows.

WINDOWED = replace(CONFIG, global_attn_every_n_layers=3, local_attention=6, local_rope_theta=4.0,
                   max_position_embeddings=60, id2label={0: "a", 1: "b", 2: "c"})  # fmt: skip
LONG = 43  # of which six blocks are made
LONG_MASK = (np.arange(LONG) < np.array([LONG, 20, 39])[:, None]).astype(np.int64)
LONG_MASK[0, 9:17] = 0  # more padding inside a text than a window has room for
LONG_IDS = RNG.integers(1, V, (B, LONG)) * LONG_MASK
LONG_BATCH = {"input_ids": LONG_IDS, "attention_mask": LONG_MASK}


@pytest.mark.parametrize(
    ("length", "window", "size"),
    [(7, 1, 3), (8, 2, 4), (11, 7, 8), (43, 3, None), (5, 9, None), (9, 8, 3), (6, 0, 1), (1, 1, 1),
     (40, 8, None)],
)  # fmt: skip
def test_blocks_of_a_band_equal_masked_full_attention(length, window, size):
    """Where blocks divide a text or not, windows are wider than it, and all near is padding."""
    rng = np.random.default_rng(length)
    heads = [rng.normal(size=(2, 3, length, 4)) for _ in range(3)]
    hidden = rng.random((2, length)) < 0.3
    hidden[1, length // 2 :] = True
    mask = padding_mask(~hidden, np.float64)
    bias = window_bias(np.arange(length), np.arange(length), window, np.float64)
    assert (bias is None) == (length <= window + 1)
    out, cache = window_attention_forward(*heads, window, mask, size=size)
    expected, whole = attention_forward(*heads, mask, bias)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(cache.weights, whole.weights, rtol=1e-12, atol=1e-14)
    dout = rng.normal(size=out.shape)
    pairs = zip(
        window_attention_backward(dout, cache), attention_backward(dout, whole), strict=True
    )
    for own, other in pairs:
        np.testing.assert_allclose(own, other, rtol=1e-11, atol=1e-13)


def test_windows_of_long_texts_have_fewer_pairs_than_full_attention():
    x = np.zeros((1, 1, 512, 2), np.float32)
    _, cache = window_attention_forward(x, x, x, 64)
    assert sum(block.attention.weights.size for block in cache.blocks) < 0.35 * 512**2


def test_logits_with_windows_equal_the_plain_formula_of_the_file(tmp_path):
    model = made(config=WINDOWED)
    model.save_pretrained(tmp_path)
    with open_weights(tmp_path) as tensors:
        arrays = {name: tensor.read() for name, tensor in tensors.items()}
    thetas, windows = (9.0, 4.0, 4.0), (None, 3, 3)
    expected = plain.modernbert_logits(arrays, LONG_IDS[0, :9], K, thetas, 1e-5, windows)
    np.testing.assert_allclose(model(LONG_IDS[:1, :9]).logits[0], expected, rtol=1e-9, atol=1e-10)


def test_a_window_as_wide_as_the_text_is_full_attention():
    """With the same base: the two kinds of layers differ in nothing else."""
    config = replace(WINDOWED, local_rope_theta=9.0, local_attention=2 * (LONG - 1))
    full = made(config=replace(config, global_attn_every_n_layers=1))
    wide, narrow = (made(config=replace(config, local_attention=2 * (LONG - n))) for n in (1, 2))
    expected = full(**LONG_BATCH).logits
    np.testing.assert_array_equal(wide(**LONG_BATCH).logits, expected)
    assert np.abs(narrow(**LONG_BATCH).logits[0] - expected[0]).max() > 1e-9


def test_both_bases_are_used_each_by_its_kind():
    positions = made(config=WINDOWED).bert.encoder.positions
    assert isinstance(positions, RotaryByKind)
    assert (positions.theta, positions.near.theta) == (9.0, 4.0)
    plain_positions = made().bert.encoder.positions
    assert type(plain_positions).__name__ == "RotaryPositions"


def test_a_token_reaches_as_far_as_windows_and_layers_let_it():
    """In two layers with windows of 3, the last one included."""
    config = replace(WINDOWED, layer_types=(SLIDING, SLIDING, SLIDING), local_attention=7)
    model = made(m.ModernBertModel, config=config)
    other = LONG_IDS.copy()
    other[0, 30] = other[0, 30] % (V - 1) + 1
    before = model(LONG_IDS, output_hidden_states=True).hidden_states
    after = model(other, output_hidden_states=True).hidden_states
    for layer in (1, 2, 3):
        changed = np.flatnonzero((before[layer] != after[layer])[0].any(axis=-1))
        assert changed.tolist() == list(range(30 - 3 * layer, min(31 + 3 * layer, LONG)))


def test_padding_of_long_texts_changes_nothing():
    model = made(config=WINDOWED)
    padded = model(**LONG_BATCH).logits
    other = model(np.where(LONG_MASK, LONG_IDS, 5), attention_mask=LONG_MASK).logits
    np.testing.assert_array_equal(padded[LONG_MASK == 1], other[LONG_MASK == 1])
    for i in (1, 2):  # padded at the end alone
        alone = model(LONG_IDS[i : i + 1, LONG_MASK[i] == 1]).logits[0]
        np.testing.assert_allclose(padded[i, LONG_MASK[i] == 1], alone, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("trims", [False, True])
def test_unpadded_prediction_with_windows_equals_each_batch_alone(trims):
    model, rng = made(m.ModernBertModel, config=WINDOWED), np.random.default_rng(6)
    assert runs_unpadded(model)
    shapes = [(2, LONG), (1, 12), (3, 3), (1, 1)]
    batches = [model.check(rng.integers(1, V, shape)) for shape in shapes]
    rows = [rng.integers(0, t, (b, min(t, 2))) for b, t in shapes] if trims else None
    found = hidden_states_of(model, batches, {0, 1, L}, rows)
    for i, (batch, states) in enumerate(zip(batches, found, strict=True)):
        alone = model.hidden_states(batch, {0, 1, L}, None if rows is None else rows[i])
        for number, x in alone.items():
            np.testing.assert_allclose(states[number], x, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "kind", [m.ModernBertForSequenceClassification, m.ModernBertForMultipleChoice]
)
def test_mean_pooling_reads_the_tokens_that_are_not_padding(kind):
    model = made(kind, config=replace(WINDOWED, classifier_pooling="mean"))
    choices = kind is m.ModernBertForMultipleChoice
    batch = {n: np.stack([a, a[::-1]], 1) if choices else a for n, a in LONG_BATCH.items()}
    labels = np.array([1, 0, 1])
    loss, _ = model.loss_and_grads(batch, labels)
    out = model(**batch, labels=labels, output_hidden_states=True)
    assert loss == pytest.approx(out.loss, rel=1e-12)
    x, mask = out.hidden_states[-1].reshape(-1, LONG, D), batch["attention_mask"].reshape(-1, LONG)
    mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    expected, _ = model.head_forward(mean.reshape(B, 2, 1, D) if choices else mean[:, None])
    np.testing.assert_allclose(out.logits, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(model.predict(model.check(**batch)), expected, rtol=1e-10)
    other = replace(model.config, classifier_pooling="cls")
    assert np.abs(kind(other, params=model.params)(**batch).logits - expected).max() > 1e-6


def test_mean_pooling_of_texts_without_padding_in_one_array():
    model = made(m.ModernBertForSequenceClassification,
                 config=replace(WINDOWED, classifier_pooling="mean"))  # fmt: skip
    batches = [{"input_ids": RNG.integers(1, V, shape)} for shape in [(2, 9), (3, 4)]]
    for batch, own in zip(batches, logits_of(model, batches), strict=True):
        np.testing.assert_allclose(own, model(**batch).logits, rtol=1e-9, atol=1e-11)


def test_choices_read_the_first_token_that_is_not_padding():
    """As in transformers; classifiers of texts read the first token."""
    model = made(m.ModernBertForMultipleChoice, config=WINDOWED)
    front = np.pad(np.stack([IDS, IDS[::-1]], 1), ((0, 0), (0, 0), (2, 0)))
    mask = np.pad(np.ones((B, 2, T), int), ((0, 0), (0, 0), (2, 0)))
    expected = model(front[..., 2:]).logits
    for more in ({}, {"output_hidden_states": True}):
        logits = model(front, attention_mask=mask, **more).logits
        np.testing.assert_allclose(logits, expected, rtol=1e-9, atol=1e-11)


def test_recomputation_and_dropout_of_windows_change_no_bit():
    config = replace(WINDOWED, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.1)
    labels = np.where(LONG_MASK & (np.arange(LONG) % 5 == 1), LONG_IDS, -100)
    grads = []
    for recomputed in (False, True):
        model = made(config=config)
        if recomputed:
            model.gradient_checkpointing_enable()
        grads.append(model.loss_and_grads(LONG_BATCH, labels, np.random.default_rng(3))[1].vector)
    np.testing.assert_array_equal(*grads)


def test_inspection_shows_the_weights_and_gradients_of_windows():
    """Those of full attention with a bias, whose layers are the same otherwise."""
    model = made(config=WINDOWED)
    batch = model.check(LONG_IDS[1:2, :20])
    recorded = RecordedModel(model)
    logits = recorded.forward(batch)
    dlogits = np.random.default_rng(4).normal(size=logits.shape)
    grads = recorded.backward(dlogits)
    _, cache = model.forward(batch)
    expected = model.params.zeros_like()
    model.backward(dlogits, cache, expected)
    np.testing.assert_allclose(grads.vector, expected.vector, rtol=1e-10, atol=1e-13)
    distance = np.abs(np.arange(20)[:, None] - np.arange(20))
    for number, far in ((1, distance > 20), (2, distance > 3)):
        (own,) = (
            record for record in recorded.records
            if record.part == f"block {number}" and "attention weights" in record.values
        )  # fmt: skip
        assert (own.values["attention weights"][..., far] == 0).all()
        assert (own.gradients["attention scores"][..., far] == 0).all()
        assert own.gradients["attention scores"][..., ~far].all()
        sums = own.values["attention weights"].sum(axis=-1)
        np.testing.assert_allclose(sums, 1)


def test_a_student_keeps_the_kinds_of_its_teachers_layers():
    config = replace(WINDOWED, num_hidden_layers=4)
    student = make_student(made(config=config), [0, 3])
    assert student.config.kinds == (FULL, FULL)
    assert make_student(made(config=config), [0, 1]).config.kinds == (FULL, SLIDING)


@pytest.mark.parametrize("layers", [[1, 3], [2, 0], [0, 0]])
def test_a_student_begins_with_the_first_layer_which_has_one_norm_less(layers):
    teacher = made(config=replace(WINDOWED, num_hidden_layers=4))
    with pytest.raises(ValueError, match=r"layers: expected the teacher's first layer in the firs"):
        make_student(teacher, layers)


def test_a_classifier_reads_the_mean_instead_of_a_block_that_pools():
    model = made(m.ModernBertForSequenceClassification)
    assert not has_room(CONFIG)
    with pytest.raises(ValueError, match="expected layers with post-norm"):
        with_pooling_block(model)
    changed = reading_mean(model)
    assert changed.config == replace(CONFIG, classifier_pooling="mean")
    assert changed.params is model.params
    assert pooling_names(changed) == []
    assert pooling_of(changed) == "mean"
    assert pooling_of(model) == "cls"  # which its classifier reads


# The ways to run it.


def test_loss_of_training_equals_that_of_a_call_and_trimming_changes_nothing():
    model = made()
    loss, _ = model.loss_and_grads(BATCH, LABELS)  # computes the masked tokens alone
    assert loss == pytest.approx(model(**BATCH, labels=LABELS).loss, rel=1e-12)
    batch, rows = model.check(**BATCH), np.array([[3, 1], [0, 2], [4, 4]])
    trimmed = model.predict(batch, rows)
    whole = np.take_along_axis(model.predict(batch), rows[..., None], axis=1)
    np.testing.assert_allclose(trimmed, whole, rtol=1e-9, atol=1e-11)


def test_hidden_states_end_with_the_output_after_the_last_norm():
    out = made(m.ModernBertModel)(IDS, output_hidden_states=True, output_attentions=True)
    assert len(out.hidden_states) == L + 1
    np.testing.assert_array_equal(out.hidden_states[-1], out.last_hidden_state)
    np.testing.assert_allclose(np.stack(out.attentions).sum(axis=-1), 1)
    plain_call = made(m.ModernBertModel)(IDS).last_hidden_state
    np.testing.assert_array_equal(out.last_hidden_state, plain_call)
    assert out.pooler_output is None


def step_of(threads, config=CONFIG, recomputed=False, frozen=None, dtype=np.float32):
    """Return the loss and the parameters after three steps of four shards."""
    model = made(dtype=dtype, config=config)
    if recomputed:
        model.gradient_checkpointing_enable()
    model.freeze(frozen)
    engine = Engine(model, AdamW(model.params, weight_decay=0.0), threads=threads)
    batch = {name: np.repeat(array, 2, axis=0) for name, array in BATCH.items()}
    with engine.running():
        losses = [engine.step(split_batch(batch, np.repeat(LABELS, 2, axis=0), 4), 1e-2).loss
                  for _ in range(3)]  # fmt: skip
    return losses, model


DROPOUT = m.ModernBertConfig(**{**vars(CONFIG), "hidden_dropout_prob": 0.2,
                                "attention_probs_dropout_prob": 0.1})  # fmt: skip


@pytest.mark.parametrize("config", [CONFIG, DROPOUT], ids=["no dropout", "dropout"])
def test_threads_and_recomputation_change_no_bit(config):
    losses, one = step_of(1, config)
    assert losses[-1] < losses[0]
    for threads, recomputed in ((4, False), (2, True)):
        again, other = step_of(threads, config, recomputed)
        assert again == losses
        np.testing.assert_array_equal(other.params.vector, one.params.vector)


def test_frozen_parameters_stay_and_the_last_norm_learns():
    _, model = step_of(1, frozen=L)
    before = made(dtype=np.float32)
    changed = {
        n for n, array in model.params.items() if not np.array_equal(array, before.params[n])
    }
    assert changed == {n for n in model.params if n.startswith("cls.")} | {
        "bert.encoder.LayerNorm.weight"
    }


@pytest.mark.parametrize("trims", [False, True])
def test_unpadded_prediction_equals_each_batch_alone(trims):
    model = made(m.ModernBertModel)
    assert runs_unpadded(model)
    shapes = [(2, 7), (1, 6), (4, 3)]
    batches = [model.check(RNG.integers(1, V, shape)) for shape in shapes]
    rows = [np.zeros((b, 1), np.int64) for b, _ in shapes] if trims else None
    found = hidden_states_of(model, batches, {0, 1, L}, rows)
    for i, (batch, states) in enumerate(zip(batches, found, strict=True)):
        alone = model.hidden_states(batch, {0, 1, L}, None if rows is None else rows[i])
        for number, x in alone.items():
            np.testing.assert_allclose(states[number], x, rtol=1e-9, atol=1e-11)
    lm = made()
    logits = logits_of(lm, [{"input_ids": batch.input_ids} for batch in batches])
    for batch, own in zip(batches, logits, strict=True):
        np.testing.assert_allclose(own, lm(batch.input_ids).logits, rtol=1e-9, atol=1e-11)


def test_copies_and_pickles_compute_the_same():
    model = made()
    expected = model(**BATCH).logits
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other(**BATCH).logits, expected)
        assert other.config == CONFIG
    assert made().astype(np.float32)(**BATCH).logits.dtype == np.float32


# Initial values.


def test_output_side_weights_begin_smaller_by_the_root_of_2L():
    config = m.ModernBertConfig.preset("tiny", vocab_size=500, initializer_range=0.06)
    params = m.ModernBertForMaskedLM(config).params
    small = 0.06 / math.sqrt(2 * config.num_hidden_layers)
    output_side = ("output.dense.weight", "transform.dense.weight")
    for name, array in params.items():
        if array.ndim == 2:
            expected = small if name.endswith(output_side) else 0.06
            assert array.std() == pytest.approx(expected, rel=0.02), name
        else:
            assert (array == ("LayerNorm" in name)).all(), name
    assert not params["bert.embeddings.word_embeddings.weight"][config.pad_token_id].any()


@pytest.mark.parametrize(("size", "inner"), [("tiny", 344), ("mini", 680), ("base", 2048)])
def test_presets_have_about_the_parameters_and_flops_of_berts_blocks(size, inner):
    config = m.ModernBertConfig.preset(size, vocab_size=100)
    other = m.BertConfig.preset(size).intermediate_size
    assert config.intermediate_size == inner
    assert 3 * inner == pytest.approx(2 * other, rel=0.01)
    assert (
        m.ModernBertConfig.preset(size, vocab_size=100, intermediate_size=8).intermediate_size == 8
    )


# Files.

IN_A_LAYER = ["attn_norm", "attn.Wqkv", "attn.Wo", "mlp_norm", "mlp.Wi", "mlp.Wo"]
FILE_NAMES = [
    "model.embeddings.tok_embeddings.weight", "model.embeddings.norm.weight",
    *(f"model.layers.{i}.{n}.weight" for i in range(L) for n in IN_A_LAYER[0 if i else 1 :]),
    "model.final_norm.weight", "head.dense.weight", "head.norm.weight", "decoder.bias",
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saved_model_has_the_names_of_transformers_and_is_loaded_bitwise(tmp_path, dtype):
    model = made(dtype=dtype)
    model.save_pretrained(tmp_path)
    with open_weights(tmp_path) as tensors:
        assert sorted(tensors) == sorted(FILE_NAMES)
        assert tensors["model.layers.1.attn.Wqkv.weight"].shape == (3 * D, D)
        assert tensors["model.layers.1.mlp.Wi.weight"].shape == (2 * F, D)
    back = m.ModernBertForMaskedLM.from_pretrained(tmp_path, strict=True, dtype=dtype)
    np.testing.assert_array_equal(back.params.vector, model.params.vector)
    assert back.config == CONFIG
    assert read_config(tmp_path) == CONFIG
    # A body reads it, too, and one that is saved alone has no prefix.
    body = m.ModernBertModel.from_pretrained(tmp_path, dtype=dtype)
    np.testing.assert_array_equal(body(IDS).last_hidden_state.shape, (B, T, D))
    body.save_pretrained(tmp_path / "body")
    with open_weights(tmp_path / "body") as tensors:
        assert sorted(tensors) == sorted(
            name.removeprefix("model.") for name in FILE_NAMES if name.startswith("model.")
        )
    again = m.ModernBertModel.from_pretrained(tmp_path / "body", strict=True, dtype=dtype)
    np.testing.assert_array_equal(again.params.vector, body.params.vector)


@pytest.mark.parametrize("use", ["ForSequenceClassification", "ForTokenClassification",
                                 "ForQuestionAnswering", "ForMultipleChoice"])  # fmt: skip
def test_heads_have_the_names_of_transformers_in_files(tmp_path, use):
    made(family_class("modernbert", use)).save_pretrained(tmp_path)
    with open_weights(tmp_path) as tensors:
        heads = {name for name in tensors if not name.startswith("model.")}
    assert heads == {"head.dense.weight", "head.norm.weight", "classifier.weight",
                     "classifier.bias"}  # fmt: skip


def test_head_that_a_body_lacks_is_newly_initialized(tmp_path, caplog):
    made(m.ModernBertModel).save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING, "minibert"):
        model = m.ModernBertForMaskedLM.from_pretrained(tmp_path)
    assert "newly initialized" in caplog.text
    assert np.isfinite(model(IDS).logits).all()
    with pytest.raises(ValueError, match="lacks 3 arrays of ModernBertForMaskedLM"):
        m.ModernBertForMaskedLM.from_pretrained(tmp_path, strict=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_files_are_read(tmp_path, dtype):
    model = made(dtype=np.float32)
    model.save_pretrained(tmp_path, dtype="float16")
    rounded = model.params.vector.astype(np.float16).astype(np.float32)
    if dtype == "bfloat16":  # the upper halves of the float32 numbers, in a file made by hand
        model.save_pretrained(tmp_path)
        rounded = (model.params.vector.view(np.uint32) & 0xFFFF0000).view(np.float32)
        _as_bfloat16(tmp_path / "model.safetensors")
    back = m.ModernBertForMaskedLM.from_pretrained(tmp_path, strict=True)
    np.testing.assert_array_equal(back.params.vector, rounded)


def _as_bfloat16(path):
    """Write the float32 tensors of a file as bfloat16."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    for name, outline in header.items():
        if name != "__metadata__":
            outline["dtype"] = "BF16"
            outline["data_offsets"] = [at // 2 for at in outline["data_offsets"]]
    text = json.dumps(header).encode()
    halves = np.frombuffer(data[8 + size :], "<u2")[1::2]
    path.write_bytes(len(text).to_bytes(8, "little") + text + halves.tobytes())


def test_stacked_tensor_of_another_shape_is_refused(tmp_path):
    made(dtype=np.float32).save_pretrained(tmp_path)
    changed = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**changed, "intermediate_size": F + 1}))
    message = r"mlp.Wi.weight: expected the shape \(11, 12\) from config.json, got \(10, 12\)"
    with pytest.raises(ValueError, match=message):
        m.ModernBertForMaskedLM.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("kind", "saved", "message"),
    [
        (m.BertForMaskedLM, m.ModernBertForMaskedLM, "expected bert for BertForMaskedLM"),
        (m.BertForSequenceClassification, m.ModernBertForMaskedLM, "expected bert for"),
        (m.ModernBertForMaskedLM, m.BertForMaskedLM, "expected modernbert for"),
    ],
)  # fmt: skip
def test_model_of_another_family_is_refused(tmp_path, kind, saved, message):
    config = (
        CONFIG if saved is m.ModernBertForMaskedLM else m.BertConfig.preset("tiny", vocab_size=9)
    )
    saved(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        kind.from_pretrained(tmp_path)


def fields(**changes):
    return {**CONFIG.to_dict(), **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_types": [FULL, SLIDING]}, "layer_types: expected 3, one for each layer, got 2"),
        ({"layer_types": [FULL, SLIDING, FULL]},
         "layer_types: expected full_.* in layer 1, as global_attn_every_n_layers 1 states, got"),
        ({"layer_types": [FULL, "chunked_attention", FULL]}, "or sliding_attention, got 'chunked"),
        ({"layer_types": 5}, "layer_types: expected a kind for each layer, got 5"),
        ({"global_attn_every_n_layers": 0}, "global_attn_every_n_layers: expected a whole number"),
        ({"local_attention": 0}, "local_attention: expected a whole number of at least 1, got 0"),
        ({"local_attention": "x"}, "local_attention: expected a whole number of at least 1"),
        ({"sliding_window": 3}, "sliding_window: expected 64, half of local_attention 128, got 3"),
        ({"sliding_window": "x"}, "sliding_window: expected a whole number of at least 0"),
        ({"norm_bias": True}, "norm_bias: expected False, got True"),
        ({"attention_bias": True}, "attention_bias: expected False, got True"),
        ({"mlp_bias": True}, "mlp_bias: expected False, got True"),
        ({"classifier_bias": True}, "classifier_bias: expected False, got True"),
        ({"decoder_bias": False}, "decoder_bias: expected True, got False"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings: expected True, got False"),
        ({"classifier_activation": "silu"}, "classifier_activation: expected 'gelu', got 'silu'"),
        ({"classifier_pooling": "max"}, "classifier_pooling: expected cls or mean, got 'max'"),
        ({"embedding_dropout": 0.3}, r"embedding_dropout: expected 0.0, got 0.3"),
        ({"hidden_activation": "silu"}, "hidden_act: expected one of gelu, gelu_new, relu"),
        ({"rope_parameters": {FULL: {"rope_type": "a"}}}, "rope_parameters: expected the type def"),
        ({"rope_parameters": {SLIDING: {"rope_type": "yarn"}}}, "rope_parameters: .* for sliding_"),
        ({"rope_parameters": 3}, "rope_parameters: expected"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}},
         "rope_parameters: expected full_attention and sliding_attention, got 'rope_type'"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling: expected null"),
        ({"rope_parameters": {FULL: {"rope_theta": 5.0}}},
         "global_rope_theta: expected 5.0 as in rope_parameters, got 9.0"),
        ({"local_rope_theta": 5.0}, "local_rope_theta: expected 10000.0 as in rope_parameters, go"),
        ({"global_rope_theta": "x", "rope_parameters": {}}, "rope_theta: expected more than 0"),
        ({"global_rope_theta": 0, "rope_parameters": None}, "rope_theta: expected more than 0"),
        ({"local_rope_theta": -1, "rope_parameters": None}, "local_rope_theta: expected more than"),
        ({"model_type": "bert"}, "model_type: expected one of modernbert, got 'bert'"),
        ({"pad_token_id": V}, "pad_token_id: expected less than vocab_size 31"),
    ],
)  # fmt: skip
def test_config_of_what_is_not_supported_is_refused(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        m.ModernBertConfig.from_dict(fields(**changes))
    assert len(str(caught.value).splitlines()) == 1


def test_config_reads_the_fields_of_transformers_4_and_5():
    own = replace(CONFIG, num_hidden_layers=7, global_attn_every_n_layers=3, local_rope_theta=5.0)
    new, old = own.to_dict(), own.to_dict()
    for name in ("global_attn_every_n_layers", "global_rope_theta", "local_rope_theta"):
        del new[name]
    for name in ("layer_types", "rope_parameters"):
        del old[name]
    both = {**new, "sliding_window": 64}
    for stated in (new, old, both):
        assert m.ModernBertConfig.from_dict(stated) == own
    # What is absent has the value of the class in transformers.
    bare = m.ModernBertConfig.from_dict({})
    assert (bare.pad_token_id, bare.vocab_size, bare.rope_theta) == (50283, 50368, 160000.0)
    assert (bare.intermediate_size, bare.layer_norm_eps, bare.local_attention) == (1152, 1e-5, 128)
    assert bare.classifier_pooling == "cls"  # that of the published base model is stated: mean
    assert bare.kinds == tuple(SLIDING if i % 3 else FULL for i in range(22))
    assert m.ModernBertConfig.from_dict({"sliding_window": 5}).window == 5
    without = {"vocab_size": 9, "pad_token_id": None}
    assert m.ModernBertConfig.from_dict(without).pad_token_id == 0


@pytest.mark.parametrize(
    ("kinds", "period"),
    [((FULL, FULL, FULL), 1), ((FULL, SLIDING, FULL), 2), ((FULL, SLIDING, SLIDING), 3),
     ((SLIDING, FULL, SLIDING), None), ((SLIDING,) * 3, None)],
)  # fmt: skip
def test_kinds_of_layers_survive_a_file_with_and_without_a_period(tmp_path, kinds, period):
    own = replace(CONFIG, layer_types=kinds)
    assert own.kinds == kinds
    assert (own.layer_types is None) == (period is not None)
    model = made(config=own, dtype=np.float32)
    assert [type(b.attention.sublayer).__name__.startswith("Windowed")
            for b in model.bert.encoder.blocks] == [kind == SLIDING for kind in kinds]  # fmt: skip
    model.save_pretrained(tmp_path)
    stated = json.loads((tmp_path / "config.json").read_text())
    assert stated["layer_types"] == list(kinds)
    assert stated.get("global_attn_every_n_layers") == period
    assert m.AutoModelForMaskedLM.from_pretrained(tmp_path, strict=True).config == own
    assert pickle.loads(pickle.dumps(own)) == own
    assert own.with_layers([2, 0]).kinds == (kinds[2], kinds[0])


def test_parts_and_configurations_of_others_are_refused():
    with pytest.raises(TypeError, match="block: leave it out; a ModernBertForMaskedLM has its own"):
        m.ModernBertForMaskedLM(CONFIG, block=lambda config: None)
    with pytest.raises(TypeError, match="config: expected a ModernBertConfig, got BertConfig"):
        m.ModernBertModel(m.BertConfig.preset("tiny", vocab_size=9))
    odd = m.ModernBertConfig.preset("tiny", vocab_size=9, hidden_size=14, num_attention_heads=2)
    with pytest.raises(ValueError, match=r"head_width: expected an even number, .* got 7"):
        m.ModernBertModel(odd)
    with pytest.raises(ValueError, match="position_embedding_type: expected 'absolute', the only"):
        m.ModernBertConfig(position_embedding_type="sinusoidal")


def test_family_class_names_a_missing_class():
    assert family_class("modernbert", "Based").config_class is m.ModernBertConfig
    assert family_class("modernbert", "ForPreTraining", "ForMaskedLM") is m.ModernBertForMaskedLM
    message = "model_type: modernbert has no ModernBertForNextSentencePrediction in minibert"
    with pytest.raises(ValueError, match=message):
        family_class("modernbert", "ForNextSentencePrediction")


def test_embeddings_are_resized():
    model = made()
    before = model(IDS).logits
    model.resize_token_embeddings(V + 2)
    np.testing.assert_allclose(model(IDS).logits[..., :V], before)
    model.resize_position_embeddings(T)
    np.testing.assert_allclose(model(IDS).logits[..., :V], before)
    with pytest.raises(ValueError, match="expected at most 7 tokens a sequence"):
        model(np.ones((1, T + 1), int))
