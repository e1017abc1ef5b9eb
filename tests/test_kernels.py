"""The kernels compute what their plain twins compute; the lean block is the block."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert import functional as f
from minibert import kernels, layers
from minibert.gradcheck import away_from_initial
from minibert.models import BertModel
from minibert.models.config import ACTIVATIONS
from minibert.parameters import Parameters
from minibert.testing import batches, configs
from minibert.testing.cases.examples import BATCH, CONFIG, MASK, ROWS, B, D, K, T

TOLERANCE = {np.float32: 2e-6, np.float64: 1e-13}
each_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def numbers(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@each_dtype
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("piece", [1000, 5])  # with a shorter last one, and less than a row
def test_an_activation_in_place_is_the_plain_one(name, rows, piece, dtype, monkeypatch):
    monkeypatch.setattr(kernels, "WIDE", piece)
    x, bias = 3 * numbers(rows, 11, dtype=dtype), numbers(11, dtype=dtype, seed=1)
    expected, _ = f.ACTIVATIONS[name](x + bias)
    out = kernels.add_and_activate(x, bias, name)
    assert out is x
    assert out.dtype == dtype
    assert (np.abs(out - expected) <= TOLERANCE[dtype] * np.maximum(np.abs(expected), 1)).all()


def test_gelu_is_exact_to_the_last_bits_of_float32():
    x = np.concatenate(
        [np.linspace(-12, 12, 100_001), [0.0, -0.0, 1e-30, 50, -50, 1e4, -1e4, 3e38]]
    )
    x = x.astype(np.float32)
    exact = np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.astype(float)])
    out = kernels.add_and_activate(x[:, None].copy(), np.zeros(1, np.float32), "gelu")[:, 0]
    error = np.abs(out - exact) / np.maximum(np.abs(exact), 1)
    assert error.max() < 1.6e-7


@each_dtype
@pytest.mark.parametrize("rows", [1, 7, 307])
@pytest.mark.parametrize("piece", [1000, D - 1])
def test_the_norm_of_a_sum_in_place_is_the_plain_one(rows, piece, dtype, monkeypatch):
    monkeypatch.setattr(kernels, "NARROW", piece)
    x, residual = (5 + numbers(rows, D, dtype=dtype, seed=seed) for seed in (0, 1))
    bias, weight, shift = (numbers(D, dtype=dtype, seed=seed) for seed in (2, 3, 4))
    kept = residual.copy()
    expected, _ = f.layer_norm_forward(x + bias + residual, weight, shift, 1e-3)
    out = kernels.add_and_normalise(x, bias, residual, weight, shift, 1e-3)
    assert out is x
    assert out.dtype == dtype
    assert (residual == kept).all()
    np.testing.assert_allclose(out, expected, atol=5 * TOLERANCE[dtype])


@each_dtype
@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("sequences", [2, 0.5])  # at a time; one is more than a piece may hold
def test_attention_in_pieces_is_the_plain_one(sequences, hidden, rate, dtype, monkeypatch):
    monkeypatch.setattr(kernels, "ATTENTION", int(sequences * K * 4 * T))
    query = 3 * numbers(B, K, 4, 5, dtype=dtype)
    key, value = (numbers(B, K, T, 5, dtype=dtype, seed=seed) for seed in (1, 2))
    dout = numbers(B, K, 4, 5, dtype=dtype, seed=3)
    bias = f.padding_bias(MASK, dtype) if hidden else None
    results = []
    for module in (f, kernels):
        inputs = [array.copy() for array in (query, key, value, dout)]
        rng = np.random.default_rng(0)
        out, cache = module.attention_forward(*inputs[:3], bias, rate, rng)
        results.append([out, cache[0], *module.attention_backward(inputs[3], cache)])
        assert (inputs[0] == query).all()
        assert (inputs[3] == dout).all()
    for expected, found in zip(*results, strict=True):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, atol=3 * TOLERANCE[dtype])
    if hidden:  # the last sequence has nothing to read
        assert all((found[-1] == 0).all() for found in results[1])


@pytest.mark.parametrize("rows", [None, ROWS])
@pytest.mark.parametrize("hidden", [False, True])
def test_the_lean_block_is_the_block(rows, hidden):
    block, lean = layers.EncoderBlock(CONFIG), layers.LeanBlock(CONFIG)
    params = away_from_initial(Parameters(block.shapes()))
    x = numbers(B, T, D)
    given_rows, given_x = None if rows is None else rows.copy(), x.copy()
    bias = f.padding_bias(MASK, np.float64) if hidden else None
    expected, cache = block.forward(params, x, bias, rows=rows)
    out, lean_cache = lean.forward(params, x, bias, rows=given_rows)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(
        lean.attention_weights(lean_cache), block.attention_weights(cache), atol=1e-14
    )
    assert (x == given_x).all()


@given(data=st.data())
@settings(max_examples=40)
def test_any_model_predicts_what_it_trains_on(data):
    config = data.draw(configs())
    batch = data.draw(batches(config))
    model = BertModel(config, params=away_from_initial(Parameters(BertModel(config).shapes())))
    (x, pooled), _ = model.forward(model.check(**batch))
    out = model(**batch)
    np.testing.assert_allclose(out.last_hidden_state, x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(out.pooler_output, pooled, rtol=1e-9, atol=1e-9)


def test_the_attention_of_a_prediction_is_that_of_training():
    params = away_from_initial(Parameters(BertModel(CONFIG).shapes()))
    model = BertModel(CONFIG, params=params)
    out = model(**BATCH, output_attentions=True)
    _, (body, _) = model.forward(model.check(**BATCH))
    for block, weights, cache in zip(
        model.bert.encoder.blocks, out.attentions, body[1:], strict=True
    ):
        np.testing.assert_allclose(weights, block.attention_weights(cache), atol=1e-13)
    assert (out.attentions[0][-1] == 0).all()  # nothing to attend to: no weights, and no NaN
