"""`Gradients`: what is left out is as good as zeros, whatever is in the memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertConfig, BertForMaskedLM, BertForSequenceClassification
from minibert.functional import Unwritten, add_product
from minibert.gradients import Gradients
from minibert.optim import AdamW, clip_scale
from minibert.parameters import Parameters
from minibert.specs import Joined, ParameterSpec
from minibert.training import Engine, split_batch

LAYOUT = {
    "table": ParameterSpec((6, 2)),
    "query": ParameterSpec((2, 3)),
    "key": ParameterSpec((2, 3)),
    "both": Joined(("query", "key")),
    "bias": ParameterSpec((3,), decay=False),
}
ids = st.lists(st.integers(0, 5), max_size=4)
# What a layer does to a gradient, by name: each is done to `Gradients` and to plain zeros.
operations = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.sampled_from(["table"]), ids),
        st.tuples(st.just("product"), st.sampled_from(["query", "key", "both"]), st.just(())),
        st.tuples(st.just("add"), st.sampled_from([*LAYOUT]), st.just(())),
        st.tuples(st.just("scoped"), st.just("table"), st.just(())),
    ),
    max_size=6,
)


def apply(grads, done, rng):
    """Do the operations; the numbers added depend on the generator alone."""
    for kind, name, rows in done:
        if kind == "rows":
            np.add.at(grads.rows(name, np.array(rows, int)), rows, rng.normal(size=(len(rows), 2)))
        elif kind == "product":
            shape = LAYOUT_SHAPES[name][0]
            add_product(grads.unwritten(name), rng.normal(size=(shape, 5)), rng.normal(size=(5, 3)))
        elif kind == "add":
            grads[name] += rng.normal(size=LAYOUT_SHAPES[name])
        else:
            grads.scope("ta")["ble"][...] += rng.normal(size=(6, 2))


LAYOUT_SHAPES = {"table": (6, 2), "query": (2, 3), "key": (2, 3), "both": (4, 3), "bias": (3,)}


@given(st.lists(operations, min_size=1, max_size=4), st.integers(0, 9))
def test_gradients_are_those_of_plain_zeros_whatever_was_done_before(steps, seed):
    grads, other = Gradients(LAYOUT, dtype=np.float64), Gradients(LAYOUT, dtype=np.float64)
    for number, done in enumerate(steps):
        plain = Parameters(LAYOUT, dtype=np.float64)
        grads.reset()
        apply(grads, done, np.random.default_rng(seed + number))
        apply(plain, done, np.random.default_rng(seed + number))
        other.reset()
        apply(other, steps[0], np.random.default_rng(seed))
        apply(plain, steps[0], np.random.default_rng(seed))
        squares = sum(job() for job in grads.addition(other))
        np.testing.assert_allclose(squares, plain.vector @ plain.vector, rtol=1e-12)
        norm, scale = clip_scale(grads.pieces(), 1.0)
        assert (norm, scale) == pytest.approx(clip_scale(plain.vector, 1.0), rel=1e-12)
        for name, rows in grads.nonzero_rows().items():
            assert not np.delete(plain[name], rows, axis=0).any()
        np.testing.assert_allclose(grads.filled(), plain.vector, rtol=1e-12, atol=1e-14)
        if number % 2:  # reading all of it changes nothing
            np.testing.assert_allclose(grads.vector, plain.vector, rtol=1e-12, atol=1e-14)


def test_a_product_is_written_once_and_then_added():
    grads = Gradients(LAYOUT)
    grads["query"] += 7
    grads.reset()
    left, right = np.ones((2, 5), np.float32), np.ones((5, 3), np.float32)
    for expected in (5, 10):
        total = grads.unwritten("query")
        assert isinstance(total, Unwritten) == (expected == 5)
        add_product(total, left, right)
        assert (grads["query"] == expected).all()


def model_and_shards(kind, texts=12, seed=0):
    rng = np.random.default_rng(seed)
    config = BertConfig.preset("tiny", vocab_size=400, max_position_embeddings=8)
    ids = rng.integers(5, 60, (texts, 8))
    labels = np.where(rng.random((texts, 8)) < 0.3, ids, -100)
    if kind is BertForSequenceClassification:
        labels = rng.integers(0, 2, texts)
    batch = {"input_ids": ids, "token_type_ids": 0 * ids, "attention_mask": 0 * ids + 1}
    return kind(config, seed=0), lambda parts: split_batch(batch, labels, parts)


class Dense(AdamW):
    """The same optimizer, which is not told of rows."""

    takes_rows = False


@pytest.mark.parametrize("kind", [BertForSequenceClassification, BertForMaskedLM])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_rows_give_the_bits_of_the_dense_update(kind, parts):
    """Rows come and go, and the run is resumed half-way from the moments alone."""
    vectors = []
    for optimizer, threads in ((Dense, 1), (AdamW, 1), (AdamW, 3)):
        model, _ = model_and_shards(kind)
        engine = Engine(model, optimizer(model.params, weight_decay=0.1), threads=threads)
        for step in range(6):
            if step == 3:
                state = engine.optimizer.state()
                adam = optimizer(model.params, weight_decay=0.1)
                adam.load(state)
                adam.step = 3
                engine = Engine(model, adam, threads=threads)
            engine.step(model_and_shards(kind, seed=step)[1](parts), 1e-2)
        vectors.append(model.params.vector.copy())
        if kind is BertForSequenceClassification:
            by_rows = engine.grads.nonzero_rows()
            assert by_rows.keys() == {"bert.embeddings.word_embeddings.weight"}
    assert (vectors[0] == vectors[1]).all()
    assert (vectors[1] == vectors[2]).all()


def test_a_table_without_gradient_rows_only_decays():
    params = Parameters({"table": (1000, 3)})
    params.vector[:] = 1
    adam, plain = (AdamW(each, weight_decay=0.5) for each in (params, params.astype(np.float32)))
    gradient = np.zeros(3000, np.float32)
    gradient[6:9] = 1
    for job in adam.jobs(gradient, 0.1, rows={"table": np.array([2])}):
        job()
    plain.update(gradient, 0.1)
    assert (params.vector == plain.params.vector).all()
    assert params["table"][0, 0] == np.float32(0.95)
    assert params["table"][2, 0] < 0.9


def test_the_gradient_of_a_tied_table_is_whole_and_of_other_tables_by_rows():
    for kind, expected in ((BertForMaskedLM, 0), (BertForSequenceClassification, 1)):
        model, shards = model_and_shards(kind)
        engine = Engine(model, AdamW(model.params))
        engine.step(shards(2), 1e-3)
        assert len(engine.grads.nonzero_rows()) == expected


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, 1e30, 1e-30, 1e-40])
def test_hostile_gradients_have_the_norm_of_the_plain_vector(number):
    grads, other = Gradients(LAYOUT), Gradients(LAYOUT)
    plain = Parameters(LAYOUT)
    for name, place in (("table", (2, 1)), ("bias", (0,))):
        for each in (grads, other, plain):
            target = each.rows(name, np.array([2])) if name == "table" else each[name]
            with np.errstate(all="ignore"):
                target[place] += number * (2 if each is plain else 1)
    squares = sum(job() for job in grads.addition(other))
    with np.errstate(all="ignore"):
        found = clip_scale(grads.pieces(), 1.0, squares)
        rtol = 1e-6 if number != 1e-40 else 1e-4  # a denormal number has few digits
        np.testing.assert_allclose(found, clip_scale(plain.vector, 1.0), rtol=rtol)


def test_a_loss_that_is_not_finite_leaves_parameters_and_the_next_step_as_they_are():
    """The buffers of a failed step hold anything; nothing of it reaches the next step."""
    results = []
    for fails in (False, True):
        model, shards = model_and_shards(BertForSequenceClassification)
        engine = Engine(model, AdamW(model.params), threads=2)
        engine.step(shards(3), 1e-2)
        if fails:
            table = model.params["bert.embeddings.word_embeddings.weight"]
            before = table.copy()
            table[...] = np.nan
            with pytest.raises(FloatingPointError):
                engine.step(shards(3), 1e-2)
            table[...] = before
        engine.step(shards(3), 1e-2)
        results.append(model.params.vector.copy())
    assert (results[0] == results[1]).all()


def test_loaded_moments_decide_which_rows_are_idle():
    """An optimizer that has seen other rows continues from a state as a new one does."""
    results = []
    for rows_before in ([], [1, 2]):
        params = Parameters({"table": (50, 3)})
        params.vector[:] = 1
        adam, gradient = AdamW(params), np.zeros(150, np.float32)
        for job in adam.jobs(gradient, 0.1, rows={"table": np.array(rows_before, int)}):
            job()
        params.vector[:] = 1
        state = {name: np.zeros_like(each) for name, each in adam.state().items()}
        state["first"][30:33] = state["second"][30:33] = 1  # row 10
        adam.load(state)
        for job in adam.jobs(gradient, 0.1, rows={"table": np.array([4])}):
            job()
        results.append(params.vector.copy())
    assert (results[0] == results[1]).all()
    moved = params["table"][:, 0] != params["table"][0, 0]
    assert np.flatnonzero(moved).tolist() == [10]
