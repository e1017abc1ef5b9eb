"""AdamW: its equations, weight decay by declaration, pieces, rates, and its state."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertConfig, BertForMaskedLM
from minibert.optim import AdamW, base, spans
from minibert.parameters import Parameters
from minibert.specs import ParameterSpec

SPECS = {
    "a.weight": ParameterSpec((3, 4)),
    "a.bias": ParameterSpec((3,), decay=False),
    "LayerNorm.weight": ParameterSpec((2,), decay=False),
    "LayerNorm.bias": ParameterSpec((2,), decay=False),
    "b.weight": ParameterSpec((5, 2)),
}


def reference(p, gradients, rates, decays, betas, eps, weight_decay):
    beta1, beta2 = betas
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        step = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        p = p - rate * (step + weight_decay * decays * p)
    return p


@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 6),
    betas=st.tuples(st.sampled_from([0.0, 0.8, 0.9]), st.sampled_from([0.0, 0.98, 0.999])),
    eps=st.sampled_from([1e-8, 1e-3]),
    weight_decay=st.sampled_from([0.0, 0.01, 0.5]),
    scale=st.sampled_from([1.0, 0.25]),
)
def test_update_follows_the_equations(seed, steps, betas, eps, weight_decay, scale):
    rng = np.random.default_rng(seed)
    params = Parameters(SPECS, dtype=np.float64)
    params.vector[:] = rng.standard_normal(params.vector.size)
    gradients = rng.standard_normal((steps, params.vector.size))
    rates = rng.uniform(0, 0.1, steps)
    decays = np.zeros(params.vector.size)
    for name in ("a.weight", "b.weight"):
        decays[params.slices[name]] = 1
    expected = reference(
        params.vector.copy(), scale * gradients, rates, decays, betas, eps, weight_decay
    )
    adam = AdamW(params, betas=betas, eps=eps, weight_decay=weight_decay)
    for gradient, rate in zip(gradients, rates, strict=True):
        adam.update(gradient, rate, scale)
    np.testing.assert_allclose(params.vector, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("step", [1, 10**6])
@pytest.mark.parametrize("size", [1e-30, 1e-12, 0.37, 1e15])
def test_update_moves_by_the_rate_for_a_constant_gradient_of_any_size(step, size):
    params = Parameters({"weight": (2,)})
    adam = AdamW(params, weight_decay=0.0)
    gradient = np.array([size, -size], np.float32)
    if step > 1:
        adam.step, adam.first[:], adam.second[:] = step - 1, gradient, gradient**2
    adam.update(gradient, 0.1)
    assert adam.step == step
    expected = -0.1 * gradient.astype(float) / (np.abs(gradient.astype(float)) + 1e-8)
    np.testing.assert_allclose(params.vector, expected, rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 3])
def test_update_gives_the_same_bits_for_any_pieces(monkeypatch, threads):
    rng = np.random.default_rng(0)
    gradient = rng.standard_normal(29).astype(np.float32)
    results = []
    for piece in (3, 1000):
        monkeypatch.setattr(base, "PIECE", piece)
        params = Parameters(SPECS)
        params.vector[:] = 1
        adam = AdamW(params)
        for _ in range(3):
            adam.update(gradient, 0.01, scale=0.5, threads=threads if piece == 3 else 1)
        results.append(params.vector)
    assert (results[0] == results[1]).all()


def test_spans_decay_all_but_biases_and_norms():
    model = BertForMaskedLM(BertConfig.preset("tiny", vocab_size=50))
    covered = np.zeros(model.params.vector.size, int)
    decays = np.zeros(model.params.vector.size, bool)
    for span, decay, rate in spans(model.params, {}):
        assert rate == 1
        covered[span] += 1
        decays[span] = decay
    assert (covered == 1).all()
    for name, where in model.params.slices.items():
        expected = name.endswith(".weight") and "LayerNorm" not in name
        assert (decays[where] == expected).all(), name


def test_rates_scale_the_learning_rate_of_a_parameter_and_0_keeps_it():
    """Half the rate for one parameter equals an update of all at half the rate."""
    specs = {
        "a.weight": ParameterSpec((3, 2)),
        "b.weight": ParameterSpec((4,)),
        "b.bias": ParameterSpec((2,), decay=False),
    }
    gradient = np.random.default_rng(0).normal(size=12)

    def trained(rate, rates=None):
        params = Parameters(specs, dtype=np.float64)
        params.vector[:] = np.arange(12)
        adam = AdamW(params, weight_decay=0.1, rates=rates)
        for _ in range(3):
            adam.update(gradient, rate)
        return params

    whole, half, own = trained(0.1), trained(0.05), trained(0.1, {"b.weight": 0.5, "b.bias": 0})
    np.testing.assert_array_equal(own["a.weight"], whole["a.weight"])
    np.testing.assert_array_equal(own["b.weight"], half["b.weight"])
    np.testing.assert_array_equal(own["b.bias"], [10, 11])


def test_jobs_may_run_in_any_order(monkeypatch):
    monkeypatch.setattr(base, "PIECE", 4)
    gradient = np.random.default_rng(0).standard_normal(29).astype(np.float32)
    results = []
    for order in (1, -1):
        params = Parameters(SPECS)
        adam = AdamW(params)
        for _ in range(3):
            jobs = adam.jobs(gradient, 0.01, 0.5)
            assert len(jobs) > 4
            for job in jobs[::order]:
                job()
        assert adam.step == 3
        results.append(params.vector)
    assert (results[0] == results[1]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": None}, "second: expected (29,) in float32 for AdamW, got no array"),
        ({"third": np.ones(2)}, "third: expected no array for AdamW, got (2,) in float64"),
        ({"second": np.ones(3, "f4")}, "second: expected (29,) in float32 for AdamW, got (3,) in"),
        (
            {"first": np.ones(29)},
            "first: expected (29,) in float32 for AdamW, got (29,) in float64",
        ),
    ],
)
def test_load_refuses_a_state_that_does_not_fit_and_changes_nothing(change, message):
    adam = AdamW(Parameters(SPECS))
    adam.first[:] = 3
    arrays = {"first": np.ones(29, np.float32), "second": np.ones(29, np.float32), **change}
    state = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        adam.load(state)
    assert "\n" not in str(caught.value)
    assert (adam.first == 3).all()
    assert (adam.second == 0).all()


def test_load_restores_what_state_returns():
    gradient = np.random.default_rng(0).standard_normal(29).astype(np.float32)
    adam, again = AdamW(Parameters(SPECS)), AdamW(Parameters(SPECS))
    adam.update(gradient, 0.1)
    again.load(adam.state())
    assert all((again.state()[name] == array).all() for name, array in adam.state().items())
    assert again.first is not adam.first
