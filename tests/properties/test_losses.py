"""Laws of the loss and its gradient, for every model, batch and task."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.gradcheck import away_from_initial
from minibert.models import BertForQuestionAnswering, BertForSequenceClassification, BertModel
from minibert.testing import assert_padding_invariant, batches, configs
from minibert.testing.cases.examples import (
    BATCH,
    CLASS_LABELS,
    CONFIG,
    C,
    ModelCase,
    T,
    labelled_models,
)
from minibert.training import AdamW, Engine, split_batch
from tests.models.test_models import assert_same_gradients


class Weighted(BertForSequenceClassification):
    def build(self):
        super().build()
        self.class_weights = np.arange(1, C + 1) / 3


WEIGHTED = ModelCase("BertForSequenceClassification, weighted", Weighted, CLASS_LABELS)
TASKS = pytest.mark.parametrize("task", [*labelled_models(), WEIGHTED], ids=lambda task: task.name)


def model_of(task, seed=0, dtype=np.float64):
    params = away_from_initial(task.kind(task.config).params, seed)
    return task.kind(task.config, params=params.astype(dtype))


def rows_of(labels, chosen):
    """Return the labels of some sequences of the batch."""
    if isinstance(labels, Mapping):
        return {name: array[chosen] for name, array in labels.items()}
    return labels[chosen]


def batch_of(task, chosen):
    return {name: array[chosen] for name, array in task.batch.items()}


@TASKS
@given(seed=st.integers(0, 999))
@settings(max_examples=5)
def test_loss_decreases_along_the_negative_gradient(task, seed):
    model = model_of(task, seed)
    loss, grads = model.loss_and_grads(task.batch, task.labels)
    steepness = float(grads.vector @ grads.vector)
    step = 1e-4 / max(steepness, 1e-12) ** 0.5
    model.params.vector[:] -= step * grads.vector
    lower, _ = model.loss_forward(task.batch, task.labels)
    assert lower < loss
    # To first order, the decrease is the step times the squared gradient norm.
    assert loss - lower == pytest.approx(step * steepness, rel=0.05)


@TASKS
@given(times=st.integers(2, 3), seed=st.integers(0, 999))
@settings(max_examples=5)
def test_duplicated_batches_have_the_same_loss_and_gradient(task, times, seed):
    model = model_of(task, seed)
    loss, grads = model.loss_and_grads(task.batch, task.labels)
    again = np.tile(np.arange(3), times)
    more, grads_of_more = model.loss_and_grads(batch_of(task, again), rows_of(task.labels, again))
    assert more == pytest.approx(loss, rel=1e-12)
    assert_same_gradients(grads_of_more, grads, zeros=task.zeros)


@TASKS
@given(order=st.permutations(range(3)), seed=st.integers(0, 999))
@settings(max_examples=5)
def test_permuted_batches_have_the_same_loss_and_gradient(task, order, seed):
    model = model_of(task, seed)
    loss, grads = model.loss_and_grads(task.batch, task.labels)
    other, grads_of_other = model.loss_and_grads(
        batch_of(task, order), rows_of(task.labels, list(order))
    )
    assert other == pytest.approx(loss, rel=1e-12)
    assert_same_gradients(grads_of_other, grads, zeros=task.zeros)


@TASKS
@given(seed=st.integers(0, 999))
@settings(max_examples=5)
def test_float32_loss_and_gradient_agree_with_float64(task, seed):
    exact, exact_grads = model_of(task, seed).loss_and_grads(task.batch, task.labels)
    loss, grads = model_of(task, seed, np.float32).loss_and_grads(task.batch, task.labels)
    # A few thousand rounding errors of 6e-8, most of which cancel, in forward and backward.
    assert loss == pytest.approx(exact, rel=1e-5)
    wrong = np.linalg.norm(grads.vector - exact_grads.vector)
    assert wrong <= 1e-5 * np.linalg.norm(exact_grads.vector)


@TASKS
def test_loss_and_gradient_are_zero_if_all_labels_are_ignored(task):
    if "regression" in task.name or "number" in task.name:
        pytest.skip("regression targets are never ignored")
    labels = task.labels
    if isinstance(labels, Mapping):
        labels = {name: np.full_like(array, -100) for name, array in labels.items()}
    else:
        labels = np.full_like(labels, -100)
    model = model_of(task)
    loss, grads = model.loss_and_grads(task.batch, labels)
    assert loss == 0
    assert not grads.vector.any()
    # The same holds for a step, which divides by the count of all shards.
    result = Engine(model, AdamW(model.params)).step(split_batch(task.batch, labels, 2), 1e-3)
    assert (result.loss, result.norm) == (0, 0)


def of_length(task, length):
    """Return the task's batch and labels with `length` tokens per sequence, from the second."""

    def resized(array):
        if array.shape == task.batch["input_ids"].shape:
            return array[..., (np.arange(length) + 1) % T]
        return np.minimum(array, length - 1) if "start_positions" in task.labels else array

    batch = {name: resized(array) for name, array in task.batch.items()}
    if isinstance(task.labels, Mapping):
        return batch, {name: resized(array) for name, array in task.labels.items()}
    return batch, resized(task.labels)


