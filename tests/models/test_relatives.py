"""BERT's relatives: their formulas, laws, files, and the ways to run them."""

import copy
import json
import logging
import pickle
from dataclasses import replace

import numpy as np
import pytest

import minibert as m
from minibert.functional.relative import relative_buckets
from minibert.layers import Site
from minibert.models.auto import class_for
from minibert.models.checkpoints import read_config
from minibert.models.table import FAMILIES, bert_names, family_class, family_of, model_class
from minibert.models.unpadded import hidden_states_of, logits_of, runs_unpadded
from minibert.models.weights import open_weights
from minibert.training import AdamW, Engine, split_batch
from tests.models.relatives import (
    CASES,
    IDS,
    MASK,
    RELATIVES,
    SIZES,
    USES,
    B,
    T,
    V,
    batch_of,
    config,
    made,
    use_of,
)
from tests.style import ROOT, code_lines

each_family = pytest.mark.parametrize("family", RELATIVES)
# The other two families compute as RoBERTa does; tests of parity run them all.
COMPUTED = ["distilbert", "roberta", "electra", "mpnet", "albert", "deberta-v2", "modernbert"]
each_case = pytest.mark.parametrize(
    ("family", "use"), [case for case in CASES if case[0] in COMPUTED]
)
computed_family = pytest.mark.parametrize("family", COMPUTED)
TABLE = "bert.embeddings.word_embeddings.weight"
FOUR = {n: a[1:2, :4] for n, a in batch_of("roberta").items()}  # a text without padding


# Classes.


@each_family
def test_a_family_is_one_short_file_that_begins_with_its_differences(family):
    path = ROOT / (FAMILIES[family].module.replace(".", "/") + ".py")
    source = path.read_text("utf-8")
    assert len(code_lines(source)) <= 150
    assert "\nDifferences from " in source[:300]


@each_family
def test_classes_extend_those_of_bert_and_have_their_names(family):
    front, uses = FAMILIES[family].front, FAMILIES[family].uses
    for use in uses:
        kind = getattr(m, front + use)
        assert kind.__name__ == front + use
        assert kind.config_class is getattr(m, front + "Config")
        assert kind.config_class.model_type == family
        if use not in ("Model", "ForPreTraining"):
            assert issubclass(kind, model_class(f"Bert{use}"))
    assert not issubclass(m.ElectraForPreTraining, m.BertForMaskedLM)


def test_pickles_and_copies_compute_the_same():
    for family in COMPUTED:
        model, batch = made(family), batch_of(family)
        expected = model(**batch).logits
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            np.testing.assert_array_equal(other(**batch).logits, expected)
            assert other.config == model.config
        assert model.astype(np.float32)(**batch).logits.dtype == np.float32


@computed_family
def test_parts_and_configurations_of_others_are_refused(family):
    kind = family_class(family, "ForMaskedLM")
    with pytest.raises(TypeError, match=r"block: leave it out; a .*ForMaskedLM has its own"):
        kind(config(family), block=lambda config: None)
    with pytest.raises(TypeError, match=r"config: expected a \w+Config, got BertConfig"):
        kind(m.BertConfig.preset("tiny", vocab_size=9))
    with pytest.raises(TypeError, match="expected a XLMRobertaConfig, got RobertaConfig"):
        m.XLMRobertaModel(config("roberta"))


# Laws.


def copied(model, other):
    """Copy the parameters of a model into another one with more of them; the rest is zero."""
    other.params.vector[:] = 0
    for name, array in other.params.items():
        if name in model.params:
            array[: len(model.params[name])] = model.params[name]
    return other


def bert_like(model, **changes):
    """Return a masked-LM BERT with the parameters of a relative, as far as it has them."""
    sizes = {name: value for name, value in SIZES.items() if name != "id2label"}
    return copied(model, m.BertForMaskedLM(m.BertConfig(**{**sizes, **changes}), dtype=np.float64))


