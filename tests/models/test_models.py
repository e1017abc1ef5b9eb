"""What models promise: trimmed and whole agree, parts add up, padding does nothing, and errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
from minibert.functional import cross_entropy_backward, cross_entropy_forward
from minibert.parameters import Parameters
from minibert.proofs import BATCH, CLASS_LABELS, CONFIG, IDS, MASK, MASKED_LABELS, away_from_initial

HEADS = [(BertForMaskedLM, MASKED_LABELS), (BertForSequenceClassification, CLASS_LABELS)]


def away(kind, config=CONFIG, dtype=np.float64):
    params = away_from_initial(Parameters(kind(config).shapes()))
    return kind(config, params=params.astype(dtype))


def test_the_published_parameter_counts():
    for name, expected in (("base", 109_482_240), ("large", 335_141_888)):
        config = BertConfig.preset(name)
        shapes = BertModel(config, params=Parameters({})).shapes()
        assert sum(int(np.prod(shape)) for shape in shapes.values()) == expected


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM, BertForSequenceClassification])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_named_outputs_have_their_shapes_and_dtype(kind, dtype):
    out = away(kind, dtype=dtype)(**BATCH, output_hidden_states=True, output_attentions=True)
    assert [x.shape for x in out.hidden_states] == [(3, 5, 8)] * 3
    assert [x.shape for x in out.attentions] == [(3, 2, 5, 5)] * 2
    arrays = [*out.hidden_states, *out.attentions]
    if kind is BertModel:
        assert out.last_hidden_state.shape == (3, 5, 8)
        assert out.pooler_output.shape == (3, 8)
        arrays += [out.last_hidden_state, out.pooler_output]
    else:
        assert out.logits.shape == ((3, 5, 13) if kind is BertForMaskedLM else (3, 6))
        arrays.append(out.logits)
    assert all(array.dtype == dtype for array in arrays)
    plain = away(kind, dtype=dtype)(**BATCH)
    assert plain.hidden_states is None
    assert plain.attentions is None


@pytest.mark.parametrize(("kind", "labels"), HEADS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_have_the_parameters_dtype_with_dropout(kind, labels, dtype):
    model = away(kind, dtype=dtype)
    _, grads = model.loss_and_grads(BATCH, labels, np.random.default_rng(0))
    assert grads.vector.dtype == dtype
    for part in [model.forward(model.check(**BATCH), None, np.random.default_rng(0))[0]]:
        assert part.dtype == dtype


def full_loss_and_grads(model, labels):
    """The loss of a masked-LM model with the head and the last block at every place."""
    logits, cache = model.forward(model.check(**BATCH))
    loss, loss_cache = cross_entropy_forward(logits.reshape(-1, 13), labels.reshape(-1))
    grads = model.params.zeros_like()
    model.backward(cross_entropy_backward(loss_cache).reshape(logits.shape), cache, grads)
    return loss, grads


def test_masked_places_alone_give_the_loss_and_gradient_of_all_places():
    model = away(BertForMaskedLM)
    loss, grads = model.loss_and_grads(BATCH, MASKED_LABELS)
    whole, whole_grads = full_loss_and_grads(model, MASKED_LABELS)
    assert loss == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(grads.vector, whole_grads.vector, rtol=1e-9, atol=1e-12)


def test_cls_alone_gives_the_logits_of_all_rows():
    model = away(BertForSequenceClassification)
    trimmed = model(**BATCH).logits
    whole = model(**BATCH, output_attentions=True).logits
    np.testing.assert_allclose(trimmed, whole, rtol=1e-12)
    batch = model.check(**BATCH)
    dlogits = np.random.default_rng(0).standard_normal(trimmed.shape)
    vectors = []
    for rows in (None, model.rows_read(batch)):
        _, cache = model.forward(batch, rows)
        grads = model.params.zeros_like()
        model.backward(dlogits, cache, grads)
        vectors.append(grads.vector)
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("kind", "labels"), HEADS)
def test_parts_of_a_batch_add_up(kind, labels):
    model = away(kind)
    loss, grads = model.loss_and_grads(BATCH, labels)
    count = int((labels != -100).sum())
    total, summed = 0.0, None
    for rows in ([0], [1, 2]):
        part = {name: array[rows] for name, array in BATCH.items()}
        value, summed = model.loss_and_grads(part, labels[rows], grads=summed, denominator=count)
        total += value
    assert total == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(summed.vector, grads.vector, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("kind", "labels"), HEADS)
def test_duplicates_change_neither_loss_nor_gradient(kind, labels):
    model = away(kind)
    loss, grads = model.loss_and_grads(BATCH, labels)
    double = {name: np.concatenate([array, array]) for name, array in BATCH.items()}
    again, double_grads = model.loss_and_grads(double, np.concatenate([labels, labels]))
    assert again == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(double_grads.vector, grads.vector, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(("kind", "labels"), HEADS)
def test_the_loss_falls_along_the_negative_gradient(kind, labels):
    model = away(kind)
    loss, grads = model.loss_and_grads(BATCH, labels)
    model.params.vector[:] -= 1e-4 * grads.vector
    expected = loss - 1e-4 * float(grads.vector @ grads.vector)
    assert model.loss_and_grads(BATCH, labels)[0] == pytest.approx(expected, abs=1e-6)


def test_gradients_accumulate_and_nothing_given_is_written_to():
    model = away(BertForMaskedLM)
    before = {name: array.copy() for name, array in BATCH.items()}
    weights, labels = model.params.vector.copy(), MASKED_LABELS.copy()
    _, grads = model.loss_and_grads(BATCH, labels)
    once = grads.vector.copy()
    _, same = model.loss_and_grads(BATCH, labels, grads=grads)
    assert same is grads
    np.testing.assert_allclose(grads.vector, 2 * once, rtol=1e-12)
    assert (model.params.vector == weights).all()
    assert (labels == MASKED_LABELS).all()
    assert all((BATCH[name] == array).all() for name, array in before.items())


def test_the_tied_table_learns_from_both_ends():
    model = away(BertForMaskedLM)
    _, grads = model.loss_and_grads(BATCH, MASKED_LABELS)
    table = grads["bert.embeddings.word_embeddings.weight"]
    read = np.unique(IDS[MASK == 1])
    unread = np.setdiff1d(np.arange(13), IDS)
    assert np.abs(table[unread]).max(axis=1).min() > 0  # through the decoder
    alone = model.params.zeros_like()
    logits, (body, head) = model.forward(model.check(**BATCH))
    dx = model.head_backward(np.ones_like(logits), head, alone)
    decoder = alone["bert.embeddings.word_embeddings.weight"].copy()
    model.body_backward(dx, body, alone)
    both = alone["bert.embeddings.word_embeddings.weight"]
    assert np.abs(both - decoder)[read].max(axis=1).min() > 0


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_the_content_of_padding_changes_no_bit(seed):
    model = away(BertForMaskedLM, dtype=np.float32)
    rng = np.random.default_rng(seed)
    noisy = np.where(MASK == 1, IDS, rng.integers(0, 13, IDS.shape))
    types = np.where(MASK == 1, BATCH["token_type_ids"], rng.integers(0, 2, IDS.shape))
    a = model(**BATCH).logits
    b = model(noisy, types, MASK).logits
    assert (a[MASK == 1] == b[MASK == 1]).all()
    labels = np.where(MASK == 1, MASKED_LABELS, -100)
    assert (
        model.loss_and_grads(BATCH, labels)[0] == model.loss_and_grads({**BATCH, "input_ids": noisy,
        "token_type_ids": types}, labels)[0]
    )  # fmt: skip


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_padding_batch_order_and_batch_size_change_rounding_only(dtype, tolerance):
    model = away(BertModel, dtype=dtype)
    whole = model(**BATCH).last_hidden_state
    longer = {name: np.pad(array, ((0, 0), (0, 2))) for name, array in BATCH.items()}
    padded = model(**longer).last_hidden_state[:, :5]
    turned = model(**{k: v[::-1] for k, v in BATCH.items()}).last_hidden_state[::-1]
    single = model(**{k: v[:1] for k, v in BATCH.items()}).last_hidden_state
    real = MASK == 1
    assert np.abs(padded - whole)[real].max() < tolerance
    assert np.abs(turned - whole)[real].max() < tolerance
    assert np.abs(single - whole[:1])[real[:1]].max() < tolerance


def test_without_positions_the_encoder_does_not_know_the_order():
    model = away(BertModel)
    model.params["embeddings.position_embeddings.weight"][:] = 0
    order = np.array([3, 0, 4, 2, 1])
    out = model(**BATCH).last_hidden_state[:, order]
    shuffled = model(**{k: v[:, order] for k, v in BATCH.items()}).last_hidden_state
    np.testing.assert_allclose(shuffled[:2], out[:2], atol=1e-12)


def test_heads_keep_their_own_subspaces():
    # Silence all of a head's values: only what the output map reads from that head may change.
    model = away(BertModel, BertConfig(**{**vars(CONFIG), "num_hidden_layers": 1}))
    name = "encoder.layer.0.attention."
    model.params[name + "output.dense.weight"][:, 4:] = 0  # reads the first head (H = 4) alone
    before = model(**BATCH).last_hidden_state
    model.params[name + "self.value.weight"][4:] += 1  # the second head's values
    model.params[name + "self.query.weight"][4:] += 1
    assert (model(**BATCH).last_hidden_state == before).all()
    model.params[name + "self.value.weight"][:4] += 1
    assert (model(**BATCH).last_hidden_state != before).any()


@pytest.mark.parametrize(("kind", "labels"), HEADS)
def test_a_sequence_with_nothing_to_read_gives_no_nan(kind, labels):
    model = away(kind)
    batch = {**BATCH, "attention_mask": np.zeros_like(MASK)}
    loss, grads = model.loss_and_grads(batch, labels)
    assert np.isfinite(loss)
    assert np.isfinite(grads.vector).all()
    for name, array in grads.items():
        if "self.key" in name or "self.value" in name or "self.query" in name:
            assert (array == 0).all(), name


@pytest.mark.parametrize(("kind", "labels"), HEADS)
def test_no_label_that_counts_is_a_loss_of_zero(kind, labels):
    loss, grads = away(kind).loss_and_grads(BATCH, np.full_like(labels, -100))
    assert loss == 0
    assert (grads.vector == 0).all()


def test_layers_keep_nothing_between_calls():
    model = away(BertForMaskedLM)
    other = {**BATCH, "input_ids": IDS[::-1]}
    expected = model.loss_and_grads(BATCH, MASKED_LABELS)[1].vector
    one, cache_one = model.forward(model.check(**BATCH))
    _, cache_two = model.forward(model.check(**other))
    dlogits = np.random.default_rng(0).standard_normal(one.shape)
    interleaved, straight = model.params.zeros_like(), model.params.zeros_like()
    model.backward(dlogits, cache_two, model.params.zeros_like())
    model.backward(dlogits, cache_one, interleaved)
    model.backward(dlogits, model.forward(model.check(**BATCH))[1], straight)
    assert (interleaved.vector == straight.vector).all()
    assert (model.loss_and_grads(BATCH, MASKED_LABELS)[1].vector == expected).all()


def test_initial_weights():
    model = BertModel(BertConfig.preset("tiny", vocab_size=500), seed=3)
    again = BertModel(BertConfig.preset("tiny", vocab_size=500), seed=3)
    other = BertModel(BertConfig.preset("tiny", vocab_size=500), seed=4)
    assert (model.params.vector == again.params.vector).all()
    assert (model.params.vector != other.params.vector).any()
    for name, array in model.params.items():
        if name.endswith("LayerNorm.weight"):
            assert (array == 1).all()
        elif name.endswith("bias"):
            assert (array == 0).all()
        else:
            assert np.std(array) == pytest.approx(0.02, rel=0.1)
    assert (model.params["embeddings.word_embeddings.weight"][0] == 0).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input_ids": [[1.5]]}, TypeError, "input_ids: expected integers, got float64"),
        ({"input_ids": [1, 2]}, ValueError, r"input_ids: expected the shape \(B, T\), got \(2,\)"),
        ({"input_ids": np.zeros((2, 0), int)}, ValueError, r"got \(2, 0\)"),
        ({"input_ids": np.ones((1, 8), int)}, ValueError, "at most 7 tokens .* got 8"),
        ({"input_ids": [[1, 13]]}, ValueError, "input_ids: expected integers from 0 to 12, got 13"),
        ({"input_ids": [[1, -1]]}, ValueError, "input_ids: expected integers from 0 to 12, got -1"),
        (
            {"input_ids": [[1, 2]], "token_type_ids": [[0, 2]]},
            ValueError,
            "token_type_ids: expected integers from 0 to 1, got 2",
        ),
        (
            {"input_ids": [[1, 2]], "token_type_ids": [[0]]},
            ValueError,
            r"token_type_ids: expected the shape \(1, 2\), got \(1, 1\)",
        ),
        (
            {"input_ids": [[1, 2]], "attention_mask": [[1, 2]]},
            ValueError,
            "attention_mask: expected integers from 0 to 1, got 2",
        ),
    ],
)
def test_bad_batches_are_refused_in_one_line(change, error, message):
    with pytest.raises(error, match=message):
        BertModel(CONFIG)(**change)


@pytest.mark.parametrize(
    ("kind", "labels", "error", "message"),
    [
        (BertForMaskedLM, [1, 2], ValueError, r"labels: expected the shape \(3, 5\), got \(2,\)"),
        (BertForMaskedLM, np.full((3, 5), 13), ValueError, "labels: expected .* 0 to 12, got 13"),
        (BertForSequenceClassification, [0, 1, 6], ValueError, "labels: .* 0 to 5, got 6"),
        (BertForSequenceClassification, [0, -1, 2], ValueError, "labels: .* 0 to 5, got -1"),
        (BertForSequenceClassification, [0.0, 1, 2], TypeError, "labels: expected integers"),
    ],
)
def test_bad_labels_are_refused_in_one_line(kind, labels, error, message):
    with pytest.raises(error, match=message):
        kind(CONFIG).loss_and_grads(BATCH, labels)
