"""Layers are their formulas, written a second time and one number at a time; they keep nothing."""

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from minibert import functional as f
from minibert import layers
from minibert.gradcheck import away_from_initial
from minibert.models.config import ACTIVATIONS
from minibert.parameters import Parameters
from minibert.testing.cases.examples import (
    CONFIG,
    IDS,
    MASK,
    ROWS,
    TYPES,
    B,
    C,
    D,
    F,
    H,
    K,
    R,
    T,
)

BIAS = f.padding_bias(MASK, np.float64)
SINUSOIDAL = replace(CONFIG, position_embedding_type="sinusoidal")


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def parameters(layer, dtype=np.float64):
    return away_from_initial(Parameters(layer.shapes())).astype(dtype)


def run_encoder(encoder, params, x, **options):
    outputs, caches = zip(*encoder.steps(params, x, **options), strict=True)
    return outputs[-1], caches


def runs():
    """Each layer, and what calls its forward with parameters and an input of any dtype."""
    block, encoder = layers.EncoderBlock(CONFIG), layers.Encoder(CONFIG)
    attention, embeddings = layers.SelfAttention(CONFIG), layers.Embeddings(CONFIG)
    sinusoidal = layers.Embeddings(SINUSOIDAL)

    def rng():
        return np.random.default_rng(3)

    def embed(layer):
        return lambda params, x: layer.forward(params, IDS, TYPES, rng())

    return {
        "Linear": (layer := layers.Linear("dense", D, F), layer.forward),
        "LayerNorm": (layer := layers.LayerNorm("LayerNorm", D, 1e-12), layer.forward),
        "Pooler": (layer := layers.Pooler(D), layer.forward),
        "Scores": (
            scores := layers.Scores("classifier", D, C, 0.3),
            lambda params, x: scores.forward(params, x, rng()),
        ),
        "PooledScores": (
            pooled := layers.PooledScores("classifier", D, C, 0.3),
            lambda params, x: pooled.forward(params, x, rng()),
        ),
        "FeedForward": (
            feed_forward := layers.FeedForward(CONFIG),
            lambda params, x: feed_forward.forward(params, x, rng()),
        ),
        "Embeddings": (embeddings, embed(embeddings)),
        "Embeddings, sinusoidal": (sinusoidal, embed(sinusoidal)),
        "SelfAttention": (
            attention,
            lambda params, x: attention.forward(params, x[:, :R], x, BIAS.astype(x.dtype), rng()),
        ),
        "EncoderBlock": (
            block,
            lambda params, x: block.forward(params, x, BIAS.astype(x.dtype), rng()),
        ),
        "EncoderBlock, rows": (
            block,
            lambda params, x: block.forward(params, x, BIAS.astype(x.dtype), rng(), ROWS),
        ),
        "Encoder": (
            encoder,
            lambda params, x: run_encoder(
                encoder, params, x, bias=BIAS.astype(x.dtype), rng=rng(), rows=ROWS
            ),
        ),
    }


RUNS = runs()


def backward(layer, dout, cache, params):
    grads = params.zeros_like()
    dx = layer.backward(dout, cache, params, grads)
    dx = [array for array in (dx if isinstance(dx, tuple) else (dx,)) if array is not None]
    return [grads.vector, *dx]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", RUNS)
def test_no_layer_changes_the_dtype(name, dtype):
    layer, forward = RUNS[name]
    params, x = parameters(layer, dtype), numbers(B, T, D).astype(dtype)
    out, cache = forward(params, x)
    assert out.dtype == dtype
    assert [array.dtype for array in backward(layer, out, cache, params)] == [dtype] * (
        1 if name.startswith("Embeddings") else 3 if name == "SelfAttention" else 2
    )


@pytest.mark.parametrize("name", RUNS)
def test_a_layer_writes_to_nothing_that_it_was_given(name):
    layer, forward = RUNS[name]
    vector, x = parameters(layer).vector, numbers(B, T, D)
    vector.flags.writeable = x.flags.writeable = False  # so that whoever writes raises
    params = Parameters(layer.shapes(), vector)
    out, cache = forward(params, x)
    kept, dout = out.copy(), numbers(*out.shape)
    dout.flags.writeable = False
    first = backward(layer, dout, cache, params)
    assert (out == kept).all()  # the output is the caller's
    # Nor does a backward use up the cache.
    second = backward(layer, dout, cache, params)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", RUNS)