def test_distilbert_is_a_bert_whose_segments_are_zero():
    model, batch = made("distilbert"), batch_of("distilbert")
    expected = bert_like(model)(**batch).logits
    np.testing.assert_allclose(model(**batch).logits, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert"])
def test_roberta_is_a_bert_whose_positions_begin_later(family):
    model = made(family, layer_norm_eps=1e-5)
    first = model.config.pad_token_id + 1
    other = bert_like(model, layer_norm_eps=1e-5, pad_token_id=1)
    table = "bert.embeddings.position_embeddings.weight"
    other.params[table][:-first] = model.params[table][first:]
    expected = other(**FOUR).logits
    np.testing.assert_allclose(model(**FOUR).logits, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("family", ["roberta", "mpnet"])
def test_positions_count_the_ids_that_are_not_padding_whatever_the_mask_says(family):
    """A padding id inside a text takes no position, and a hidden token takes one."""
    model = made(family)
    front = np.pad(FOUR["input_ids"], ((0, 0), (3, 0)), constant_values=1)
    mask = np.pad(FOUR["attention_mask"], ((0, 0), (3, 0)))
    moved = model(front, attention_mask=mask).logits[:, 3:]
    expected = model(FOUR["input_ids"]).logits
    if family == "roberta":  # an MPNet also has distances, which stay the same
        np.testing.assert_allclose(moved, expected, rtol=1e-12, atol=1e-13)
    inside = FOUR["input_ids"].copy()
    inside[0, 1] = 1
    numbers = model.bert.embeddings.added[0].numbers(inside, None)
    assert numbers.tolist() == [[2, 1, 3, 4]]
    # The padding id is computed like any token if the mask does not hide it.
    assert np.abs(model(inside).logits[0, 2:] - expected[0, 2:]).max() > 1e-3
    hidden = model(FOUR["input_ids"], attention_mask=[[1, 0, 1, 1]]).logits
    renumbered = model(inside, attention_mask=[[1, 0, 1, 1]]).logits
    assert np.abs(hidden[0, 2:] - renumbered[0, 2:]).max() > 1e-3


def test_electra_with_tables_of_the_full_width_is_a_bert():
    model, batch = made("electra", embedding_size=24), batch_of("electra")
    assert not any("project" in name for name in model.params)
    expected = bert_like(model)(**batch).logits
    np.testing.assert_allclose(model(**batch).logits, expected, rtol=1e-12, atol=1e-13)


def test_electra_with_narrow_tables_is_a_bert_after_its_projection():
    """Hidden state 0 is the product of the normalized sum and the projection."""
    model = made("electra", "Model")
    params, E = model.params, 10
    x = params["embeddings.word_embeddings.weight"][IDS[1, :4]]
    x = x + params["embeddings.position_embeddings.weight"][:4]
    x = x + params["embeddings.token_type_embeddings.weight"][0]
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12)
    x = x * params["embeddings.LayerNorm.weight"] + params["embeddings.LayerNorm.bias"]
    assert x.shape == (4, E)
    expected = x @ params["embeddings.project.weight"].T + params["embeddings.project.bias"]
    state = model(IDS[1:2, :4], output_hidden_states=True).hidden_states[0]
    np.testing.assert_allclose(state[0], expected, rtol=1e-10, atol=1e-12)


def test_mpnet_without_its_bias_is_a_roberta_without_segments():
    model, batch = made("mpnet"), batch_of("mpnet")
    bias = model.params["bert.encoder.relative_attention_bias.weight"]
    other = copied(model, m.RobertaForMaskedLM(config("roberta"), dtype=np.float64))
    del batch["token_type_ids"]
    assert np.abs(model(**batch).logits - other(**batch).logits).max() > 1e-3
    bias[:] = [3.0, -2.0, 0.5]  # which is added to all scores of a query
    expected = other(**batch).logits
    np.testing.assert_allclose(model(**batch).logits, expected, rtol=1e-10, atol=1e-11)


def test_attention_weights_of_an_mpnet_are_multiplied_by_exp_of_the_bias():
    """In the first block: log-weights differ by the bias of distance j - i, up to a row's sum."""
    model = made("mpnet")
    other = copied(model, m.RobertaForMaskedLM(config("roberta"), dtype=np.float64))
    table = model.params["bert.encoder.relative_attention_bias.weight"]
    ids = np.arange(2, 14)[None]  # distances up to 11: 8 to 11 share a bucket
    own, plain = (
        np.log(each(ids, output_attentions=True).attentions[0][0]) for each in (model, other)
    )
    expected = np.empty_like(own)
    for i in range(12):
        for j in range(12):
            bucket = min(abs(i - j), 8) + 16 * (j > i)
            expected[:, i, j] = table[bucket]
    difference = own - plain - expected  # (K, T, T), the same for all keys of a query
    np.testing.assert_allclose(difference, difference[:, :, :1] + np.zeros(12), atol=1e-10)


def test_buckets_are_symmetric_monotone_and_the_formula_in_places():
    length = 700
    buckets = relative_buckets(length)
    for i, j in ((0, 0), (5, 400), (400, 5), (300, 299), (10, 26), (600, 0)):
        n = abs(j - i)
        b = n if n < 8 else min(8 + int(8 * np.log(n / 8) / np.log(16) + 1e-6), 15)
        assert buckets[i, j] == b + 16 * (j > i)
    later, earlier = buckets[0, 1:], buckets[1:, 0]
    np.testing.assert_array_equal(later, earlier + 16)
    assert (np.diff(earlier) >= 0).all()
    assert {*earlier} == set(range(1, 16))
    assert earlier[126] == earlier[-1] == 15
    np.testing.assert_array_equal(buckets[:50, :50], relative_buckets(50))


@computed_family
def test_padding_changes_nothing(family):
    model, batch = made(family), batch_of(family)
    padded = model(**batch).logits
    for i in (1, 2):  # padded at the end alone
        own = {n: a[i : i + 1, : MASK[i].sum()] for n, a in batch.items()}
        alone = model(**own).logits[0]
        np.testing.assert_allclose(padded[i, MASK[i] == 1], alone, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("family", ["distilbert", "mpnet", "deberta-v2"])
def test_segments_are_ignored_without_a_table_of_them(family):
    model, types = made(family), (np.arange(T) > 3).astype(int)[None].repeat(B, 0)
    assert not any("token_type" in name for name in model.params)
    ids = batch_of(family)["input_ids"]
    np.testing.assert_array_equal(model(ids, types).logits, model(ids).logits)


def test_a_roberta_of_one_segment_refuses_a_second_one():
    model = made("roberta", type_vocab_size=1)
    with pytest.raises(ValueError, match="token_type_ids: expected integers from 0 to 0, got 1"):
        model([[0, 5, 6, 2]], [[0, 0, 1, 1]])


@pytest.mark.parametrize("family", RELATIVES)
def test_longest_text_has_as_many_tokens_as_positions_allow(family):
    model = made(family)
    longest = model.config.longest
    counts_ids = family not in ("distilbert", "electra", "albert", "deberta-v2", "modernbert")
    assert longest == 17 - 2 * counts_ids
    assert np.isfinite(model(np.full((1, longest), 5)).logits).all()
    with pytest.raises(ValueError, match=f"input_ids: expected at most {longest} tokens"):
        model(np.full((1, longest + 1), 5))
    model.resize_position_embeddings(9)
    assert model.config.longest == 9 - 2 * counts_ids


def test_distilbert_has_no_dropout_after_attention():
    model = made("distilbert", attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.5)
    x = np.random.default_rng(3).normal(size=(2, 5, 24))
    scope, site = model.params.scope("bert.encoder.layer.0."), Site(np.arange(5))
    block = model.bert.encoder.blocks[0]

    def outs(half):
        return [half.forward(scope, x, site, rng)[0] for rng in (None, np.random.default_rng(4))]

    np.testing.assert_array_equal(*outs(block.attention))
    assert np.abs(np.subtract(*outs(block.feed_forward))).max() > 0.1


@pytest.mark.parametrize("family", ["roberta", "electra", "mpnet"])
def test_the_masked_lm_head_has_exact_gelu_whatever_the_encoder_has(family):
    """With the encoder's first maps at zero, `hidden_act` has no other effect."""
    logits = []
    for activation in ("gelu", "relu"):
        model = made(family, hidden_act=activation)
        for name, array in model.params.items():
            if "intermediate.dense" in name:
                array[:] = 0
        logits.append(model(**batch_of(family)).logits)
    np.testing.assert_array_equal(*logits)


def test_padding_does_not_count_for_the_discriminator():
    model, batch = made("electra", "ForPreTraining"), batch_of("electra")
    labels = IDS % 2
    expected, grads = model.loss_and_grads(batch, np.where(MASK, labels, -100))
    assert model(**batch, labels=labels).loss == pytest.approx(expected, rel=1e-12)
    _, other = model.loss_and_grads(batch, labels)
    np.testing.assert_array_equal(other.vector, grads.vector)
    s = model(**batch).logits
    each = np.log1p(np.exp(-np.where(labels == 1, s, -s)))
    assert expected == pytest.approx(each[MASK == 1].mean(), rel=1e-12)


# The ways to run them.


@each_case
def test_loss_of_training_equals_that_of_a_call(family, use):
    model, batch, labels = made(family, use), batch_of(family, use), use_of(family, use)[1]
    loss, grads = model.loss_and_grads(batch, labels)  # which trims the last block
    given = labels if isinstance(labels, dict) else {"labels": labels}
    assert loss == pytest.approx(model(**batch, **given).loss, rel=1e-12)
    assert np.isfinite(grads.vector).all()


@computed_family
def test_gradient_along_a_direction_is_that_of_the_loss(family):
    model, batch, labels = made(family), batch_of(family), USES["ForMaskedLM"][1]
    rng = np.random.default_rng(9)
    direction = rng.normal(size=model.params.vector.shape)
    _, grads = model.loss_and_grads(batch, labels, np.random.default_rng(5))
    start, losses = model.params.vector.copy(), []
    for step in (1e-5, -1e-5):
        model.params.vector[:] = start + step * direction
        losses.append(model.loss_and_grads(batch, labels, np.random.default_rng(5))[0])
    numeric = (losses[0] - losses[1]) / 2e-5
    assert grads.vector @ direction == pytest.approx(numeric, rel=1e-6)


def step_of(family, threads=1, recomputed=False, frozen=None):
    """Return the losses and the model after two steps of four shards, with dropout."""
    model = made(family, dtype=np.float32)
    if recomputed:
        model.gradient_checkpointing_enable()
    model.freeze(frozen)
    engine = Engine(model, AdamW(model.params, weight_decay=0.0), threads=threads)
    with engine.running():
        losses = [
            engine.step(split_batch(batch_of(family), USES["ForMaskedLM"][1], 4), 1e-2).loss
            for _ in range(2)
        ]
    return losses, model


@computed_family
def test_threads_and_recomputation_change_no_bit(family):
    losses, one = step_of(family)
    again, other = step_of(family, threads=4, recomputed=True)
    assert again == losses
    np.testing.assert_array_equal(other.params.vector, one.params.vector)


@computed_family
def test_frozen_parameters_stay(family):
    _, model = step_of(family, frozen=2)
    before = made(family, dtype=np.float32).params
    same = {n for n, array in model.params.items() if np.array_equal(array, before[n])}
    last = f"bert.encoder.layer.{'1.0' if family == 'albert' else 2}."
    above = ["cls.", last]
    if family == "modernbert":  # whose encoder ends with a norm; a DeBERTa's is of the distances
        above.append("bert.encoder.LayerNorm.")
    assert same == {n for n in model.params if not n.startswith(tuple(above))}


@computed_family
@pytest.mark.parametrize("trims", [False, True])
def test_unpadded_prediction_equals_each_batch_alone(family, trims):
    model, rng = made(family, "Model"), np.random.default_rng(6)
    # The bias of distances belongs to pairs of tokens of a batch.
    assert runs_unpadded(model) == (family not in ("mpnet", "deberta-v2"))
    shapes = [(2, 7), (1, 6), (4, 3)]
    batches = [model.check(rng.integers(2, V, shape)) for shape in shapes]
    rows = [np.zeros((b, 1), np.int64) for b, _ in shapes] if trims else None
    found = hidden_states_of(model, batches, {0, 1, 3}, rows)
    for i, (batch, states) in enumerate(zip(batches, found, strict=True)):
        alone = model.hidden_states(batch, {0, 1, 3}, None if rows is None else rows[i])
        for number, x in alone.items():
            np.testing.assert_allclose(states[number], x, rtol=1e-9, atol=1e-11)
    classifier = made(family, "ForSequenceClassification")
    logits = logits_of(classifier, [{"input_ids": batch.input_ids} for batch in batches])
    for batch, own in zip(batches, logits, strict=True):
        expected = classifier(batch.input_ids).logits
        np.testing.assert_allclose(own, expected, rtol=1e-9, atol=1e-11)


@computed_family
def test_embeddings_are_resized(family):
    model, batch = made(family), batch_of(family)
    before = model(**batch).logits
    model.resize_token_embeddings(V + 2)
    model.resize_position_embeddings(15)
    np.testing.assert_allclose(model(**batch).logits[..., :V], before)
    assert model.params.shapes == model.shapes()


# Files.

LAYER = "bert.encoder.layer.1."
GROUP = "albert.encoder.albert_layer_groups.1.albert_layers.0."
# Names in memory, and in files.
NAMES = {
    "distilbert": {
        TABLE: "distilbert.embeddings.word_embeddings.weight",
        f"{LAYER}attention.self.key.bias": "distilbert.transformer.layer.1.attention.k_lin.bias",
        f"{LAYER}attention.output.dense.weight":
            "distilbert.transformer.layer.1.attention.out_lin.weight",
        f"{LAYER}attention.output.LayerNorm.bias":
            "distilbert.transformer.layer.1.sa_layer_norm.bias",
        f"{LAYER}intermediate.dense.weight": "distilbert.transformer.layer.1.ffn.lin1.weight",
        f"{LAYER}output.dense.weight": "distilbert.transformer.layer.1.ffn.lin2.weight",
        f"{LAYER}output.LayerNorm.weight":
            "distilbert.transformer.layer.1.output_layer_norm.weight",
        "cls.predictions.transform.dense.weight": "vocab_transform.weight",
        "cls.predictions.transform.LayerNorm.weight": "vocab_layer_norm.weight",
        "cls.predictions.bias": "vocab_projector.bias",
    },
    "roberta": {
        TABLE: "roberta.embeddings.word_embeddings.weight",
        f"{LAYER}attention.self.key.bias": "roberta.encoder.layer.1.attention.self.key.bias",
        "cls.predictions.transform.dense.weight": "lm_head.dense.weight",
        "cls.predictions.transform.LayerNorm.weight": "lm_head.layer_norm.weight",
        "cls.predictions.bias": "lm_head.bias",
    },
    "electra": {
        "bert.embeddings.project.weight": "electra.embeddings_project.weight",
        f"{LAYER}attention.self.key.bias": "electra.encoder.layer.1.attention.self.key.bias",
        "cls.predictions.transform.dense.weight": "generator_predictions.dense.weight",
        "cls.predictions.transform.LayerNorm.bias": "generator_predictions.LayerNorm.bias",
        "cls.predictions.bias": "generator_lm_head.bias",
    },
    "mpnet": {
        "bert.encoder.relative_attention_bias.weight":
            "mpnet.encoder.relative_attention_bias.weight",
        f"{LAYER}attention.self.query.weight": "mpnet.encoder.layer.1.attention.attn.q.weight",
        f"{LAYER}attention.output.dense.bias": "mpnet.encoder.layer.1.attention.attn.o.bias",
        f"{LAYER}attention.output.LayerNorm.bias": "mpnet.encoder.layer.1.attention.LayerNorm.bias",
        f"{LAYER}intermediate.dense.bias": "mpnet.encoder.layer.1.intermediate.dense.bias",
        "cls.predictions.bias": "lm_head.bias",
    },
    "albert": {
        "bert.embeddings.project.weight": "albert.encoder.embedding_hidden_mapping_in.weight",
        "bert.encoder.layer.1.0.attention.self.key.bias": f"{GROUP}attention.key.bias",
        "bert.encoder.layer.1.0.attention.output.dense.weight": f"{GROUP}attention.dense.weight",
        "bert.encoder.layer.1.0.attention.output.LayerNorm.bias":
            f"{GROUP}attention.LayerNorm.bias",
        "bert.encoder.layer.1.0.intermediate.dense.bias": f"{GROUP}ffn.bias",
        "bert.encoder.layer.1.0.output.dense.bias": f"{GROUP}ffn_output.bias",
        "bert.encoder.layer.1.0.output.LayerNorm.weight": f"{GROUP}full_layer_layer_norm.weight",
        "cls.predictions.transform.dense.weight": "predictions.dense.weight",
        "cls.predictions.transform.LayerNorm.bias": "predictions.LayerNorm.bias",
        "cls.predictions.bias": "predictions.bias",
    },
    "deberta-v2": {
        TABLE: "deberta.embeddings.word_embeddings.weight",
        "bert.encoder.rel_embeddings.weight": "deberta.encoder.rel_embeddings.weight",
        "bert.encoder.LayerNorm.weight": "deberta.encoder.LayerNorm.weight",
        f"{LAYER}attention.self.query.weight":
            "deberta.encoder.layer.1.attention.self.query_proj.weight",
        f"{LAYER}attention.self.value.bias":
            "deberta.encoder.layer.1.attention.self.value_proj.bias",
        f"{LAYER}attention.output.dense.bias":
            "deberta.encoder.layer.1.attention.output.dense.bias",
        "cls.predictions.transform.dense.weight": "cls.predictions.transform.dense.weight",
    },
    "modernbert": {
        TABLE: "model.embeddings.tok_embeddings.weight",
        f"{LAYER}attention.output.dense.weight": "model.layers.1.attn.Wo.weight",
        f"{LAYER}intermediate.LayerNorm.weight": "model.layers.1.mlp_norm.weight",
        f"{LAYER}output.dense.weight": "model.layers.1.mlp.Wo.weight",
        "cls.predictions.transform.dense.weight": "head.dense.weight",
        "cls.predictions.bias": "decoder.bias",
    },
}  # fmt: skip


@computed_family
def test_saved_names_are_those_of_transformers(tmp_path, family):
    model = made(family, dtype=np.float32)
    model.save_pretrained(tmp_path)
    with open_weights(tmp_path) as tensors:
        stacked = 3 * 3 if family == "modernbert" else 0  # query with key and value, and the gate
        assert len(tensors) == len(model.params) - stacked
        for ours, theirs in NAMES[family].items():
            np.testing.assert_array_equal(tensors[theirs].read(), model.params[ours])


@each_case
def test_saved_model_is_loaded_bitwise_and_its_body_alone(tmp_path, family, use):
    model = made(family, use, np.float32)
    model.save_pretrained(tmp_path)
    back = type(model).from_pretrained(tmp_path, strict=True)
    np.testing.assert_array_equal(back.params.vector, model.params.vector)
    assert back.config == model.config == read_config(tmp_path)
    body = m.AutoModel.from_pretrained(tmp_path)
    assert type(body).__name__ == f"{FAMILIES[family].front}Model"
    for name, array in body.params.items():
        if not name.startswith("pooler."):
            np.testing.assert_array_equal(array, model.params[f"bert.{name}"])
    body.save_pretrained(tmp_path / "body")
    with open_weights(tmp_path / "body") as tensors:
        assert not any(name.startswith(model.file_names.prefix) for name in tensors)
    again = type(body).from_pretrained(tmp_path / "body", strict=True)
    np.testing.assert_array_equal(again.params.vector, body.params.vector)


@each_family
def test_head_that_a_body_lacks_is_newly_initialized(tmp_path, family, caplog):
    made(family, "Model", np.float32).save_pretrained(tmp_path)
    for use in FAMILIES[family].uses[1:]:
        kind = model_class(FAMILIES[family].front + use)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "minibert"):
            changes = use_of(family, use)[0]
            kind.from_pretrained(tmp_path, **changes)
        assert "newly initialized" in caplog.text
        with pytest.raises(ValueError, match=f"lacks .* arrays of {kind.__name__}"):
            kind.from_pretrained(tmp_path, strict=True, **changes)


@computed_family
def test_tied_decoder_in_a_file_must_equal_the_table(tmp_path, family):
    from safetensors.numpy import load_file, save_file

    model = made(family, dtype=np.float32)
    model.save_pretrained(tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    decoder = {"distilbert": "vocab_projector", "electra": "generator_lm_head",
               "albert": "predictions.decoder", "modernbert": "decoder",
               "deberta-v2": "cls.predictions.decoder"}  # fmt: skip
    name = f"{decoder.get(family, 'lm_head.decoder')}.weight"
    save_file({**arrays, name: model.params[TABLE]}, tmp_path / "model.safetensors")
    type(model).from_pretrained(tmp_path, strict=True)
    save_file({**arrays, name: model.params[TABLE] + 1}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=f"{name}: .* an untied decoder is not supported"):
        type(model).from_pretrained(tmp_path)


def test_bias_of_an_old_decoder_and_buffers_are_read(tmp_path):
    from safetensors.numpy import load_file, save_file

    model = made("roberta", dtype=np.float32)
    model.save_pretrained(tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    arrays["lm_head.decoder.bias"] = arrays.pop("lm_head.bias")
    arrays["roberta.embeddings.position_ids"] = np.arange(17)[None]
    save_file(arrays, tmp_path / "model.safetensors")
    back = m.RobertaForMaskedLM.from_pretrained(tmp_path, strict=True)
    np.testing.assert_array_equal(back.params.vector, model.params.vector)


# Configurations.


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("distilbert", {"dim": 25, "hidden_size": 24}, "dim: expected 24 as in hidden_size"),
        ("distilbert", {"n_heads": 5}, "hidden_size 24 is not a multiple of num_attention_heads 5"),
        ("distilbert", {"activation": "silu"}, "hidden_act: expected one of gelu"),
        ("distilbert", {"qa_dropout": 1}, "qa_dropout: expected a number from 0 to below 1"),
        ("roberta", {"max_position_embeddings": 2}, "expected at least 3, because positions begin"),
        ("roberta", {"pad_token_id": 16}, "max_position_embeddings: expected at least 18"),
        ("roberta", {"position_embedding_type": "relative_key"}, "expected 'absolute', got 'rel"),
        ("roberta", {"is_decoder": True}, "is_decoder: expected false, an encoder, got True"),
        ("electra", {"embedding_size": 0}, "embedding_size: expected a whole number of at least 1"),
        ("electra", {"summary_type": "last"}, "summary_type: expected 'first', got 'last'"),
        ("electra", {"summary_last_dropout": "a"}, "summary_last_dropout: expected a number"),
        ("mpnet", {"pad_token_id": 0}, "pad_token_id: expected 1, got 0"),
        ("mpnet", {"relative_attention_num_buckets": 16}, "num_buckets: expected 32, got 16"),
        ("deberta-v2", {"conv_kernel_size": 3}, "conv_kernel_size: expected 0, got 3"),
        ("deberta-v2", {"pos_att_type": "p2p|c2p"}, "pos_att_type: expected c2p and p2c, got"),
        ("deberta-v2", {"pos_att_type": 3}, "pos_att_type: expected c2p and p2c, got 3"),
        ("deberta-v2", {"position_buckets": 32}, "position_buckets: expected 2 to 31, got 32"),
        ("deberta-v2", {"position_buckets": 1}, "position_buckets: expected 2 to 31, got 1"),
        ("deberta-v2", {"max_relative_positions": 4}, "position_buckets: expected 2 to 5, got 6"),
        ("deberta-v2", {"max_relative_positions": "a"}, "max_relative_positions: expected a whole"),
        ("deberta-v2", {"norm_rel_ebd": "batch"}, r"norm_rel_ebd: expected one of \('none', 'laye"),
        ("deberta-v2", {"relative_attention": False}, r"norm_rel_ebd: expected one of \('none',\)"),
        ("deberta-v2", {"pooler_hidden_act": "silu"}, "pooler_hidden_act: expected one of"),
        ("deberta-v2", {"cls_dropout": 1}, "cls_dropout: expected a number from 0 to below 1"),
        ("deberta-v2", {"type_vocab_size": -1}, "type_vocab_size: expected a whole number of at l"),
        ("deberta-v2", {"embedding_size": 9, "legacy": False}, "legacy: expected true with an emb"),
        ("deberta-v2", {"share_att_key": "false"}, "share_att_key: expected true or false, got 'f"),
        ("deberta-v2", {"embedding_size": 0}, "embedding_size: expected a whole number of at le"),
        ("mpnet", {"model_type": "roberta"}, "model_type: expected one of mpnet, got 'roberta'"),
        ("albert", {"embedding_size": 0}, "embedding_size: expected a whole number of at least 1"),
        ("albert", {"num_hidden_groups": 4}, "expected at most num_hidden_layers 3, got 4"),
        ("albert", {"num_hidden_groups": 0}, "num_hidden_groups: expected a whole number of at l"),
        ("albert", {"inner_group_num": "a"}, "inner_group_num: expected a whole number of at lea"),
        ("albert", {"num_hidden_layers": 10**9}, "expected at most 10,000 blocks, got 1,000,000,"),
        ("albert", {"classifier_dropout_prob": None}, "classifier_dropout: expected a number fr"),
    ],
)  # fmt: skip
def test_config_of_what_is_not_supported_is_refused(family, changes, message):
    with pytest.raises(ValueError, match=message):
        type(config(family)).from_dict({**config(family).to_dict(), **changes})


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("distilbert", {"layer_norm_eps": 0.1}),
        ("distilbert", {"type_vocab_size": 3}),
        ("mpnet", {"classifier_dropout": 0.5}),
        ("roberta", {"position_embedding_type": "sinusoidal"}),
    ],
)
def test_a_field_that_a_file_could_not_state_is_refused(family, changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))}: expected .*, the only value"):
        config(family, **changes)


