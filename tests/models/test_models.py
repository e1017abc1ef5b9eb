"""Properties of models: trimming, sharding, padding, defaults, and errors."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)
from minibert.functional import cross_entropy_backward, cross_entropy_forward
from minibert.gradcheck import away_from_initial
from minibert.parameters import Parameters
from minibert.testing import (
    assert_batch_invariant,
    assert_padding_invariant,
    assert_permutation_equivariant,
)
from minibert.testing.cases.examples import (
    BATCH,
    CHOICES,
    CLASS_LABELS,
    CONFIG,
    IDS,
    MASK,
    MASKED_LABELS,
    ROWS,
    TYPES,
    B,
    C,
    D,
    H,
    K,
    T,
    V,
    labelled_models,
)
from minibert.training import split_batch

KINDS = [BertModel, BertForMaskedLM, BertForSequenceClassification]
TASKS = {task.name: task for task in labelled_models()}
each_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def away(kind, config=CONFIG, dtype=np.float64):
    params = away_from_initial(Parameters(kind(config).shapes()))
    return kind(config, params=params.astype(dtype))


def assert_same_gradients(a, b, tolerance=1e-12, zeros=()):
    """Compare gradients by relative norm; exactly zero ones contain rounding errors only."""
    assert a.keys() == b.keys()
    largest = max(np.linalg.norm(array) for array in b.values())
    for name in a:
        allowed = tolerance * (
            largest if name.endswith(("key.bias", *zeros)) else np.linalg.norm(b[name])
        )
        assert np.linalg.norm(a[name] - b[name]) <= allowed, name


def test_other_dtypes_denominators_and_gradients_are_refused():
    with pytest.raises(TypeError, match="dtype: expected a floating-point one, got int32"):
        BertModel(CONFIG, dtype=np.int32)
    model = BertForMaskedLM(CONFIG)
    with pytest.raises(ValueError, match="denominator: expected more than 0, got 0"):
        model.loss_and_grads(BATCH, MASKED_LABELS, denominator=0)
    with pytest.raises(ValueError, match="grads: expected the names and shapes of this model"):
        model.loss_and_grads(BATCH, MASKED_LABELS, grads=BertModel(CONFIG).params.zeros_like())


def test_question_answering_needs_two_labels():
    with pytest.raises(ValueError, match=r"id2label: expected two .* a start and an end, got 7"):
        BertForQuestionAnswering(CONFIG)


def test_multiple_choice_accepts_any_number_of_choices():
    model = away(BertForMultipleChoice)
    four = {name: np.concatenate([array, array], axis=1) for name, array in CHOICES.items()}
    logits = model(**four).logits
    assert logits.shape == (B, 4)
    np.testing.assert_allclose(logits[:, :2], model(**CHOICES).logits, rtol=1e-12)
    with pytest.raises(ValueError, match=r"expected the shape \(B, C, T\), got \(3, 6\)"):
        model(**BATCH)


def test_pretraining_loss_is_the_sum_of_both_losses():
    both = away(BertForPreTraining)
    task = TASKS["BertForPreTraining"]
    hidden, pair = task.labels.values()
    loss, grads = both.loss_and_grads(BATCH, task.labels)
    summed, total = both.params.zeros_like(), 0.0
    for kind, labels in ((BertForMaskedLM, hidden), (BertForNextSentencePrediction, pair)):
        shapes = kind(CONFIG).shapes()
        alone = kind(CONFIG, params=Parameters(shapes, dtype=np.float64))
        for name, array in alone.params.items():
            array[...] = both.params[name]
        value, part = alone.loss_and_grads(BATCH, labels)
        total += value
        for name, array in part.items():
            summed[name] += array
    assert loss == pytest.approx(total, rel=1e-12)
    assert_same_gradients(grads, summed)
    out = both(**BATCH, **task.labels)
    assert out.loss == pytest.approx(loss, rel=1e-12)
    assert out.prediction_logits.shape == (B, T, V)
    assert out.seq_relationship_logits.shape == (B, 2)


@each_task
def test_call_with_labels_returns_the_loss(task):
    model = away(task.kind, task.config)
    labels = task.labels if isinstance(task.labels, dict) else {"labels": task.labels}
    loss, _ = model.loss_and_grads(task.batch, task.labels)
    assert model(**task.batch, **labels).loss == pytest.approx(loss, rel=1e-12)
    assert model(**task.batch).loss is None
    assert model(**task.batch, **dict.fromkeys(labels)).loss is None
    with pytest.raises(TypeError, match=r"labels: expected .*, got answers"):
        model(**task.batch, answers=task.labels)
    if len(labels) > 1:
        with pytest.raises(TypeError, match=r"labels: expected a dictionary of .* and .*, got nd"):
            model.loss_and_grads(task.batch, np.zeros(3, int))
        name = next(iter(labels))
        with pytest.raises(TypeError, match=rf"labels: expected .* and .*, got {name}"):
            model(**task.batch, **{name: labels[name]})


def test_classifier_with_one_class_is_a_regression():
    one = BertConfig(**{**vars(CONFIG), "id2label": {0: "stars"}})
    assert BertForSequenceClassification(one).problem == "regression"
    model = away(BertForSequenceClassification, one)
    flat, _ = model.loss_and_grads(BATCH, [1.5, 2.0, 0])
    tall, _ = model.loss_and_grads(BATCH, [[1.5], [2.0], [0]])
    logits = model(**BATCH).logits[:, 0]
    assert flat == tall == pytest.approx(np.mean((logits - [1.5, 2, 0]) ** 2), rel=1e-12)


def test_multi_label_loss_is_a_mean_of_binary_losses():
    task = TASKS["BertForSequenceClassification, multi-label"]
    model = away(task.kind, task.config)
    loss, _ = model.loss_and_grads(BATCH, task.labels)
    yes = 1 / (1 + np.exp(-model(**BATCH).logits))
    each = -(task.labels * np.log(yes) + (1 - task.labels) * np.log(1 - yes))
    assert loss == pytest.approx(each[task.labels != -100].mean(), rel=1e-12)


def test_models_have_the_published_parameter_counts():
    for name, expected in (("base", 109_482_240), ("large", 335_141_888)):
        config = BertConfig.preset(name)
        shapes = BertModel(config, params=Parameters({})).shapes()
        assert sum(int(np.prod(shape)) for shape in shapes.values()) == expected


def test_head_parameters_have_the_names_of_transformers():
    transform = [f"cls.predictions.transform.{part}" for part in ("dense", "LayerNorm")]
    pooled, scores = ["bert.pooler.dense"], ["cls.seq_relationship"]
    expected = {
        "BertForMaskedLM": transform,
        "BertForSequenceClassification": [*pooled, "classifier"],
        "BertForTokenClassification": ["classifier"],
        "BertForNextSentencePrediction": [*pooled, *scores],
        "BertForPreTraining": [*transform, *pooled, *scores],
        "BertForQuestionAnswering": ["qa_outputs"],
        "BertForMultipleChoice": [*pooled, "classifier"],
    }
    for name, parts in expected.items():
        shapes = TASKS[name].kind(TASKS[name].config).shapes()
        body = {part for part in shapes if part.startswith(("bert.embeddings", "bert.encoder"))}
        names = {f"{part}.{kind}" for part in parts for kind in ("weight", "bias")}
        alone = {"cls.predictions.bias"} if transform[0] in parts else set()
        assert shapes.keys() - body == names | alone


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_model_output_has_the_shapes_and_the_dtype(kind, dtype):
    out = away(kind, dtype=dtype)(**BATCH, output_hidden_states=True, output_attentions=True)
    assert [x.shape for x in out.hidden_states] == [(B, T, D)] * 3
    assert [x.shape for x in out.attentions] == [(B, K, T, T)] * 2
    arrays = [*out.hidden_states, *out.attentions]
    if kind is BertModel:
        assert out.last_hidden_state.shape == (B, T, D)
        assert out.pooler_output.shape == (B, D)
        arrays += [out.last_hidden_state, out.pooler_output]
    else:
        assert out.logits.shape == ((B, T, V) if kind is BertForMaskedLM else (B, C))
        arrays.append(out.logits)
    assert all(array.dtype == dtype for array in arrays)
    plain = away(kind, dtype=dtype)(**BATCH)
    assert plain.hidden_states is None
    assert plain.attentions is None


@each_task
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_have_the_dtype_of_the_parameters_with_dropout(task, dtype):
    model = away(task.kind, task.config, dtype=dtype)
    _, grads = model.loss_and_grads(task.batch, task.labels, np.random.default_rng(0))
    assert grads.vector.dtype == dtype
    logits, _ = model.forward(model.check(**task.batch), None, np.random.default_rng(0))
    for array in logits if isinstance(logits, tuple) else [logits]:
        assert array.dtype == dtype


def full_loss_and_grads(model, labels):
    """Return the masked-LM loss with head and last block at all positions."""
    logits, cache = model.forward(model.check(**BATCH))
    loss, loss_cache = cross_entropy_forward(logits.reshape(-1, V), labels.reshape(-1))
    grads = model.params.zeros_like()
    model.backward(cross_entropy_backward(loss_cache).reshape(logits.shape), cache, grads)
    return loss, grads


def test_masked_lm_loss_at_masked_positions_equals_that_at_all_positions():
    model = away(BertForMaskedLM)
    loss, grads = model.loss_and_grads(BATCH, MASKED_LABELS)
    whole, whole_grads = full_loss_and_grads(model, MASKED_LABELS)
    assert loss == pytest.approx(whole, rel=1e-12)
    assert_same_gradients(grads, whole_grads)
    assert model(**BATCH, labels=MASKED_LABELS).loss == pytest.approx(whole, rel=1e-12)


def test_body_at_rows_equals_these_rows_of_all():
    model = away(BertModel)
    batch = model.check(**BATCH)
    dx = np.random.default_rng(0).standard_normal((*ROWS.shape, D))
    dpooled = np.random.default_rng(1).standard_normal((B, D))
    (x, pooled), cache = model.forward(batch, ROWS)
    trimmed = model.params.zeros_like()
    model.backward((dx, dpooled), cache, trimmed)

    (whole, _), cache = model.forward(batch)
    first, pooler_cache = model.pooler.forward(
        model.params, np.take_along_axis(whole, ROWS[:, :1, None], axis=1)
    )
    full = model.params.zeros_like()
    dfirst = model.pooler.backward(dpooled, pooler_cache, model.params, full)[:, 0]
    dwhole = np.zeros_like(whole)
    for b in range(B):
        dwhole[b, ROWS[b, 0]] += dfirst[b]
        for r, row in enumerate(ROWS[b]):  # one row is repeated, and its gradients are added
            dwhole[b, row] += dx[b, r]
    model.bert.backward(dwhole, cache[0], model.params, full)
    np.testing.assert_allclose(x, np.take_along_axis(whole, ROWS[..., None], axis=1), rtol=1e-12)
    np.testing.assert_allclose(pooled, first, rtol=1e-12)
    assert_same_gradients(trimmed, full)


def test_classifier_logits_from_cls_alone_equal_those_from_all_rows():
    model = away(BertForSequenceClassification)
    trimmed = model(**BATCH).logits
    whole = model(**BATCH, output_attentions=True).logits
    np.testing.assert_allclose(trimmed, whole, rtol=1e-12)
    batch = model.check(**BATCH)
    dlogits = np.random.default_rng(0).standard_normal(trimmed.shape)
    both = []
    for rows in (None, model.rows_read(batch)):
        _, cache = model.forward(batch, rows)
        both.append(model.params.zeros_like())
        model.backward(dlogits, cache, both[-1])
    assert_same_gradients(*both)


@each_task
def test_loss_and_gradients_of_shards_add_up(task):
    model = away(task.kind, task.config)
    loss, grads = model.loss_and_grads(task.batch, task.labels)
    count = model.count(task.labels)
    total, summed = 0.0, None
    for batch, labels in split_batch(task.batch, task.labels, 2):
        value, summed = model.loss_and_grads(batch, labels, grads=summed, denominator=count)
        total += value
    assert total == pytest.approx(loss, rel=1e-12)
    assert_same_gradients(summed, grads, zeros=task.zeros)


@each_task
def test_loss_and_grads_adds_to_existing_gradients(task):
    model = away(task.kind, task.config)
    _, grads = model.loss_and_grads(task.batch, task.labels)
    once = Parameters(grads.shapes, grads.vector.copy())
    _, same = model.loss_and_grads(task.batch, task.labels, grads=grads)
    assert same is grads
    assert_same_gradients(grads, Parameters(once.shapes, 2 * once.vector))


@pytest.mark.parametrize("kind", KINDS)
def test_models_do_not_write_to_their_arguments(kind):
    vector = away(kind).params.vector
    before = vector.copy()
    vector.flags.writeable = False  # so a write raises an error
    model = kind(CONFIG, params=Parameters(kind(CONFIG).shapes(), vector))
    batch = {name: array.copy() for name, array in BATCH.items()}
    labels = {BertForMaskedLM: MASKED_LABELS}.get(kind, CLASS_LABELS).copy()
    rows = ROWS.copy()
    for array in (*batch.values(), labels, rows):
        array.flags.writeable = False
    model(**batch, output_hidden_states=True, output_attentions=True)
    if kind is not BertModel:
        model(**batch, labels=labels)
        model.loss_and_grads(batch, labels)
        model.loss_and_grads(batch, labels, np.random.default_rng(0))
    else:
        out, cache = model.forward(model.check(**batch), rows)
        for array in out:
            array.flags.writeable = False
        model.backward(out, cache, model.params.zeros_like())
    assert (vector == before).all()
    assert all((batch[name] == array).all() for name, array in BATCH.items())


def test_tied_table_gets_gradients_from_embedding_and_decoder():
    model = away(BertForMaskedLM)
    _, grads = model.loss_and_grads(BATCH, MASKED_LABELS)
    table = grads["bert.embeddings.word_embeddings.weight"]
    read = np.unique(IDS[MASK == 1])
    unread = np.setdiff1d(np.arange(V), IDS)
    assert np.abs(table[unread]).max(axis=1).min() > 0  # through the decoder
    alone = model.params.zeros_like()
    logits, (body, head) = model.forward(model.check(**BATCH))
    dx = model.head_backward(np.ones_like(logits), head, alone)
    decoder = alone["bert.embeddings.word_embeddings.weight"].copy()
    model.bert.backward(dx, body, model.params.scope("bert."), alone.scope("bert."))
    both = alone["bert.embeddings.word_embeddings.weight"]
    assert np.abs(both - decoder)[read].max(axis=1).min() > 0


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_token_ids_at_padding_change_no_bit(seed):
    model = away(BertForMaskedLM, dtype=np.float32)
    labels = np.where(MASK == 1, MASKED_LABELS, -100)

    def run(**batch):
        return model(**batch).logits, model.loss_and_grads(batch, labels)[0]

    assert_padding_invariant(run, BATCH, more=0, tolerance=0, seed=seed)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_padding_batch_order_and_batch_size_change_rounding_only(dtype, tolerance):
    model = away(BertModel, dtype=dtype)
    assert_padding_invariant(model, BATCH, tolerance=tolerance)
    assert_batch_invariant(model, BATCH, tolerance=tolerance)


@pytest.mark.parametrize("training", [False, True])
@given(order=st.permutations(range(T)))
@settings(max_examples=10)
def test_encoder_without_positions_is_permutation_equivariant(training, order):
    model = away(BertModel)

    def run(**batch):
        if training:
            return model.forward(model.check(**batch))[0][0]
        return model(**batch).last_hidden_state

    with_positions = run(**BATCH)
    model.params["embeddings.position_embeddings.weight"][:] = 0
    assert np.abs(with_positions - run(**BATCH)).max() > 0.1
    assert_permutation_equivariant(run, BATCH, order=order, tolerance=1e-13)


def test_attention_heads_read_separate_subspaces():
    # Change only the values of the second head; the output reads only the first.
    model = away(BertModel, BertConfig(**{**vars(CONFIG), "num_hidden_layers": 1}))
    name = "encoder.layer.0.attention."
    model.params[name + "output.dense.weight"][:, H:] = 0  # read only the first head
    before = model(**BATCH).last_hidden_state
    model.params[name + "self.value.weight"][H:] += 1  # the second head's values
    model.params[name + "self.query.weight"][H:] += 1
    assert (model(**BATCH).last_hidden_state == before).all()
    model.params[name + "self.value.weight"][:H] += 1
    assert (model(**BATCH).last_hidden_state != before).any()


@each_task
def test_fully_masked_sequence_gives_no_nan(task):
    model = away(task.kind, task.config)
    batch = {**task.batch, "attention_mask": np.zeros_like(task.batch["input_ids"])}
    loss, grads = model.loss_and_grads(batch, task.labels)
    assert np.isfinite(loss)
    assert np.isfinite(grads.vector).all()
    for name, array in grads.items():
        if "self.key" in name or "self.value" in name or "self.query" in name:
            assert (array == 0).all(), name


@pytest.mark.parametrize("name", [n for n in TASKS if "regression" not in n and "number" not in n])
def test_loss_without_counted_labels_is_zero(name):
    task = TASKS[name]  # in a regression, every value counts
    labels = task.labels
    if isinstance(labels, dict):
        labels = {name: np.full_like(array, -100) for name, array in labels.items()}
    else:
        labels = np.full_like(labels, -100)
    loss, grads = away(task.kind, task.config).loss_and_grads(task.batch, labels)
    assert loss == 0
    assert (grads.vector == 0).all()


def test_models_keep_no_state_between_calls():
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


def test_model_gives_the_same_bits_in_many_threads():
    # Sizes at which NumPy releases the GIL, so the threads run in parallel.
    config = BertConfig(**{**vars(CONFIG), "intermediate_size": 512, "max_position_embeddings": 64})
    model = away(BertForMaskedLM, config, dtype=np.float32)
    ids = np.random.default_rng(0).integers(0, V, (16, 64))
    labels = np.where(ids % 5 == 0, ids, -100)

    def work(seed):
        rng = np.random.default_rng(seed)
        return model.loss_and_grads({"input_ids": ids}, labels, rng)[1].vector

    with threadpool_limits(1):  # BLAS rounds differently with one and two threads
        alone = [work(seed) for seed in range(8)]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(work, [*range(8)] * 2))
    assert all((a == b).all() for a, b in zip(alone * 2, together, strict=True))
    assert (alone[0] != alone[1]).any()


def test_missing_segments_and_mask_have_defaults():
    model = away(BertModel)
    ones, zeros = np.ones_like(IDS), np.zeros_like(IDS)
    whole = model(IDS, zeros, ones).last_hidden_state
    assert (model(IDS.tolist()).last_hidden_state == whole).all()
    assert (model(IDS, attention_mask=ones.astype(bool)).last_hidden_state == whole).all()
    assert (model(IDS, TYPES).last_hidden_state != whole).any()
    assert (model(IDS, attention_mask=MASK).last_hidden_state != whole).any()


def test_initial_weights_have_the_declared_values():
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
        ({"input_ids": [[1, 2], [3]]}, ValueError, "input_ids: expected rows of one length"),
        ({"input_ids": [[]]}, ValueError, r"input_ids: expected the shape \(B, T\), got \(1, 0\)"),
        ({"input_ids": [1, 2]}, ValueError, r"input_ids: expected the shape \(B, T\), got \(2,\)"),
        ({"input_ids": np.zeros((2, 0), int)}, ValueError, r"got \(2, 0\)"),
        ({"input_ids": np.ones((1, 9), int)}, ValueError, "at most 8 tokens .* got 9"),
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
        (
            {"input_ids": [[1, 2]], "attention_mask": [1, 1]},
            ValueError,
            r"attention_mask: expected the shape \(1, 2\), got \(2,\)",
        ),
        (
            {"input_ids": [[1, 2]], "attention_mask": [[1.0, 0.0]]},
            TypeError,
            "attention_mask: expected integers, got float64",
        ),
        (
            {"input_ids": [[1, 2]], "token_type_ids": [["a", "b"]]},
            TypeError,
            "token_type_ids: expected integers, got <U1",
        ),
    ],
)
def test_check_refuses_invalid_batches_in_one_line(change, error, message):
    calls = [BertModel(CONFIG), BertForMaskedLM(CONFIG), BertForSequenceClassification(CONFIG)]
    for model in calls:
        with pytest.raises(error, match=message) as caught:
            model(**change)
        assert "\n" not in str(caught.value)
    with pytest.raises(error, match=message):
        calls[-1].loss_and_grads(change, [0])


@pytest.mark.parametrize(
    ("kind", "labels", "error", "message"),
    [
        (BertForMaskedLM, [1, 2], ValueError, r"labels: expected the shape \(3, 6\), got \(2,\)"),
        (BertForMaskedLM, np.full((B, T), V), ValueError, "labels: expected .* 0 to 12, got 13"),
        (BertForMaskedLM, np.full((B, T), -1), ValueError, "labels: expected .* 0 to 12, got -1"),
        (BertForMaskedLM, np.zeros((B, T)), TypeError, "labels: expected integers, got float64"),
        (BertForSequenceClassification, [0, 1, 7], ValueError, "labels: .* 0 to 6, got 7"),
        (BertForSequenceClassification, [0, -1, 2], ValueError, "labels: .* 0 to 6, got -1"),
        (BertForSequenceClassification, [0.0, 1, 2], TypeError, "labels: expected integers"),
        (BertForNextSentencePrediction, [0, 1, 2], ValueError, "labels: .* 0 to 1, got 2"),
        (BertForTokenClassification, np.full((B, T), C), ValueError, "labels: .* 0 to 6, got 7"),
        (
            BertForSequenceClassification,
            [[0, 1, 2]],
            ValueError,
            r"labels: .* \(3,\), got \(1, 3\)",
        ),
    ],
)
def test_loss_refuses_invalid_labels_in_one_line(kind, labels, error, message):
    with pytest.raises(error, match=message):
        kind(CONFIG).loss_and_grads(BATCH, labels)
    with pytest.raises(error, match=message):
        kind(CONFIG)(**BATCH, labels=labels)


@pytest.mark.parametrize(
    ("name", "labels", "error", "message"),
    [
        (
            "multi-label",
            np.full((B, C), 2),
            ValueError,
            "labels: expected numbers from 0 to 1, got 2",
        ),
        (
            "multi-label",
            np.zeros(B),
            ValueError,
            r"labels: expected the shape \(3, 7\), got \(3,\)",
        ),
        ("multi-label", [["yes"] * C] * B, TypeError, "labels: expected numbers, got <U3"),
        (
            "regression",
            np.full((B, C), np.nan),
            ValueError,
            "labels: expected finite numbers, got nan",
        ),
        ("one number", np.zeros((B, 2)), ValueError, r"labels: expected the shape \(3, 1\), got"),
    ],
)
def test_loss_refuses_invalid_regression_labels_in_one_line(name, labels, error, message):
    task = TASKS[f"BertForSequenceClassification, {name}"]
    with pytest.raises(error, match=message):
        task.kind(task.config).loss_and_grads(BATCH, labels)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ([0, 1, 6], [1, 2, 3], "start_positions: expected integers from 0 to 5, got 6"),
        ([0, 1, 2], [1, 2], r"end_positions: expected the shape \(3,\), got \(2,\)"),
        ([0, -100, 2], [1, 2, 3], "end_positions: expected -100 where start_positions has it"),
    ],
)
def test_loss_refuses_invalid_spans_in_one_line(start, end, message):
    model = BertForQuestionAnswering(TASKS["BertForQuestionAnswering"].config)
    with pytest.raises(ValueError, match=message):
        model(**BATCH, start_positions=start, end_positions=end)


def test_initial_weights_have_the_configured_std_and_padding_is_zero():
    config = BertConfig(**{**vars(CONFIG), "initializer_range": 0.5, "pad_token_id": 3})
    params = BertModel(config).params
    drawn = np.concatenate(
        [params[name].ravel() for name in params if name.endswith("dense.weight")]
    )
    assert drawn.std() == pytest.approx(0.5, rel=0.1)
    table = params["embeddings.word_embeddings.weight"]
    assert [bool(row.any()) for row in table] == [i != 3 for i in range(len(table))]


def test_the_body_keeps_the_embeddings_cache_only_for_a_backward_that_reads_it():
    model = away(BertModel)
    batch = model.check(**BATCH)
    assert model.bert.forward(model.params, batch)[1].embeddings is not None
    assert model.bert.forward(model.params, batch, keep=False)[1].embeddings is None
    model.freeze(0)
    assert model.bert.forward(model.params, batch)[1].embeddings is None


def test_a_model_takes_parameters_as_they_are_or_gives_shapes_their_declarations():
    model = away(BertModel)
    assert BertModel(model.config, params=model.params).params is model.params
    by_shapes = Parameters(model.shapes(), model.params.vector)
    other = BertModel(model.config, params=by_shapes)
    assert other.params.vector is model.params.vector
    assert (other(**BATCH).pooler_output == model(**BATCH).pooler_output).all()
