"""Plain twins equal `minibert.functional`, and their gradients equal numerical ones."""

import importlib
from functools import partial

import numpy as np
import pytest

from minibert.gradcheck import check_pair
from minibert.optim import clip_scale
from tests import plain

assert_close = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-14)


def functional(name):
    """Return a function of `minibert.functional`; skip the test if it is missing."""
    found = getattr(importlib.import_module("minibert.functional"), name, None)
    if found is None:
        pytest.skip(f"minibert.functional has no {name}")
    return found


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("name", ["gelu_new", "relu"])
def test_activation(name):
    x = 3 * numbers(4, 5)
    x[0, 0] = 0
    out, slope = functional(f"{name}_forward")(x)
    assert_close(out, getattr(plain, name)(x))
    assert_close(slope, getattr(plain, f"{name}_slope")(x))


@pytest.mark.parametrize("name", ["gelu_new", "relu"])
def test_slope_of_activation(name):
    x = numbers(4, 5)
    x[np.abs(x) < 0.01] = 0.5  # away from relu's kink
    check_pair(
        lambda x: (getattr(plain, name)(x), None),
        lambda dout, _, x: dout * getattr(plain, f"{name}_slope")(x),
        {"x": x},
    )


def test_sinusoidal_positions():
    assert_close(functional("sinusoidal_positions")(7, 6), plain.sinusoidal_positions(7, 6))


@pytest.mark.parametrize("rate", [0.25, 0.5])
def test_dropout(rate):
    x = numbers(40, 50)
    out, _ = functional("dropout_forward")(x, rate, np.random.default_rng(0))
    kept = out != 0
    assert abs(kept.mean() - (1 - rate)) < 0.05
    assert_close(out, plain.dropout(x, kept, rate))


@pytest.mark.parametrize("denominator", [None, 11])
def test_binary_cross_entropy(denominator):
    logits = 2 * numbers(3, 4)
    labels = np.random.default_rng(1).random((3, 4)).round(1)
    labels[1, 2] = plain.IGNORED
    loss, cache = functional("binary_cross_entropy_forward")(logits, labels, denominator)
    assert_close(loss, plain.binary_cross_entropy(logits, labels, denominator))
    dlogits = functional("binary_cross_entropy_backward")(cache)
    assert_close(dlogits, plain.binary_cross_entropy_gradient(logits, labels, denominator))
    check_gradient(
        plain.binary_cross_entropy, plain.binary_cross_entropy_gradient, logits, labels, denominator
    )


@pytest.mark.parametrize("denominator", [None, 11])
def test_squared_error(denominator):
    outputs, targets = numbers(3, 4), numbers(3, 4, seed=1)
    loss, cache = functional("squared_error_forward")(outputs, targets, denominator)
    assert_close(loss, plain.squared_error(outputs, targets, denominator))
    doutputs = functional("squared_error_backward")(cache)
    assert_close(doutputs, plain.squared_error_gradient(outputs, targets, denominator))
    check_gradient(plain.squared_error, plain.squared_error_gradient, outputs, targets, denominator)


@pytest.mark.parametrize("denominator", [None, 11])
def test_weighted_cross_entropy(denominator):
    logits, weights = 2 * numbers(2, 3, 5), np.array([0.5, 2, 1, 0.25, 3])
    labels = np.array([[0, 4, -100], [4, 1, 3]])
    loss, cache = functional("cross_entropy_forward")(logits, labels, denominator, weights)
    assert_close(loss, plain.weighted_cross_entropy(logits, labels, weights, denominator))
    dlogits = functional("cross_entropy_backward")(cache)
    assert_close(
        dlogits, plain.weighted_cross_entropy_gradient(logits, labels, weights, denominator)
    )
    check_gradient(
        plain.weighted_cross_entropy,
        plain.weighted_cross_entropy_gradient,
        logits, labels, weights, denominator,
    )  # fmt: skip


def check_gradient(loss, gradient, x, *rest):
    """Compare a gradient with finite differences of its loss."""
    check_pair(
        lambda x: (loss(x, *rest), None),
        lambda dloss, _, x: dloss * gradient(x, *rest),
        {"x": x},
    )


def test_embedding_gradient():
    ids = np.array([[2, 0, 2], [5, 2, 4]])  # 2 three times; 1, 3 and 6 never
    dout = numbers(2, 3, 4)
    dtable = np.zeros((7, 4))
    functional("embedding_backward")(dout, ids, dtable)
    assert_close(dtable, plain.embedding_gradient(dout, ids, 7))
    assert_close(plain.embedding_gradient(dout, ids, 7)[2], dout[0, 0] + dout[0, 2] + dout[1, 1])


@pytest.mark.parametrize("size", [0, 0.1, 10])
def test_clip_by_global_norm(size):
    gradients = [size * numbers(3, 4), size * numbers(5, seed=1)]
    clipped = plain.clip_by_global_norm(gradients, 1.0)
    flat, flat_clipped = (np.concatenate([g.ravel() for g in gs]) for gs in (gradients, clipped))
    assert_close(np.linalg.norm(flat_clipped), min(1, np.linalg.norm(flat)))
    norm, scale = clip_scale(flat, 1.0)
    assert_close(norm, np.linalg.norm(flat))
    assert_close(flat_clipped, flat * scale)


@pytest.mark.parametrize("eps", [1e-12, 0.1])
def test_dropout_add_norm(eps):
    y, residual = numbers(6, 5), numbers(6, 5, seed=1)
    weight, bias = numbers(5, seed=2), numbers(5, seed=3)
    dropped, _ = functional("dropout_forward")(y, 0.5, np.random.default_rng(0))
    expected, _ = functional("layer_norm_forward")(dropped + residual, weight, bias, eps)
    ours = plain.dropout_add_norm(y, residual, dropped != 0, 0.5, weight, bias, eps)
    np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("theta", [7.0, 10000.0])
def test_rotary(theta):
    """The package puts the units of a pair side by side, in queries and keys alike."""
    x = numbers(2, 3, 5, 8)  # (B, K, T, H)
    table = functional("rotary_table")(5, 8, theta, np.float64)
    out = functional("rotate_forward")(x, table)
    for mine, heads in zip(out, x, strict=True):
        side_by_side = np.concatenate([mine[..., 0::2], mine[..., 1::2]], axis=-1)
        assert_close(side_by_side, plain.rotary(heads, theta))
    for other in (np.asfortranarray(x), np.broadcast_to(x[:1], x.shape)):  # other strides
        np.testing.assert_array_equal(functional("rotate_forward")(other, table)[0], out[0])
    dx = functional("rotate_backward")(out, table)  # a rotation's inverse is its transpose
    assert_close(dx, x)


@pytest.mark.parametrize("name", ["gelu", "gelu_new", "relu"])
def test_gated(name):
    x = 2 * numbers(6, 10)
    out, _ = functional("gate_forward")(x.copy(), name)
    np.testing.assert_allclose(out, plain.gated(x, getattr(plain, name)), rtol=1e-11, atol=1e-13)