@each_family
def test_config_survives_a_file_and_has_the_defaults_of_its_family(family):
    own = config(family)
    assert m.AutoConfig.from_dict(json.loads(own.to_json())) == own
    default = m.AutoConfig.from_dict({"model_type": family})
    assert default == type(own)()
    assert pickle.loads(pickle.dumps(own)) == own
    expected = {
        "distilbert": (30522, 768, 6, 0), "roberta": (50265, 768, 12, 1),
        "xlm-roberta": (30522, 768, 12, 1), "camembert": (30522, 768, 12, 1),
        "electra": (30522, 256, 12, 0), "mpnet": (30527, 768, 12, 1),
        "albert": (30000, 4096, 12, 0), "modernbert": (50368, 768, 22, 50283),
        "deberta-v2": (128100, 1536, 24, 0),
    }  # fmt: skip
    found = default.vocab_size, default.hidden_size, default.num_hidden_layers, default.pad_token_id
    assert found == expected[family]


# Auto classes.


@each_family
def test_auto_classes_open_each_use_of_each_family(tmp_path, family):
    front, uses = FAMILIES[family].front, FAMILIES[family].uses
    for use in uses:
        auto = getattr(m, f"AutoModel{use.removeprefix('Model')}")
        assert type(auto.from_config(config(family, **use_of(family, use)[0]))).__name__ == (
            front + use
        )
    model = made(family, "ForSequenceClassification", np.float32)
    model.save_pretrained(tmp_path)
    back = m.AutoModelForSequenceClassification.from_pretrained(tmp_path, strict=True)
    assert type(back) is type(model)
    assert class_for(m.BertForSequenceClassification, tmp_path) is type(model)
    assert m.AutoConfig.from_pretrained(tmp_path) == model.config
    assert family_of(None, [type(model).__name__]) == family
    assert bert_names([type(model).__name__]) == ["BertForSequenceClassification"]
    pre_trained = m.AutoModelForPreTraining.from_config(config(family, id2label=None))
    use = "ForPreTraining" if "ForPreTraining" in uses else "ForMaskedLM"
    assert type(pre_trained).__name__ == front + use


