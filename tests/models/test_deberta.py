"""DeBERTa: its formula, laws, padding, buckets and files."""

import numpy as np
import pytest

import minibert as m
from minibert.functional.families.disentangled import log_buckets
from minibert.models.weights import open_weights
from tests.models.relatives import MASK, SIZES, USES, B, T, V, batch_of, config, made

FAMILY, HEADS = "deberta-v2", 2
TABLE = "bert.encoder.rel_embeddings.weight"
NEW_HEAD = "lm_predictions.lm_head."
SELF = "bert.encoder.layer.0.attention.self."


def bucket_of(distance, middle=3, farthest=17):
    """Return the bucket of a distance by the formula, for 2m = 6 buckets in each direction."""
    n = abs(distance)
    if n <= middle:
        return distance
    steps = (middle - 1) * np.log(n / middle) / np.log((farthest - 1) / middle)
    return int(np.sign(distance)) * (middle + int(np.ceil(steps - 1e-6)))


def test_attention_weights_are_those_of_the_formula():
    """Of the first block, token by token, with a norm of the table and buckets."""
    model, ids = made(FAMILY), np.arange(2, 14)[None]
    out = model(ids, output_attentions=True, output_hidden_states=True)
    p, x = model.params, out.hidden_states[0][0]
    rows = p[TABLE] - p[TABLE].mean(1, keepdims=True)
    rows = rows / np.sqrt((rows**2).mean(1, keepdims=True) + 1e-7)
    rows = rows * p["bert.encoder.LayerNorm.weight"] + p["bert.encoder.LayerNorm.bias"]

    def heads(role, vectors):
        mapped = vectors @ p[f"{SELF}{role}.weight"].T + p[f"{SELF}{role}.bias"]
        return mapped.reshape(len(vectors), HEADS, -1)

    query, key, query_at, key_at = (
        heads(role, vectors) for vectors in (x, rows) for role in ("query", "key")
    )
    scores = np.empty((HEADS, 12, 12))
    for i in range(12):
        for j in range(12):
            row = min(max(6 + bucket_of(i - j), 0), 11)
            for k in range(HEADS):
                scores[k, i, j] = query[i, k] @ key[j, k]
                scores[k, i, j] += query[i, k] @ key_at[row, k] + key[j, k] @ query_at[row, k]
    expected = np.exp(scores / np.sqrt(3 * 12))
    expected /= expected.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(out.attentions[0][0], expected, rtol=1e-9, atol=1e-12)


def test_a_deberta_without_distances_is_a_bert():
    plain = {"relative_attention": False, "norm_rel_ebd": "none", "pos_att_type": ()}
    model = made(FAMILY, position_biased_input=True, type_vocab_size=2, **plain)
    sizes = {name: value for name, value in SIZES.items() if name != "id2label"}
    sizes |= {"num_attention_heads": HEADS, "layer_norm_eps": 1e-7}
    bert = m.BertForMaskedLM(m.BertConfig(**sizes), dtype=np.float64)
    for name, array in bert.params.items():
        array[:] = model.params[name]
    batch = batch_of(FAMILY)
    np.testing.assert_allclose(
        model(**batch).logits[MASK == 1], bert(**batch).logits[MASK == 1], rtol=1e-10, atol=1e-11
    )


@pytest.mark.parametrize("shared", [True, False])
def test_a_table_of_zeros_divides_the_scores_by_the_root_of_three(shared):
    model = made(FAMILY, norm_rel_ebd="none", share_att_key=shared)
    model.params[TABLE][:] = 0
    for name, array in model.params.items():
        if name.endswith(("query.bias", "key.bias")):
            array[:] = 0
    plain = {"relative_attention": False, "norm_rel_ebd": "none"}
    other = made(FAMILY, **plain)  # counts the same terms, and adds none
    for name, array in other.params.items():
        array[:] = model.params[name]
    batch = batch_of(FAMILY)
    expected = other(**batch).logits
    np.testing.assert_allclose(model(**batch).logits, expected, rtol=1e-10, atol=1e-11)
    none = made(FAMILY, **plain, pos_att_type=())
    none.params.vector[:] = other.params.vector
    for name, array in none.params.items():
        if name.endswith("attention.self.query.weight"):
            array /= np.sqrt(3)
    np.testing.assert_allclose(none(**batch).logits, expected, rtol=1e-10, atol=1e-11)


def test_texts_may_begin_anywhere():
    """Without positions in the embeddings, padding in front changes nothing."""
    model = made(FAMILY)
    ids = np.arange(2, 11)[None]
    expected = model(ids).logits
    front = np.pad(ids, ((0, 0), (4, 0)))
    mask = np.pad(np.ones_like(ids), ((0, 0), (4, 0)))
    moved = model(front, attention_mask=mask).logits[:, 4:]
    np.testing.assert_allclose(moved, expected, rtol=1e-10, atol=1e-11)


def test_order_counts_by_distances_alone():
    """Reversed tokens have the reversed output only if the table is its own mirror image."""
    model = made(FAMILY, norm_rel_ebd="none", position_buckets=-1)
    table = model.params[TABLE]  # of distances from -S to S - 1
    ids = np.arange(2, 11)[None]
    turned = model(ids[:, ::-1]).logits[:, ::-1]
    assert np.abs(model(ids).logits - turned).max() > 1e-3
    table[1:] += table[:0:-1].copy()  # row S + d is row S - d
    turned = model(ids[:, ::-1]).logits[:, ::-1]
    np.testing.assert_allclose(model(ids).logits, turned, rtol=1e-10, atol=1e-11)


