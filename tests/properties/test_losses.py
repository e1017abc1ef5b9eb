"""What holds of the loss and its gradient, whatever the model, the batch and the task."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.gradcheck import away_from_initial
from minibert.models import BertForMaskedLM, BertModel
from minibert.parameters import Parameters
from minibert.proofs.examples import BATCH, CONFIG, tasks
from minibert.testing import batches, configs
from tests.models.test_models import assert_same_gradients

TASKS = pytest.mark.parametrize("task", tasks(), ids=lambda task: task.name)


def model_of(task, seed=0, dtype=np.float64):
    params = away_from_initial(Parameters(task.kind(task.config).shapes()), seed)
    return task.kind(task.config, params=params.astype(dtype))


def rows_of(labels, chosen):
    """The labels of these rows of the batch."""
    if isinstance(labels, Mapping):
        return {name: array[chosen] for name, array in labels.items()}
    return labels[chosen]


def batch_of(task, chosen):
    return {name: array[chosen] for name, array in task.batch.items()}


@TASKS
@given(seed=st.integers(0, 999))
@settings(max_examples=5)
def test_the_loss_falls_along_the_negative_gradient(task, seed):
    model = model_of(task, seed)
    loss, grads = model.loss_and_grads(task.batch, task.labels)
    steepness = float(grads.vector @ grads.vector)
    step = 1e-4 / max(steepness, 1e-12) ** 0.5
    model.params.vector[:] -= step * grads.vector
    lower, _ = model.loss_forward(task.batch, task.labels)
    assert lower < loss
    # To first order it falls by the step times the squared norm, neither more nor less.
    assert loss - lower == pytest.approx(step * steepness, rel=0.05)


@TASKS
@given(times=st.integers(2, 3), seed=st.integers(0, 999))
@settings(max_examples=5)
def test_duplicates_change_neither_loss_nor_gradient(task, times, seed):
    model = model_of(task, seed)
    loss, grads = model.loss_and_grads(task.batch, task.labels)
    again = np.tile(np.arange(3), times)
    more, grads_of_more = model.loss_and_grads(batch_of(task, again), rows_of(task.labels, again))
    assert more == pytest.approx(loss, rel=1e-12)
    assert_same_gradients(grads_of_more, grads, zeros=task.zeros)


@TASKS
@given(order=st.permutations(range(3)), seed=st.integers(0, 999))
@settings(max_examples=5)
def test_the_order_of_the_batch_changes_neither_loss_nor_gradient(task, order, seed):
    model = model_of(task, seed)
    loss, grads = model.loss_and_grads(task.batch, task.labels)
    other, grads_of_other = model.loss_and_grads(
        batch_of(task, order), rows_of(task.labels, list(order))
    )
    assert other == pytest.approx(loss, rel=1e-12)
    assert_same_gradients(grads_of_other, grads, zeros=task.zeros)


@TASKS
def test_float32_agrees_with_float64_within_rounding(task):
    exact, exact_grads = model_of(task).loss_and_grads(task.batch, task.labels)
    loss, grads = model_of(task, dtype=np.float32).loss_and_grads(task.batch, task.labels)
    # A few thousand roundings of 6e-8 each, most of which cancel, on the way there and back.
    assert loss == pytest.approx(exact, rel=1e-5)
    wrong = np.linalg.norm(grads.vector - exact_grads.vector)
    assert wrong <= 1e-5 * np.linalg.norm(exact_grads.vector)


@TASKS
def test_labels_that_are_all_ignored_give_nothing_and_no_nan(task):
    if "regression" in task.name or "number" in task.name:
        pytest.skip("numbers are never ignored")
    labels = task.labels
    if isinstance(labels, Mapping):
        labels = {name: np.full_like(array, -100) for name, array in labels.items()}
    else:
        labels = np.full_like(labels, -100)
    loss, grads = model_of(task).loss_and_grads(task.batch, labels)
    assert loss == 0
    assert not grads.vector.any()


@pytest.mark.parametrize("length", [1, CONFIG.max_position_embeddings])
def test_the_shortest_and_the_longest_sequences_train(length):
    model = BertForMaskedLM(
        CONFIG, params=away_from_initial(Parameters(BertForMaskedLM(CONFIG).shapes()))
    )
    ids = np.arange(2 * length).reshape(2, length) % CONFIG.vocab_size
    loss, grads = model.loss_and_grads({"input_ids": ids}, ids)
    assert np.isfinite(loss)
    assert np.isfinite(grads.vector).all()
    too_long = np.zeros((1, CONFIG.max_position_embeddings + 1), int)
    with pytest.raises(ValueError, match="input_ids: expected at most 8 tokens"):
        model(too_long)


@st.composite
def cases(draw, **fixed):
    config = draw(configs(**fixed))
    params = away_from_initial(Parameters(BertModel(config).shapes()), draw(st.integers(0, 999)))
    return BertModel(config, params=params), draw(batches(config))


@given(cases(max_position_embeddings=12), st.integers(1, 4))
@settings(max_examples=30)
def test_more_padding_changes_real_tokens_by_rounding_only(case, more):
    model, batch = case
    wider = {name: np.pad(array, ((0, 0), (0, more))) for name, array in batch.items()}
    T = batch["input_ids"].shape[1]
    real = batch["attention_mask"] == 1
    one, other = model(**batch).last_hidden_state, model(**wider).last_hidden_state[:, :T]
    np.testing.assert_allclose(one[real], other[real], rtol=0, atol=1e-11)


@given(cases(type_vocab_size=1))
@settings(max_examples=20)
def test_segments_that_are_not_named_are_the_first(case):
    model, batch = case
    unnamed = {name: array for name, array in batch.items() if name != "token_type_ids"}
    named = {**batch, "token_type_ids": np.zeros_like(batch["input_ids"])}
    assert (model(**unnamed).last_hidden_state == model(**named).last_hidden_state).all()


@given(st.integers(0, 999))
@settings(max_examples=10)
def test_a_segment_that_is_like_the_other_makes_no_difference(seed):
    config = replace(CONFIG, hidden_dropout_prob=0.0)
    params = away_from_initial(Parameters(BertModel(config).shapes()), seed)
    table = params["embeddings.token_type_embeddings.weight"]
    table[1] = table[0]
    model = BertModel(config, params=params)
    one = model(**BATCH).last_hidden_state
    other = model(**{**BATCH, "token_type_ids": 1 - BATCH["token_type_ids"]}).last_hidden_state
    assert (one == other).all()