def test_a_layer_keeps_nothing_between_calls(name):
    layer, forward = RUNS[name]
    params, other = parameters(layer), away_from_initial(Parameters(layer.shapes()), seed=1)
    x, y = numbers(B, T, D), numbers(B, T, D, seed=1)
    out, cache = forward(params, x)
    dout = numbers(*out.shape, seed=2)
    straight = backward(layer, dout, cache, params)

    out_x, cache_x = forward(params, x)
    _, cache_y = forward(other, y)
    backward(layer, dout, cache_y, other)
    interleaved = backward(layer, dout, cache_x, params)
    assert (out_x == out).all()
    assert all((a == b).all() for a, b in zip(interleaved, straight, strict=True))


@pytest.mark.parametrize("name", RUNS)
def test_gradients_are_added_to_what_is_there(name):
    layer, forward = RUNS[name]
    params = parameters(layer)
    out, cache = forward(params, numbers(B, T, D))
    once = params.zeros_like()
    layer.backward(out, cache, params, once)
    assert any((array != 0).any() for array in once.values())
    twice = Parameters(once.shapes, once.vector.copy())
    layer.backward(out, cache, params, twice)
    np.testing.assert_allclose(twice.vector, 2 * once.vector, rtol=1e-9, atol=1e-13)


def by_hand_norm(row, weight, bias, eps=CONFIG.layer_norm_eps):
    mean = sum(row) / len(row)
    variance = sum((number - mean) ** 2 for number in row) / len(row)
    return (row - mean) / math.sqrt(variance + eps) * weight + bias


@pytest.mark.parametrize("eps", [1e-12, 0.5])
def test_layer_norm_is_the_formula(eps):
    layer = layers.LayerNorm("LayerNorm", D, eps)
    params, x = parameters(layer), 3 + 2 * numbers(B, T, D)
    out, _ = layer.forward(params, x)
    for b in range(B):
        for t in range(T):
            expected = by_hand_norm(x[b, t], *params.values(), eps)
            np.testing.assert_allclose(out[b, t], expected, rtol=1e-12)


def test_linear_is_the_formula():
    layer = layers.Linear("dense", D, F)
    params, x = parameters(layer), numbers(B, T, D)
    out, _ = layer.forward(params, x)
    weight, bias = params["dense.weight"], params["dense.bias"]
    for b, t, o in np.ndindex(B, T, F):
        expected = sum(x[b, t, i] * weight[o, i] for i in range(D)) + bias[o]
        assert out[b, t, o] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("config", [CONFIG, SINUSOIDAL], ids=["absolute", "sinusoidal"])