def test_family_of_a_file_without_a_model_type_is_that_of_its_architectures(tmp_path):
    made("electra", dtype=np.float32).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text())
    del fields["model_type"]
    path.write_text(json.dumps(fields))
    assert type(m.AutoModelForMaskedLM.from_pretrained(tmp_path)) is m.ElectraForMaskedLM
    assert m.AutoConfig.from_dict({}) == m.BertConfig()


def test_auto_classes_refuse_in_one_line(tmp_path):
    for name in ("AutoModel", "AutoModelForMaskedLM"):
        with pytest.raises(TypeError, match=rf"{name}: expected {name}.from_pretrained\(folder\)"):
            getattr(m, name)()
    with pytest.raises(ValueError, match=r"model_type: expected one of albert, .*, got 'gpt2'"):
        m.AutoConfig.from_dict({"model_type": "gpt2"})
    message = "model_type: modernbert has no ModernBertForNextSentencePrediction in minibert"
    with pytest.raises(ValueError, match=message):
        family_class("modernbert", "ForNextSentencePrediction")
    made("roberta", dtype=np.float32).save_pretrained(tmp_path)
    message = "expected distilbert for DistilBertForMaskedLM, got roberta; minibert.AutoModel opens"
    with pytest.raises(ValueError, match=message):
        m.DistilBertForMaskedLM.from_pretrained(tmp_path)


def test_class_of_a_caller_is_kept(tmp_path):
    class BertForMaskedLM(m.BertForMaskedLM):
        """A caller's class, which has the name of one in the tables."""

    m.BertForMaskedLM(replace(m.BertConfig.preset("tiny"), vocab_size=9)).save_pretrained(tmp_path)
    assert class_for(BertForMaskedLM, tmp_path) is BertForMaskedLM
