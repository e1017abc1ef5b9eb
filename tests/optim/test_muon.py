"""Muon: orthogonalization, its equations, which parameters it takes, its state, its bits."""

import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from examples.relative_bias import relative
from minibert import BertForMaskedLM, BertForSequenceClassification
from minibert.models import BertForPreTraining
from minibert.optim import AdamW, Muon, Optimizer, hidden_matrices, orthogonalize, run_jobs
from minibert.parameters import Parameters
from minibert.runtime.blas import one_blas_thread
from minibert.specs import Joined, ParameterSpec
from minibert.training import Engine
from minibert.training.checkpoint import checkpoints, restore_optimizer
from tests import plain
from tests.optim.test_optimizers import shards_at, trained
from tests.test_gradients import model_and_shards
from tests.training.test_engine import CONFIG

SPECS = {
    "words": ParameterSpec((7, 3), depth=0),
    "query": ParameterSpec((3, 3), depth=1),
    "key": ParameterSpec((3, 3), depth=1),
    "both": Joined(("query", "key")),
    "bias": ParameterSpec((3,), depth=1, decay=False),
    "distances": ParameterSpec((5, 2), depth=1, decay=False),
    "up": ParameterSpec((5, 3), depth=1),
    "down": ParameterSpec((3, 5), depth=2),
    "head": ParameterSpec((2, 3)),
}
MATRICES = ("query", "key", "up", "down")


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def away_from_zero(dtype=np.float64, specs=SPECS):
    params = Parameters(specs, dtype=dtype)
    params.vector[:] = numbers(params.vector.size, seed=1)
    return params


# Orthogonalization.


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    steps=st.integers(1, 8),
    seed=st.integers(0, 2**32),
)
def test_orthogonalize_applies_the_polynomial_to_every_singular_value(shape, steps, seed):
    matrix = numbers(*shape, seed=seed)
    before = matrix.copy()
    np.testing.assert_allclose(
        orthogonalize(matrix, steps), plain.orthogonalized(matrix, steps), atol=1e-9
    )
    assert (matrix == before).all()


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (48, 48), (1, 20), (20, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_singular_values_end_near_1(shape, dtype):
    """Above 0.002 of the norm they end in [0.6, 1.3]; a smaller one becomes 300 times as large."""
    for seed in range(20):
        matrix = numbers(*shape, seed=seed).astype(dtype)
        out = orthogonalize(matrix)
        assert out.dtype == dtype
        u, sigma, vt = np.linalg.svd(matrix, full_matrices=False)
        # Its singular values in the order of M's: the diagonal of Uᵀ X V.
        moved = np.diag(u.T @ out @ vt.T)  # (r, m) @ (m, n) @ (n, r) -> (r, r)
        share = sigma / np.linalg.norm(matrix)
        assert share[0] > 0.002
        assert (moved < 1.3).all()
        assert (moved[share > 0.002] > 0.6).all()
        small = (share < 0.002) & (share > 1e-5)
        assert (moved[small] > 300 * share[small]).all()


def test_orthogonalize_is_near_the_orthogonal_factor():
    matrix = numbers(16, 64)
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    factor = u @ vt  # (m, m) @ (m, n) -> (m, n)
    out = orthogonalize(matrix)
    assert np.linalg.norm(out - factor) < 0.3 * np.linalg.norm(factor)
    cosine = (out * factor).sum() / np.linalg.norm(out) / np.linalg.norm(factor)
    assert cosine > 0.97
    # Orthogonal matrices are kept, except for one factor.
    again = orthogonalize(factor)
    np.testing.assert_allclose(again, again[0, 0] / factor[0, 0] * factor, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e-12, 1e10, 1e30, 3e37])