def test_embeddings_are_token_plus_position_plus_segment(config):
    layer = layers.Embeddings(config)
    params = parameters(layer)
    out, _ = layer.forward(params, IDS, TYPES)
    if config is CONFIG:
        positions = params["position_embeddings.weight"]
    else:
        assert "position_embeddings.weight" not in params
        positions = [
            [(math.sin, math.cos)[i % 2](t / 10000 ** (2 * (i // 2) / D)) for i in range(D)]
            for t in range(T)
        ]
    for b, t in np.ndindex(B, T):
        total = params["word_embeddings.weight"][IDS[b, t]] + positions[t]
        total += params["token_type_embeddings.weight"][TYPES[b, t]]
        expected = by_hand_norm(total, *params.scope("LayerNorm.").values())
        np.testing.assert_allclose(out[b, t], expected, rtol=1e-12)


def by_hand_attention(params, asking, x, mask):
    """What one sequence reads: asking (R, D), x (T, D), mask (T,); one head and row at a time."""

    def mapped(rows, name):
        return rows @ params[name + ".weight"].T + params[name + ".bias"]

    query = mapped(asking, "self.query")
    key, value = mapped(x, "self.key"), mapped(x, "self.value")
    merged = np.zeros_like(asking)
    for head in range(K):
        own = slice(head * H, (head + 1) * H)  # the columns of this head
        for r in range(len(asking)):
            scores = [math.exp(query[r, own] @ k[own] / math.sqrt(H)) for k in key]
            scores = [score * bool(seen) for score, seen in zip(scores, mask, strict=True)]
            for score, v in zip(scores, value, strict=True):
                merged[r, own] += score / (sum(scores) or 1) * v[own]
    return mapped(merged, "output.dense")


def test_self_attention_is_the_formula():
    layer = layers.SelfAttention(CONFIG)
    params, x, asking = parameters(layer), numbers(B, T, D), numbers(B, R, D, seed=1)
    out, cache = layer.forward(params, asking, x, BIAS)
    for b in range(B):
        expected = by_hand_attention(params, asking[b], x[b], MASK[b])
        np.testing.assert_allclose(out[b], expected, rtol=1e-10)
    weights = layer.weights(cache)
    assert weights.shape == (B, K, R, T)
    np.testing.assert_allclose(weights.sum(axis=-1)[:2], 1, rtol=1e-12)
    assert (weights * (MASK[:, None, None] == 0) == 0).all()


BY_HAND = {
    "gelu": lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    "gelu_new": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: max(x, 0.0),
}


def by_hand_feed_forward(params, rows, activation):
    wide = rows @ params["intermediate.dense.weight"].T + params["intermediate.dense.bias"]
    active = np.vectorize(BY_HAND[activation], otypes=[float])(wide)
    return active @ params["output.dense.weight"].T + params["output.dense.bias"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_feed_forward_is_the_formula(activation):
    layer = layers.FeedForward(replace(CONFIG, hidden_act=activation))
    params, x = parameters(layer), numbers(B, T, D)
    out, _ = layer.forward(params, x)
    np.testing.assert_allclose(out, by_hand_feed_forward(params, x, activation), rtol=1e-10)


def test_a_block_is_the_formula_with_the_norms_after_the_sums():
    block = layers.EncoderBlock(CONFIG)
    params, x = parameters(block), numbers(B, T, D)
    out, _ = block.forward(params, x, BIAS)
    attention = params.scope("attention.")
    norms = [scope.scope("output.LayerNorm.").values() for scope in (attention, params)]
    for b in range(B):
        h = x[b] + by_hand_attention(attention, x[b], x[b], MASK[b])
        h = np.array([by_hand_norm(row, *norms[0]) for row in h])
        h = h + by_hand_feed_forward(params, h, "gelu")
        expected = np.array([by_hand_norm(row, *norms[1]) for row in h])
        np.testing.assert_allclose(out[b], expected, rtol=1e-9)


def test_the_pooler_is_the_formula():
    layer = layers.Pooler(D)
    params, x = parameters(layer), numbers(B, T, D)
    out, _ = layer.forward(params, x)
    dense = x[:, 0] @ params["pooler.dense.weight"].T + params["pooler.dense.bias"]
    np.testing.assert_allclose(out, np.vectorize(math.tanh)(dense), rtol=1e-12)


def test_chosen_rows_of_a_block_are_the_same_rows_of_all():
    block = layers.EncoderBlock(CONFIG)
    params, x = parameters(block), numbers(B, T, D)
    dout = numbers(B, R, D, seed=1)
    whole, whole_cache = block.forward(params, x, BIAS)
    some, some_cache = block.forward(params, x, BIAS, rows=ROWS)
    np.testing.assert_allclose(some, np.take_along_axis(whole, ROWS[..., None], 1), rtol=1e-12)
    dwhole = np.zeros_like(whole)
    for b, r in np.ndindex(B, R):
        dwhole[b, ROWS[b, r]] += dout[b, r]
    whole_grads, some_grads = params.zeros_like(), params.zeros_like()
    whole_dx = block.backward(dwhole, whole_cache, params, whole_grads)
    some_dx = block.backward(dout, some_cache, params, some_grads)
    np.testing.assert_allclose(some_dx, whole_dx, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(some_grads.vector, whole_grads.vector, rtol=1e-9, atol=1e-12)


def test_the_stack_is_its_blocks_in_order_and_trims_the_last_alone():
    encoder = layers.Encoder(CONFIG)
    params, x = parameters(encoder), numbers(B, T, D)
    outputs = [out for out, _ in encoder.steps(params, x, BIAS, rows=ROWS)]
    assert [out.shape for out in outputs] == [(B, T, D), (B, R, D)]
    first, _ = encoder.blocks[0].forward(params.scope("layer.0."), x, BIAS)
    second, _ = encoder.blocks[1].forward(params.scope("layer.1."), first, BIAS, rows=ROWS)
    assert (outputs[0] == first).all()
    assert (outputs[1] == second).all()
    assert (params["layer.0.output.dense.bias"] != params["layer.1.output.dense.bias"]).all()


def test_query_key_and_value_adjoin_so_that_one_matmul_serves():
    params = parameters(layers.SelfAttention(CONFIG))
    roles = ("query", "key", "value")
    weight = params.fused(*(f"self.{role}.weight" for role in roles))
    bias = params.fused(*(f"self.{role}.bias" for role in roles))
    assert weight.shape == (3 * D, D)
    assert bias.shape == (3 * D,)
    assert np.shares_memory(weight, params.vector)
    assert (weight[D : 2 * D] == params["self.key.weight"]).all()


class Draws:
    """A generator that keeps how many words each place draws: one for four numbers."""

    def __init__(self):
        self.sizes, self.rng = [], np.random.default_rng(0)

    def integers(self, low, high, size, **options):
        self.sizes.append(size)
        return self.rng.integers(low, high, size, **options)


def test_every_place_of_dropout_draws_a_mask_of_its_own():
    hidden, weights, row = -(-B * T * D // 4), -(-B * K * T * T // 4), -(-B * D // 4)
    x, sublayers = numbers(B, T, D), [weights, hidden, hidden]
    scored = "classifier", D, C, 0.3
    for layer, inputs, sizes in (
        (layers.Embeddings(CONFIG), (IDS, TYPES), [hidden]),
        (layers.SelfAttention(CONFIG), (x, x), [weights, hidden]),
        (layers.FeedForward(CONFIG), (x,), [hidden]),
        (layers.EncoderBlock(CONFIG), (x,), sublayers),
        (layers.RecomputedBlock(CONFIG), (x,), sublayers),
        (layers.Scores(*scored), (x,), [hidden]),
        (layers.PooledScores(*scored), (x,), [row]),
    ):
        draws = Draws()
        layer.forward(parameters(layer), *inputs, rng=draws)
        assert draws.sizes == sizes, type(layer)
    encoder, draws = layers.Encoder(CONFIG), Draws()
    run_encoder(encoder, parameters(encoder), x, rng=draws)
    assert draws.sizes == 2 * sublayers


def test_a_recomputed_block_can_go_back_twice():
    block, x, dout = layers.RecomputedBlock(CONFIG), numbers(B, T, D), numbers(B, T, D, seed=1)
    params = parameters(block)
    _, cache = block.forward(params, x, rng=np.random.default_rng(0))
    once, again = (backward(block, dout, cache, params) for _ in range(2))
    assert all((a == b).all() for a, b in zip(once, again, strict=True))


def test_frozen_blocks_keep_nothing_and_the_way_back_ends_above_them():
    encoder = layers.Encoder(CONFIG, frozen=1, lean=layers.EncoderBlock)
    assert len(encoder.blocks) == CONFIG.num_hidden_layers
    params, x = parameters(encoder), numbers(B, T, D)
    out, caches = run_encoder(encoder, params, x)
    assert caches[0] is None
    grads = params.zeros_like()
    dx = encoder.backward(numbers(B, T, D, seed=1), caches, params, grads)
    whole = layers.Encoder(CONFIG)
    assert (run_encoder(whole, params, x)[0] == out).all()
    upper = whole.blocks[1]
    (h, _), _ = whole.steps(params, x)
    expected, scope = params.zeros_like(), "layer.1."
    _, cache = upper.forward(params.scope(scope), h)
    dh = upper.backward(numbers(B, T, D, seed=1), cache, params.scope(scope), expected.scope(scope))
    assert (dx == dh).all()
    assert (grads.vector == expected.vector).all()


@pytest.mark.parametrize("rows", [None, ROWS])
def test_a_recomputed_block_is_the_block_to_the_bit(rows):
    x, dout = numbers(B, T, D), numbers(B, T if rows is None else ROWS.shape[1], D, seed=1)
    results = []
    for block in (layers.EncoderBlock(CONFIG), layers.RecomputedBlock(CONFIG)):
        params = away_from_initial(Parameters(block.shapes()))
        rng = np.random.default_rng(0)
        out, cache = block.forward(params, x, rng=rng, rows=rows)
        grads = params.zeros_like()
        dx = block.backward(dout, cache, params, grads)
        results.append((out, dx, grads.vector, rng.integers(1 << 60)))
    for plain, again in zip(*results, strict=True):
        assert (plain == again).all()


def test_recomputing_keeps_the_input_alone():
    config = replace(CONFIG, num_hidden_layers=6)

    def peak(block):
        encoder = layers.Encoder(config, block)
        params = away_from_initial(Parameters(encoder.shapes()))
        x, grads = numbers(16, 40, D), params.zeros_like()
        tracemalloc.start()
        outputs, caches = zip(*encoder.steps(params, x, rng=np.random.default_rng(0)), strict=True)
        encoder.backward(outputs[-1], caches, params, grads)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(layers.RecomputedBlock) < 0.4 * peak(layers.EncoderBlock)
