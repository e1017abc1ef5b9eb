"""AdamW against its equations, the spans that decay, clipping, and the schedule."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minibert import BertConfig, BertForMaskedLM
from minibert.optim import AdamW, base, clip_scale, linear_schedule, spans
from minibert.parameters import Parameters, ParameterSpec

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
def test_updates_follow_the_equations(seed, steps, betas, eps, weight_decay, scale):
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
def test_a_steady_gradient_moves_by_the_rate_however_late_and_however_small(step, size):
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
def test_the_pieces_do_not_show(monkeypatch, threads):
    rng = np.random.default_rng(0)
    gradient = rng.standard_normal(31).astype(np.float32)
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


def test_clipping_shortens_long_gradients_only():
    assert clip_scale(np.array([3.0, 4.0]), 1.0) == (5.0, 0.2)
    assert clip_scale(np.array([0.3, 0.4]), 1.0) == (0.5, 1.0)
    assert clip_scale(np.zeros(2), 1.0) == (0.0, 1.0)
    assert clip_scale(np.array([3e-5, 4e-5]), 1e-5) == pytest.approx((5e-5, 0.2))


@given(
    st.lists(st.tuples(st.integers(-38, 37), st.sampled_from([-3.0, 0.0, 1.0])), min_size=1),
    st.sampled_from([np.float32, np.float64]),
)
@example([(-21, 1.0)], np.float32)  # its square is no normal number
def test_gradients_of_mixed_sizes_are_clipped_to_the_longest(numbers, dtype):
    gradient = np.array([sign * 10.0**size for size, sign in numbers], dtype)
    wide = gradient.astype(np.float64)
    norm, factor = clip_scale(gradient, 1.0)
    exact = np.sqrt(np.sum((wide / 1e38) ** 2)) * 1e38 if np.abs(wide).max() > 1 else 0
    exact = exact or np.sqrt(np.sum((wide * 1e38) ** 2)) / 1e38
    assert norm == pytest.approx(exact, rel=1e-5, abs=0)
    assert np.linalg.norm(wide * factor) == pytest.approx(min(exact, 1), rel=1e-5, abs=0)


@given(st.integers(1, 200), st.floats(0, 1))
def test_the_rate_rises_then_falls_in_straight_lines(total, share):
    warmup = round(share * total)
    rates = [linear_schedule(step, total, warmup, 2.0) for step in range(total)]
    assert max(rates) == pytest.approx(2.0)
    assert min(rates) > 0
    np.testing.assert_allclose(np.diff(rates[:warmup]), 2.0 / max(warmup, 1))
    np.testing.assert_allclose(np.diff(rates[warmup:]), -2.0 / max(total - warmup, 1))