@pytest.mark.parametrize("shape", [(4, 6), (6, 4)])
def test_orthogonalize_does_not_depend_on_the_scale(scale, shape):
    matrix = numbers(*shape).astype(np.float32)
    with np.errstate(all="raise", under="ignore"):
        scaled = orthogonalize(matrix * np.float32(scale))
    rtol = 1e-3 if scale == 1e-40 else 1e-5  # a denormal number has few digits
    np.testing.assert_allclose(scaled, orthogonalize(matrix), rtol=rtol, atol=rtol)
    assert (orthogonalize(matrix * np.float32(2**-20)) == orthogonalize(matrix)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_orthogonalize_of_singular_matrices_is_finite_and_of_zero_is_zero(dtype):
    row, column = numbers(1, 6).astype(dtype), numbers(4, 1, seed=1).astype(dtype)
    with np.errstate(all="raise", under="ignore"):
        for matrix in (column * row, (column * row).T, np.ones((5, 5), dtype), np.eye(4, 6, 2)):
            out = orthogonalize(matrix.astype(dtype))
            assert np.isfinite(out).all()
            rank = np.linalg.matrix_rank(matrix)
            sigma = np.linalg.svd(out, compute_uv=False)
            assert ((sigma[:rank] > 0.6) & (sigma[:rank] < 1.3)).all()
            assert (sigma[rank:] < 1e-3).all()
        assert not orthogonalize(np.zeros((3, 4), dtype)).any()
        assert (orthogonalize(np.array([[-5.0]], dtype)) < -0.6).all()


@pytest.mark.parametrize("shape", [(3000, 3), (3, 3000)])
def test_orthogonalize_multiplies_on_the_smaller_side(shape):
    matrix = numbers(*shape)
    tracemalloc.start()
    try:
        orthogonalize(matrix)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * matrix.nbytes  # the larger Gram matrix takes a thousand times the matrix


# Which parameters are matrices.


def test_hidden_matrices_are_those_of_blocks():
    assert tuple(hidden_matrices(Parameters(SPECS))) == MATRICES
    for kind in (BertForMaskedLM, BertForPreTraining, BertForSequenceClassification):
        model = kind(CONFIG)
        parts = ("attention.self.query", "attention.self.key", "attention.self.value",
                 "attention.output.dense", "intermediate.dense", "output.dense")  # fmt: skip
        assert hidden_matrices(model.params) == [
            f"bert.encoder.layer.{i}.{part}.weight" for i in range(2) for part in parts
        ]


def test_hidden_matrices_leave_out_a_table_of_relative_positions():
    model = BertForMaskedLM(CONFIG, positions=relative)
    tables = [name for name in model.params if "layer." not in name and "encoder." in name]
    assert tables
    assert not {*tables} & {*hidden_matrices(model.params)}


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        (["query", "kay"], "matrices: expected names of matrices, got 'kay', which is unknown"),
        (["both"], "matrices: expected names of matrices, got 'both', which is unknown"),
        (["bias"], "matrices: expected names of matrices, got 'bias', of shape (3,)"),
        (["words"], "matrices: expected names of matrices, got 'words', a table of embeddings"),
        ([], "matrices: expected the name of a matrix at least, got none"),
    ],
)
def test_muon_names_what_is_not_a_matrix(matrices, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Muon(Parameters(SPECS), matrices=matrices)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"momentum": 1.0}, "momentum: expected 0 or more and less than 1, got 1.0"),
        ({"ns_steps": 0}, "ns_steps: expected at least 1, got 0"),
        ({"adjust": "rms"}, "adjust: expected one of match_rms_adamw, original, got 'rms'"),
    ],
)
def test_muon_names_an_option_out_of_range(option, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Muon(Parameters(SPECS), **option)


def test_muon_takes_a_table_with_a_padding_row_for_no_matrix():
    params = Parameters({"table": ParameterSpec((5, 2), zero_row=0), "weight": (2, 2)})
    with pytest.raises(ValueError, match="got 'table', a table of embeddings"):
        Muon(params, matrices=["table"])
    with pytest.raises(ValueError, match="expected the name of a matrix at least"):
        Muon(params)  # their depth is not known


# The update.


@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 5),
    momentum=st.sampled_from([0.0, 0.5, 0.95]),
    nesterov=st.booleans(),
    weight_decay=st.sampled_from([0.0, 0.01, 0.5]),
    scale=st.sampled_from([1.0, 0.25]),
)
@example(seed=0, steps=4, momentum=0.95, nesterov=True, weight_decay=0.5, scale=0.25)
def test_muon_follows_the_equations(seed, steps, momentum, nesterov, weight_decay, scale):
    rng = np.random.default_rng(seed)
    params, others = away_from_zero(), away_from_zero()
    gradients = rng.standard_normal((steps, params.vector.size))
    rates = rng.uniform(0, 0.1, steps)
    muon = Muon(params, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    adam = AdamW(others, weight_decay=weight_decay)
    weights = {name: params[name].copy() for name in MATRICES}
    moments = {name: np.zeros_like(params[name]) for name in MATRICES}
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True)):
        own = scale**step  # if it never changed, the orthogonalization would hide it
        muon.update(gradient, rate, own)
        adam.update(gradient, rate, own)
        g = Parameters(SPECS, own * gradient)
        for name in MATRICES:
            weights[name], moments[name] = plain.muon_update(
                weights[name], g[name], moments[name], rate, momentum, weight_decay, nesterov
            )
    assert muon.step == steps
    for name in params:
        expected = weights.get(name, others[name])
        np.testing.assert_allclose(params[name], expected, rtol=1e-9, atol=1e-10, err_msg=name)