@TASKS
@pytest.mark.parametrize("length", [1, CONFIG.max_position_embeddings])
def test_loss_is_finite_for_the_shortest_and_the_longest_sequences(task, length):
    model = model_of(task)
    batch, labels = of_length(task, length)
    loss, grads = model.loss_and_grads(batch, labels, np.random.default_rng(0))
    assert np.isfinite(loss)
    assert np.isfinite(grads.vector).all()
    loss, _ = model.loss_and_grads(batch, labels)
    named = labels if isinstance(labels, Mapping) else {"labels": labels}
    assert model(**batch, **named).loss == pytest.approx(loss, rel=1e-12)
    too_long, _ = of_length(task, CONFIG.max_position_embeddings + 1)
    with pytest.raises(ValueError, match="input_ids: expected at most 8 tokens"):
        model(**too_long)


@TASKS
@given(more=st.integers(1, 2), seed=st.integers(0, 999))
@settings(max_examples=5)
def test_every_head_is_independent_of_padding_ids_and_length(task, more, seed):
    model, rng = model_of(task, seed), np.random.default_rng(seed)
    shape = task.batch["input_ids"].shape
    beyond = {"input_ids": (0, CONFIG.vocab_size), "token_type_ids": (0, 2)}

    def padded(name, array):
        """Return the array with more padded tokens: random ids, mask 0, labels -100."""
        if array.shape != shape:
            return array
        low, high = beyond.get(name, (0, 1) if name == "attention_mask" else (-100, -99))
        return np.concatenate([array, rng.integers(low, high, (*shape[:-1], more))], axis=-1)

    wide, other = (
        {name: padded(name, array) for name, array in task.batch.items()} for _ in range(2)
    )
    for name, narrow in vars(model(**task.batch)).items():
        if narrow is not None:
            one, two = (vars(model(**batch))[name] for batch in (wide, other))
            if one.shape != narrow.shape:  # scores of tokens, padded ones included
                one, two = (x[tuple(map(slice, narrow.shape))] for x in (one, two))
            assert (one == two).all()
            np.testing.assert_allclose(one, narrow, rtol=0, atol=1e-11)
    if task.kind is BertForQuestionAnswering:
        return  # padding takes part in its softmax
    labels = task.labels
    if isinstance(labels, Mapping):
        labels = {name: padded(name, array) for name, array in labels.items()}
    else:
        labels = padded("labels", labels)
    loss, grads = model.loss_and_grads(task.batch, task.labels)
    one, grads_of_one = model.loss_and_grads(wide, labels)
    two, grads_of_two = model.loss_and_grads(other, labels)
    assert one == two
    assert one == pytest.approx(loss, rel=1e-12)
    # An embedding's gradient is summed in another order where padding has the same id.
    assert_same_gradients(grads_of_two, grads_of_one, 1e-13, zeros=task.zeros)
    assert_same_gradients(grads_of_one, grads, 1e-11, zeros=task.zeros)


@st.composite
def cases(draw, **fixed):
    config = draw(configs(**fixed))
    params = away_from_initial(BertModel(config).params, draw(st.integers(0, 999)))
    return BertModel(config, params=params), draw(batches(config))


@given(cases(max_position_embeddings=12), st.integers(1, 4))
@settings(max_examples=30)
def test_more_padding_changes_other_tokens_by_rounding_only(case, more):
    model, batch = case
    assert_padding_invariant(model, batch, more=more, tolerance=2e-12)


@given(cases(type_vocab_size=1))
@settings(max_examples=20)
def test_token_type_ids_default_to_0(case):
    model, batch = case
    unnamed = {name: array for name, array in batch.items() if name != "token_type_ids"}
    named = {**batch, "token_type_ids": np.zeros_like(batch["input_ids"])}
    assert (model(**unnamed).last_hidden_state == model(**named).last_hidden_state).all()


@given(st.integers(0, 999))
@settings(max_examples=10)
def test_equal_segment_embeddings_make_no_difference(seed):
    config = replace(CONFIG, hidden_dropout_prob=0.0)
    params = away_from_initial(BertModel(config).params, seed)
    table = params["embeddings.token_type_embeddings.weight"]
    table[1] = table[0]
    model = BertModel(config, params=params)
    one = model(**BATCH).last_hidden_state
    other = model(**{**BATCH, "token_type_ids": 1 - BATCH["token_type_ids"]}).last_hidden_state
    assert (one == other).all()
