"""AdamW against its equations, the spans that decay, clipping, and the schedule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertConfig, BertForMaskedLM
from minibert.parameters import Parameters
from minibert.training import optimizer as module
from minibert.training.optimizer import AdamW, clip_scale, linear_schedule, spans

SHAPES = {"a.weight": (3, 4), "a.bias": (3,), "LayerNorm.weight": (2,), "LayerNorm.bias": (2,),
          "b.weight": (5, 2)}  # fmt: skip


def reference(p, gradients, rates, decays, *, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01):
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        step = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        p = p - rate * (step + weight_decay * decays * p)
    return p


@given(st.integers(0, 2**32), st.integers(1, 6))
def test_updates_follow_the_equations(seed, steps):
    rng = np.random.default_rng(seed)
    params = Parameters(SHAPES, dtype=np.float64)
    params.vector[:] = rng.standard_normal(params.vector.size)
    gradients = rng.standard_normal((steps, params.vector.size))
    rates = rng.uniform(0, 0.1, steps)
    decays = np.zeros(params.vector.size)
    for name in ("a.weight", "b.weight"):
        decays[params.slices[name]] = 1
    expected = reference(params.vector.copy(), gradients, rates, decays)
    adam = AdamW(params)
    for gradient, rate in zip(gradients, rates, strict=True):
        adam.update(gradient, rate)
    np.testing.assert_allclose(params.vector, expected, rtol=1e-12, atol=1e-14)


def test_the_pieces_do_not_show(monkeypatch):
    rng = np.random.default_rng(0)
    gradient = rng.standard_normal(31).astype(np.float32)
    results = []
    for piece in (3, 1000):
        monkeypatch.setattr(module, "PIECE", piece)
        params = Parameters(SHAPES)
        params.vector[:] = 1
        adam = AdamW(params)
        for _ in range(3):
            adam.update(gradient, 0.01, scale=0.5)
        results.append(params.vector)
    assert (results[0] == results[1]).all()


def test_biases_and_layer_norms_of_a_model_do_not_decay():
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


def test_a_parameter_has_its_own_rate_and_none_at_0():
    """Half the rate for one name is what the whole vector would do at half the rate."""
    shapes = {"a.weight": (3, 2), "b.weight": (4,), "b.bias": (2,)}
    gradient = np.random.default_rng(0).normal(size=12)

    def trained(rate, rates=None):
        params = Parameters(shapes, dtype=np.float64)
        params.vector[:] = np.arange(12)
        adam = AdamW(params, weight_decay=0.1, rates=rates)
        for _ in range(3):
            adam.update(gradient, rate)
        return params

    whole, half, own = trained(0.1), trained(0.05), trained(0.1, {"b.weight": 0.5, "b.bias": 0})
    np.testing.assert_array_equal(own["a.weight"], whole["a.weight"])
    np.testing.assert_array_equal(own["b.weight"], half["b.weight"])
    np.testing.assert_array_equal(own["b.bias"], [10, 11])


def test_clipping_shortens_long_gradients_only():
    assert clip_scale(np.array([3.0, 4.0]), 1.0) == (5.0, 0.2)
    assert clip_scale(np.array([0.3, 0.4]), 1.0) == (0.5, 1.0)
    assert clip_scale(np.zeros(2), 1.0) == (0.0, 1.0)
    assert clip_scale(np.array([3e-5, 4e-5]), 1e-5) == pytest.approx((5e-5, 0.2))


@given(st.integers(1, 200), st.floats(0, 1))
def test_the_rate_rises_then_falls_in_straight_lines(total, share):
    warmup = round(share * total)
    rates = [linear_schedule(step, total, warmup, 2.0) for step in range(total)]
    assert max(rates) == pytest.approx(2.0)
    assert min(rates) > 0
    np.testing.assert_allclose(np.diff(rates[:warmup]), 2.0 / max(warmup, 1))
    np.testing.assert_allclose(np.diff(rates[warmup:]), -2.0 / max(total - warmup, 1))