def test_original_adjustment_is_the_root_of_the_shape():
    one, other = away_from_zero(), away_from_zero()
    g = numbers(one.vector.size)
    start = one.vector.copy()
    for params, adjust in ((one, "original"), (other, "match_rms_adamw")):
        Muon(params, adjust=adjust, weight_decay=0.0).update(g, 0.1)
    start = Parameters(SPECS, start)
    for name, ratio in (("query", 1), ("up", np.sqrt(5 / 3)), ("down", 1)):
        moved, usual = one[name] - start[name], other[name] - start[name]
        size = 0.2 * np.sqrt(max(start[name].shape))
        np.testing.assert_allclose(moved, ratio / size * usual, rtol=1e-9)


def test_match_rms_adamw_makes_an_update_of_about_a_fifth_of_the_rate():
    """So that one learning rate is right for AdamW's and Muon's half."""
    for shape in ((24, 24), (24, 96), (96, 24)):
        params = Parameters({"weight": ParameterSpec(shape, depth=1)}, dtype=np.float64)
        Muon(params).update(numbers(shape[0] * shape[1]), 0.1)
        assert np.sqrt((params.vector**2).mean()) == pytest.approx(0.02, rel=0.2)


def test_rates_scale_the_learning_rate_and_0_keeps_a_matrix():
    gradient = numbers(Parameters(SPECS).vector.size)

    def updated(rate, rates=None):
        params = away_from_zero()
        muon = Muon(params, weight_decay=0.1, rates=rates)
        for _ in range(3):
            muon.update(gradient, rate)
        return params, muon

    (whole, _), (half, _) = updated(0.1), updated(0.05)
    own, muon = updated(0.1, {"up": 0.5, "down": 0.0, "words": 0.0, "head": 0.5})
    start = away_from_zero()
    for name in own:
        expected = {"up": half, "head": half, "down": start, "words": start}.get(name, whole)
        np.testing.assert_array_equal(own[name], expected[name], err_msg=name)
    assert not muon.momentum[start.slices["down"]].any()


def test_given_matrices_replace_the_default_and_are_updated_once():
    params, gradient = away_from_zero(), numbers(Parameters(SPECS).vector.size)
    muon = Muon(params, matrices=["head", "query", "head"])
    assert muon.matrices == ("head", "query")
    assert isinstance(muon, Optimizer)
    jobs = muon.jobs(gradient, 0.1)
    assert len(jobs) == 2 + len(AdamW(params, rates=dict.fromkeys(muon.matrices, 0)).spans)
    usual = away_from_zero()
    adam = AdamW(usual)
    adam.update(gradient, 0.1)
    for job in jobs:
        job()
    assert (params["up"] == usual["up"]).all()
    assert (params["head"] != usual["head"]).all()


# Bits.

# Sizes at which OpenBLAS rounds differently with one and two threads.
WIDE = {
    "words": ParameterSpec((300, 100), depth=0),
    **{f"w{i}": ParameterSpec((100, 300), depth=1) for i in range(3)},
    "tall": ParameterSpec((300, 100), depth=1),
}


def bits_after(steps, threads=1, order=1):
    params = away_from_zero(np.float64, WIDE)
    muon = Muon(params)
    for step in range(steps):
        jobs = muon.jobs(numbers(params.vector.size, seed=step), 0.01)
        run_jobs(jobs[::order], threads)
    return params.vector


