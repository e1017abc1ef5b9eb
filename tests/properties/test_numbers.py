"""Extreme values: huge, tiny, constant and empty arrays."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert import functional as f
from minibert.optim import clip_scale
from minibert.parameters import Parameters
from minibert.testing import float_arrays
from minibert.training import AdamW

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def activate(x, kind):
    """Return an activation of the numbers x (N,), and its slope."""
    out, slope = f.activate_forward(x[:, None].copy(), None, kind)
    return out[:, 0], slope[:, 0]


HUGE = [1e4, -1e4, 3e38, -3e38, 0.0]


@given(st.lists(st.lists(st.sampled_from(HUGE), min_size=4, max_size=4), min_size=2, max_size=3))
@settings(max_examples=60)
def test_softmax_of_huge_scores_is_a_distribution(rows):
    scores = np.array(rows, np.float32)
    weights, _ = f.softmax_forward(scores.copy())
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)
    assert (weights[scores == scores.max(axis=-1, keepdims=True)] >= 0.25 - 1e-6).all()
    dscores = f.softmax_backward(np.ones_like(scores), weights)
    assert np.isfinite(dscores).all()
    # The same holds for attention, where the scores are products.
    query = scores[None, None, :, :1]  # (1, 1, R, 1)
    key = np.array([1, 0, -1, 0.5], np.float32)[None, None, :, None]  # (1, 1, T, 1)
    out, cache = f.attention_forward(query, key, np.ones_like(key))
    np.testing.assert_allclose(out, 1, rtol=1e-6)
    np.testing.assert_allclose(cache.weights.sum(axis=-1), 1, rtol=1e-6)
    assert all(np.isfinite(d).all() for d in f.attention_backward(np.ones_like(out), cache))


@pytest.mark.parametrize("error", [1e-30, 1.0, 1e18, 1e20, 1e38])
def test_a_squared_error_of_any_size_is_finite(error):
    outputs = error * np.array([[1.0, -2.0, 0.0]], np.float32)
    loss, cache = f.squared_error_forward(outputs, np.zeros((1, 3)))
    assert loss == pytest.approx(5 / 3 * error**2, rel=1e-6, abs=0)
    assert np.isfinite(f.squared_error_backward(cache)).all()


def test_rows_of_a_softmax_are_independent():
    """A row with scores far below another row's must not underflow."""
    scores = np.array([[1e4, 1e4], [-1e4, -1e4]], np.float32)
    weights, _ = f.softmax_forward(scores.copy())
    assert (weights == 0.5).all()


@DTYPES
@given(
    row=st.lists(st.sampled_from(HUGE), min_size=3, max_size=3),
    label=st.integers(0, 2),
)
@settings(max_examples=60)
def test_the_loss_of_huge_logits_is_finite_and_its_gradient_is_bounded(dtype, row, label):
    logits = np.array([row, [0.0, 1.0, 2.0]], dtype)
    loss, cache = f.cross_entropy_forward(logits, np.array([label, 1]))
    wide = np.array([row, [0.0, 1.0, 2.0]])
    assert loss == pytest.approx(f.cross_entropy_forward(wide, np.array([label, 1]))[0], rel=1e-6)
    assert np.isfinite(loss)
    assert np.abs(f.cross_entropy_backward(cache)).max() <= 1
    answers = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.5]])
    loss, cache = f.binary_cross_entropy_forward(logits, answers)
    assert np.isfinite(loss)
    assert np.abs(f.binary_cross_entropy_backward(cache)).max() <= 1


@DTYPES
def test_gelu_is_accurate_in_the_tail(dtype):
    """x Φ(x) = x erfc(-x / √2) / 2 has relative accuracy in `math.erfc`, 1 + erf does not."""
    x = np.linspace(-9, 9, 181).astype(dtype)
    out, slope = activate(x, "gelu")
    exact = np.array([float(v) * math.erfc(-float(v) / math.sqrt(2)) / 2 for v in x])
    density = np.exp(-(x.astype(np.float64) ** 2) / 2) / math.sqrt(2 * math.pi)
    derivative = [math.erfc(-float(v) / math.sqrt(2)) / 2 for v in x] + x * density
    tolerance = 1e-5 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(out, exact, rtol=tolerance, atol=1e-7 if tolerance > 1e-6 else 1e-15)
    np.testing.assert_allclose(slope, derivative, rtol=0, atol=tolerance)