def test_padding_reads_all_tokens_equally_and_begins_as_zero():
    """As in transformers; it counts in the loss of answers alone."""
    model, batch = made(FAMILY, "Model"), batch_of(FAMILY)
    for weights in model(**batch, output_attentions=True).attentions:
        rows = weights.swapaxes(1, 2)  # (B, K, T, T) -> (B, T, K, T)
        np.testing.assert_allclose(rows[MASK == 0], 1 / T, rtol=1e-12)
        assert rows[0, 0][:, MASK[0] == 0].max() == 0  # a token does not read padding
    other = {**batch, "input_ids": np.where(MASK, batch["input_ids"], 5)}
    np.testing.assert_array_equal(
        model(**batch).last_hidden_state, model(**other).last_hidden_state
    )


def test_buckets_are_odd_monotone_and_the_formula_in_places():
    distances = np.arange(-300, 301)
    buckets = log_buckets(distances, 64, 300)
    np.testing.assert_array_equal(buckets, -buckets[::-1])
    assert (np.diff(buckets) >= 0).all()
    np.testing.assert_array_equal(buckets[300 - 32 : 300 + 33], distances[300 - 32 : 300 + 33])
    for d in (33, -40, 100, 250, -299):
        assert buckets[300 + d] == bucket_of(d, 32, 300)
    assert buckets[300 + 299] == 63


def test_only_the_rows_of_distances_that_occur_get_a_gradient():
    model = made(FAMILY, position_buckets=-1)
    _, grads = model.loss_and_grads({"input_ids": [[3, 5, 7, 9]]}, [[-100, 4, -100, 8]])
    rows = np.flatnonzero(np.abs(grads[TABLE]).max(axis=1))
    span = model.config.span
    np.testing.assert_array_equal(rows, np.arange(span - 3, span + 4))


def test_fewer_positions_keep_the_distances():
    model = made(FAMILY)
    ids = np.arange(2, 11)[None]
    before = model(ids).logits
    model.resize_position_embeddings(9)
    assert (model.config.longest, model.config.farthest) == (9, 17)
    np.testing.assert_array_equal(model(ids).logits, before)


def test_both_heads_of_a_file_are_read_and_the_stated_one_is_written(tmp_path):
    legacy, new = (made(FAMILY, dtype=np.float32, legacy=legacy) for legacy in (True, False))
    for model, front in ((legacy, "cls.predictions."), (new, NEW_HEAD)):
        folder = tmp_path / front
        model.save_pretrained(folder)
        with open_weights(folder) as tensors:
            heads = {n for n in tensors if n.startswith(("cls.", "lm_predictions."))}
        assert {name.startswith(front) for name in heads} == {True}
        assert len(heads) == 5
        back = m.DebertaV2ForMaskedLM.from_pretrained(folder, strict=True)
        np.testing.assert_array_equal(back.params.vector, model.params.vector)
        assert back.config.legacy == model.config.legacy
        other = m.DebertaV2ForMaskedLM.from_pretrained(
            folder, strict=True, legacy=not model.config.legacy
        )
        np.testing.assert_array_equal(other.params.vector, model.params.vector)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position_buckets": 8}, r"rel_embeddings.weight: expected the shape \(16, 24\) from"),
        ({"share_att_key": False}, r"lacks 12 arrays of .*attention.self.relative_key.weight"),
    ],
)
def test_tables_of_another_size_are_refused_in_one_line(tmp_path, changes, message):
    made(FAMILY, dtype=np.float32).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(
        config(FAMILY, **changes).to_json(architectures=["DebertaV2ForMaskedLM"])
    )
    with pytest.raises(ValueError, match=message) as caught:
        m.DebertaV2ForMaskedLM.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_old_files_state_the_terms_as_text():
    """The config.json of deberta-v3-base."""
    fields = {
        "model_type": FAMILY, "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02,
        "intermediate_size": 3072, "max_position_embeddings": 512, "relative_attention": True,
        "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True,
        "pos_att_type": "p2c|c2p", "layer_norm_eps": 1e-7, "max_relative_positions": -1,
        "position_biased_input": False, "num_attention_heads": 12, "num_hidden_layers": 12,
        "type_vocab_size": 0, "vocab_size": 128100, "pooler_dropout": 0,
        "pooler_hidden_act": "gelu", "pooler_hidden_size": 768,
    }  # fmt: skip
    read = m.AutoConfig.from_dict(fields)
    assert read.pos_att_type == ("p2c", "c2p")
    assert (read.span, read.farthest, read.embedding_size, read.legacy) == (256, 512, None, True)
    assert m.DebertaV2Config(pos_att_type="c2p").pos_att_type == ("c2p",)
    assert "embedding_size" not in read.to_dict()


def test_answers_count_padding_as_transformers_does():
    """Other padding ids change no logit, because padding is zero; more padding changes the loss."""
    model, labels = made(FAMILY, "ForQuestionAnswering"), USES["ForQuestionAnswering"][1]
    batch = batch_of(FAMILY)
    loss, _ = model.loss_and_grads(batch, labels)
    same, _ = model.loss_and_grads(
        {**batch, "input_ids": np.where(MASK, batch["input_ids"], V - 1)}, labels
    )
    assert same == loss
    longer = {name: np.pad(array, ((0, 0), (0, 2))) for name, array in batch.items()}
    assert model.loss_and_grads(longer, labels)[0] > loss
    assert len(batch["input_ids"]) == B