def test_update_gives_the_same_bits_for_any_threads_order_and_limit_of_blas():
    """A step may run outside of `Engine.running`, which limits BLAS to one thread."""
    with one_blas_thread():
        expected = bits_after(3)
    for threads in (1, 2, 4):
        assert (bits_after(3, threads) == expected).all()
    assert (bits_after(3, order=-1) == expected).all()


class Dense(Muon):
    """The same optimizer, which is not told of rows."""

    takes_rows = False


@pytest.mark.parametrize("parts", [1, 3])
def test_rows_give_the_bits_of_the_dense_update(parts):
    """Rows come and go, and the run is resumed half-way from the state alone."""
    vectors = []
    for optimizer, threads in ((Dense, 1), (Muon, 1), (Muon, 2), (Muon, 4)):
        model, _ = model_and_shards(BertForSequenceClassification)
        engine = Engine(model, optimizer(model.params, weight_decay=0.1), threads=threads)
        for step in range(6):
            if step == 3:
                state = {name: each.copy() for name, each in engine.optimizer.state().items()}
                muon = optimizer(model.params, weight_decay=0.1)
                muon.load(state)
                muon.step = 3
                engine = Engine(model, muon, threads=threads)
            shards = model_and_shards(BertForSequenceClassification, seed=step)[1](parts)
            engine.step(shards, 1e-2)
        assert engine.grads.nonzero_rows().keys() == {"bert.embeddings.word_embeddings.weight"}
        vectors.append(model.params.vector.copy())
    assert all((vector == vectors[0]).all() for vector in vectors)


def test_rows_of_a_matrix_are_not_asked_for():
    params, gradient = away_from_zero(), np.zeros(Parameters(SPECS).vector.size)
    gradient[params.slices["head"].start] = 1
    rows = {"head": np.array([0]), "words": np.array([], int)}
    for job in Muon(params, matrices=["head"]).jobs(gradient, 0.1, 1.0, rows):
        job()
    usual = away_from_zero()
    Muon(usual, matrices=["head"]).update(gradient, 0.1)
    assert (params.vector == usual.vector).all()


# Training and resuming.


def muon_for(model, settings):
    return Muon(model.params, weight_decay=settings.weight_decay)


def test_muon_lowers_the_loss():
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, Muon(model.params))
    losses = [engine.step(shards_at(0), 1e-2).loss for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_a_run_with_muon_is_resumed_to_the_same_bits(tokenizer, tmp_path):
    whole = trained(tokenizer, 6, muon_for)
    trained(tokenizer, 4, muon_for, run=tmp_path)
    newest = checkpoints(tmp_path)[-1]
    model = BertForMaskedLM.from_pretrained(newest)
    muon = Muon(model.params)
    restore_optimizer(newest, muon)
    assert muon.step == muon.adamw.step == 4
    assert all(muon.momentum[model.params.slices[name]].any() for name in muon.matrices)
    assert muon.momentum is muon.adamw.first
    trained(tokenizer, 6, muon, model)
    assert (model.params.vector == whole.params.vector).all()


@pytest.mark.parametrize("kinds", [(AdamW, Muon), (Muon, AdamW)])
def test_a_checkpoint_of_the_other_optimizer_is_refused_in_one_line(kinds, tokenizer, tmp_path):
    wrote, reads = kinds
    model = trained(tokenizer, 6, lambda model, _: wrote(model.params), run=tmp_path)
    optimizer = reads(model.params)
    message = f"optimizer: the run in .* has {wrote.__name__}, got {reads.__name__}"
    with pytest.raises(ValueError, match=message) as caught:
        restore_optimizer(checkpoints(tmp_path)[-1], optimizer)
    assert "\n" not in str(caught.value)
    assert not any(each.any() for each in optimizer.state().values())


def test_load_refuses_a_state_of_adamw_and_changes_nothing():
    muon, adam = Muon(Parameters(SPECS)), AdamW(Parameters(SPECS))
    adam.update(np.ones(Parameters(SPECS).vector.size, np.float32), 0.1)
    message = r"^momentum: expected \(88,\) in float32 for Muon, got no array$"
    with pytest.raises(ValueError, match=message):
        muon.load(adam.state())
    assert not any(each.any() for each in muon.state().values())