@DTYPES
@pytest.mark.parametrize("name", f.ACTIVATIONS)
def test_activations_of_large_inputs_are_the_identity_or_zero(name, dtype):
    x = np.append(np.geomspace(50, 1e37, 200), np.finfo(dtype).max).astype(dtype)
    for sign, expected in (1, x), (-1, 0 * x):
        out, slope = activate(sign * x, name)
        assert (out == expected).all()
        assert (slope == (sign > 0)).all()


def test_relu_has_slope_0_at_0():
    assert activate(np.array([-1.0, 0.0, 1.0]), "relu")[1].tolist() == [0, 0, 1]


@DTYPES
@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0, 1e15])
def test_layer_norm_of_a_constant_row_is_its_bias(dtype, value):
    x = np.full((2, 8), value, dtype)
    weight, bias = np.full(8, 2, dtype), np.arange(8, dtype=dtype)
    out, cache = f.layer_norm_forward(x, weight, bias, 1e-12)
    np.testing.assert_allclose(out, np.tile(bias, (2, 1)), atol=1e-6)
    dx = f.layer_norm_backward(np.ones_like(x), cache, weight, 0 * weight, 0 * bias)
    assert np.isfinite(dx).all()


@given(
    width=st.integers(2, 800),
    mean=st.floats(-100, 100),
    spread=st.sampled_from([0.0, 1e-3, 1.0]),
    seed=st.integers(0, 999),
)
@settings(max_examples=60)
def test_layer_norm_is_accurate_if_the_deviation_is_far_smaller_than_the_mean(
    width, mean, spread, seed
):
    noise = np.random.default_rng(seed).standard_normal((3, width))
    x = (mean + spread * noise).astype(np.float32)
    one, nothing = np.ones(width, np.float32), np.zeros(width, np.float32)
    eps = 1e-12
    exact, _ = f.layer_norm_forward(x.astype(np.longdouble), one, nothing, eps)
    out, _ = f.layer_norm_forward(x, one, nothing, eps)
    np.testing.assert_allclose(out, exact.astype(float), rtol=0, atol=5e-4)
    fused, _ = f.add_norm_forward(x.copy(), np.zeros_like(x), one, nothing, eps)
    np.testing.assert_allclose(fused, exact.astype(float), rtol=0, atol=5e-4)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-10, 1.0, 1e10, 1e30])
def test_clipping_and_adamw_accept_gradients_of_any_size(scale):
    gradient = scale * np.arange(1, 5, dtype=np.float32)
    norm, factor = clip_scale(gradient, 1.0)
    assert norm == pytest.approx(scale * 30**0.5, rel=1e-5, abs=0)
    assert factor == pytest.approx(min(1.0, 1 / (scale * 30**0.5)), rel=1e-5)
    params = Parameters({"weight": (4,)})
    grads = Parameters({"weight": (4,)}, gradient.copy())
    AdamW(params, weight_decay=0.0).update(grads.vector, 0.01, factor)
    assert np.isfinite(params.vector).all()
    assert (np.abs(params.vector) <= 0.0101).all()  # no step is longer than the rate


@given(float_arrays((3, 5), varied=True))
@settings(max_examples=20)
def test_attention_of_a_fully_masked_row_is_zero(values):
    x = np.stack([values, values + 1])[:, None]  # (2, 1, 3, 5)
    bias = f.padding_mask(np.array([[1, 1, 0], [0, 0, 0]]), x.dtype)
    out, cache = f.attention_forward(x, x, x, bias)
    assert np.isfinite(out).all()
    assert not out[1].any()
    for gradient in f.attention_backward(np.ones_like(out), cache):
        assert np.isfinite(gradient).all()
        assert not gradient[1].any()
