"""Layers compute their formulas, which are written here with scalar loops, without state."""

import math
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minibert import functional as f
from minibert import layers
from minibert.gradcheck import away_from_initial, check_layer
from minibert.models import bert_block, bert_embeddings
from minibert.models.config import ACTIVATIONS
from minibert.parameters import Parameters
from minibert.specs import ParameterSpec
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

PADDING = f.padding_mask(MASK, np.float64)  # (B, 1, 1, T)
SINUSOIDAL = replace(CONFIG, position_embedding_type="sinusoidal")
EPS = CONFIG.layer_norm_eps


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def parameters(layer, dtype=np.float64, seed=0):
    """Return parameters away from their initial values."""
    return away_from_initial(Parameters(layer.specs()), seed).astype(dtype)


def site(x, rows=None, padded=True):
    """Return the site of a batch x (B, T, D)."""
    mask = PADDING.astype(x.dtype) if padded else None
    return layers.Site(np.arange(x.shape[1]), mask, rows)


def attention():
    return layers.SelfAttention("attention", D, K, 0.1)


def feed_forward(activation="gelu"):
    return layers.FeedForward(D, F, activation)


def encoder(wrap=lambda block: block, config=CONFIG):
    return layers.Encoder([wrap(bert_block(config)) for _ in range(config.num_hidden_layers)])


class Relative(layers.Positions):
    """A learned bias of each distance and head."""

    def specs(self):
        return {"distances": ParameterSpec((K, 2 * T - 1))}

    def prepare(self, params, keys, dtype):
        return params["distances"]

    def scores(self, site):
        return np.moveaxis(site.tables[:, self.distances(site)], 0, -3)

    def zeros(self, tables):
        return np.zeros_like(tables)

    def scores_backward(self, dscores, site, dtables):
        places = self.distances(site)
        dscores = dscores if places.ndim == 3 else dscores.sum(axis=0, keepdims=True)
        for k in range(K):
            np.add.at(dtables[k], places, dscores[:, k].reshape(places.shape))

    def backward(self, dtables, tables, params, grads):
        grads["distances"] += dtables

    @staticmethod
    def distances(site):
        return site.keys - site.queries[..., None] + T - 1


def runs():
    """Return each layer with a function that calls its forward with parameters and an input."""

    def rng():
        return np.random.default_rng(3)

    def embed(layer):
        return lambda params, x: layer.forward(params, IDS, TYPES, rng())

    def run(layer, rows=None):
        return lambda params, x: layer.forward(params, x, site(x, rows), rng())

    def score(layer):
        return lambda params, x: layer.forward(params, x, rng())

    block, relative = bert_block(CONFIG), layers.Encoder([bert_block(CONFIG)], None, Relative())
    classifier = layers.ClassifierHead("classifier", D, C, 0.3)
    pooled = layers.PooledClassifierHead("classifier", D, C, 0.3)
    embeddings = {"learned": bert_embeddings(CONFIG), "sinusoidal": bert_embeddings(SINUSOIDAL)}
    return {
        "Linear": (layer := layers.Linear("dense", D, F), layer.forward),
        "LayerNorm": (layer := layers.LayerNorm("LayerNorm", D, 1e-12), layer.forward),
        "Pooler": (layer := layers.Pooler("pooler.dense", D), layer.forward),
        "ClassifierHead": (classifier, score(classifier)),
        "PooledClassifierHead": (pooled, score(pooled)),
        "FeedForward": (layer := feed_forward(), run(layer)),
        **{f"Embeddings, {kind}": (own, embed(own)) for kind, own in embeddings.items()},
        "SelfAttention": (layer := attention(), run(layer)),
        "SelfAttention, rows": (layer := attention(), run(layer, ROWS)),
        "Block": (block, run(block)),
        "Block, rows": (block, run(block, ROWS)),
        "Recomputed": (layer := layers.Recomputed(block), run(layer)),
        "Encoder": (layer := encoder(), run(layer, ROWS)),
        "Encoder, relative": (relative, run(relative, ROWS)),
    }


RUNS = runs()
SIMPLE = ("Linear", "LayerNorm", "Pooler", "ClassifierHead", "PooledClassifierHead", "Embeddings",
          "Encoder")  # fmt: skip


def backward(name, layer, dout, cache, params, grads=None):
    """Return the gradients of the parameters and, if it has one, of the input."""
    grads = params.zeros_like() if grads is None else grads
    more = () if name.startswith(SIMPLE) else (None,)  # dsite
    dx = layer.backward(dout, cache, params, grads, *more)
    return [grads.vector, *([] if dx is None else [dx])]


def arrays_of(cache):
    """Yield the arrays of a nested cache."""
    if isinstance(cache, np.ndarray):
        yield cache
    elif isinstance(cache, list | tuple):
        for part in cache:
            yield from arrays_of(part)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", RUNS)
def test_layers_do_not_change_the_dtype(name, dtype):
    layer, forward = RUNS[name]
    params, x = parameters(layer, dtype), numbers(B, T, D).astype(dtype)
    out, cache = forward(params, x)
    assert out.dtype == dtype
    assert all(a.dtype == dtype for a in arrays_of(cache) if a.dtype.kind == "f")
    assert [array.dtype for array in backward(name, layer, out, cache, params)] == [dtype] * (
        1 if name.startswith("Embeddings") else 2
    )


@pytest.mark.parametrize("name", RUNS)
def test_layers_do_not_write_to_their_arguments(name):
    layer, forward = RUNS[name]
    vector, x = parameters(layer).vector, numbers(B, T, D)
    vector.flags.writeable = x.flags.writeable = False  # so a write raises an error
    params = Parameters(layer.specs(), vector)
    out, cache = forward(params, x)
    kept, dout = out.copy(), numbers(*out.shape)
    dout.flags.writeable = False
    first = backward(name, layer, dout, cache, params)
    assert (out == kept).all()  # the output belongs to the caller
    # A backward does not consume the cache either.
    second = backward(name, layer, dout, cache, params)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", RUNS)
def test_layers_keep_no_state_between_calls(name):
    layer, forward = RUNS[name]
    params, other = parameters(layer), parameters(layer, seed=1)
    x, y = numbers(B, T, D), numbers(B, T, D, seed=1)
    out, cache = forward(params, x)
    dout = numbers(*out.shape, seed=2)
    straight = backward(name, layer, dout, cache, params)

    out_x, cache_x = forward(params, x)
    _, cache_y = forward(other, y)
    backward(name, layer, dout, cache_y, other)
    interleaved = backward(name, layer, dout, cache_x, params)
    assert (out_x == out).all()
    assert all((a == b).all() for a, b in zip(interleaved, straight, strict=True))


@pytest.mark.parametrize("name", RUNS)
def test_gradients_are_added_to_existing_ones(name):
    layer, forward = RUNS[name]
    params = parameters(layer)
    out, cache = forward(params, numbers(B, T, D))
    once = params.zeros_like()
    backward(name, layer, out, cache, params, once)
    assert any((array != 0).any() for array in once.values())
    twice = Parameters(once.layout, once.vector.copy())
    backward(name, layer, out, cache, params, twice)
    np.testing.assert_allclose(twice.vector, 2 * once.vector, rtol=1e-9, atol=1e-13)


def by_hand_norm(row, weight, bias, eps=EPS):
    mean = sum(row) / len(row)
    variance = sum((number - mean) ** 2 for number in row) / len(row)
    return (row - mean) / math.sqrt(variance + eps) * weight + bias


@pytest.mark.parametrize("eps", [1e-12, 0.5])
def test_layer_norm_equals_the_formula(eps):
    layer = layers.LayerNorm("LayerNorm", D, eps)
    params, x = parameters(layer), 3 + 2 * numbers(B, T, D)
    out, _ = layer.forward(params, x)
    for b in range(B):
        for t in range(T):
            expected = by_hand_norm(x[b, t], *params.values(), eps)
            np.testing.assert_allclose(out[b, t], expected, rtol=1e-12)


def test_linear_equals_the_formula():
    layer = layers.Linear("dense", D, F)
    params, x = parameters(layer), numbers(B, T, D)
    out, _ = layer.forward(params, x)
    weight, bias = params["dense.weight"], params["dense.bias"]
    for b, t, o in np.ndindex(B, T, F):
        expected = sum(x[b, t, i] * weight[o, i] for i in range(D)) + bias[o]
        assert out[b, t, o] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("config", [CONFIG, SINUSOIDAL], ids=["absolute", "sinusoidal"])
def test_embeddings_are_token_plus_position_plus_segment(config):
    layer = bert_embeddings(config)
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


def test_embeddings_without_positions_equal_those_with_positions_of_zero():
    layer, bare = bert_embeddings(CONFIG), bert_embeddings(CONFIG)
    bare.positions = None
    params, own = parameters(layer), parameters(bare)
    assert [name for name in params if name not in own] == ["position_embeddings.weight"]
    for name in own:
        own[name][...] = params[name]
    params["position_embeddings.weight"][...] = 0
    (out, cache), (expected, whole) = (
        each.forward(views, IDS, TYPES) for each, views in ((bare, own), (layer, params))
    )
    assert (out == expected).all()
    grads, all_grads = own.zeros_like(), params.zeros_like()
    bare.backward(out, cache, own, grads)
    layer.backward(out, whole, params, all_grads)
    assert all((grads[name] == all_grads[name]).all() for name in grads)
    assert bare.constants() == layer.constants() == {}


def by_hand_attention(params, asking, x, mask):
    """Attention of one sequence, per head and row: queries (R, D), x (T, D), mask (T,)."""
    params = params.scope("attention.")

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


@pytest.mark.parametrize("rows", [None, ROWS], ids=["all", "rows"])
def test_self_attention_equals_the_formula(rows):
    layer = attention()
    params, x = parameters(layer), numbers(B, T, D)
    out, cache = layer.forward(params, x, site(x, rows))
    for b in range(B):
        asking = x[b] if rows is None else x[b, rows[b]]
        expected = by_hand_attention(params, asking, x[b], MASK[b])
        np.testing.assert_allclose(out[b], expected, rtol=1e-9, atol=1e-12)
    weights = cache.heads.weights
    assert weights.shape == (B, K, T if rows is None else R, T)
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
def test_feed_forward_equals_the_formula(activation):
    layer = feed_forward(activation)
    params, x = parameters(layer), numbers(B, T, D)
    out, _ = layer.forward(params, x, site(x))
    np.testing.assert_allclose(out, by_hand_feed_forward(params, x, activation), rtol=1e-10)


def test_block_equals_the_formula_with_post_norm():
    block = bert_block(CONFIG)
    params, x = parameters(block), numbers(B, T, D)
    out, _ = block.forward(params, x, site(x))
    names = ("attention.output.LayerNorm.", "output.LayerNorm.")
    norms = [params.scope(name).values() for name in names]
    for b in range(B):
        h = x[b] + by_hand_attention(params, x[b], x[b], MASK[b])
        h = np.array([by_hand_norm(row, *norms[0]) for row in h])
        h = h + by_hand_feed_forward(params, h, "gelu")
        expected = np.array([by_hand_norm(row, *norms[1]) for row in h])
        np.testing.assert_allclose(out[b], expected, rtol=1e-9)


def test_pooler_equals_the_formula():
    layer = layers.Pooler("pooler.dense", D)
    params, x = parameters(layer), numbers(B, T, D)
    out, _ = layer.forward(params, x)
    dense = x[:, 0] @ params["pooler.dense.weight"].T + params["pooler.dense.bias"]
    np.testing.assert_allclose(out, np.vectorize(math.tanh)(dense), rtol=1e-12)


def test_block_at_rows_equals_these_rows_of_all():
    block = bert_block(CONFIG)
    params, x = parameters(block), numbers(B, T, D)
    dout = numbers(B, R, D, seed=1)
    whole, whole_cache = block.forward(params, x, site(x))
    some, some_cache = block.forward(params, x, site(x, ROWS))
    np.testing.assert_allclose(some, np.take_along_axis(whole, ROWS[..., None], 1), rtol=1e-12)
    dwhole = np.zeros_like(whole)
    for b, r in np.ndindex(B, R):
        dwhole[b, ROWS[b, r]] += dout[b, r]
    whole_grads, some_grads = params.zeros_like(), params.zeros_like()
    whole_dx = block.backward(dwhole, whole_cache, params, whole_grads, None)
    some_dx = block.backward(dout, some_cache, params, some_grads, None)
    np.testing.assert_allclose(some_dx, whole_dx, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(some_grads.vector, whole_grads.vector, rtol=1e-9, atol=1e-12)


def test_encoder_runs_its_blocks_in_order_and_trims_the_last_alone():
    stack = encoder()
    params, x = parameters(stack), numbers(B, T, D)
    states = dict.fromkeys((1, 2))
    out, _ = stack.forward(params, x, site(x, ROWS), states=states)
    assert [state.shape for state in states.values()] == [(B, T, D), (B, R, D)]
    first, _ = stack.blocks[0].forward(params.scope("layer.0."), x, site(x))
    second, _ = stack.blocks[1].forward(params.scope("layer.1."), first, site(x, ROWS))
    assert (states[1] == first).all()
    assert (states[2] == second).all()
    assert (out == second).all()
    assert (params["layer.0.output.dense.bias"] != params["layer.1.output.dense.bias"]).all()


def test_encoder_at_the_first_token_equals_this_token_of_all():
    """Without padding, blocks that read too few tokens would raise no error."""
    stack = encoder()
    params, x = parameters(stack), numbers(B, T, D)
    whole, _ = stack.forward(params, x, site(x, padded=False))
    first, _ = stack.forward(params, x, site(x, np.zeros((B, 1), int), padded=False))
    np.testing.assert_allclose(first, whole[:, :1], rtol=1e-12)


def test_encoder_runs_no_block_above_the_last_wanted_state():
    stack = encoder()
    params, x = parameters(stack), numbers(B, T, D)
    stack.blocks[1] = None  # which would raise an error
    states = {1: None}
    out, _ = stack.forward(params, x, site(x), states=states)
    assert out is states[1]


def test_encoder_declares_the_depths_1_to_L_of_its_blocks_and_1_of_its_positions():
    """By depth, parameters are frozen and get their learning rates."""
    stack = layers.Encoder([bert_block(CONFIG) for _ in range(3)], None, Relative())
    depths = {name: spec.depth for name, spec in Parameters(stack.specs()).specs.items()}
    assert depths.pop("distances") == 1
    assert depths == {name: int(name.split(".")[1]) + 1 for name in depths}
    assert {*depths.values()} == {1, 2, 3}


def test_encoder_with_one_scope_shares_the_parameters_of_its_blocks():
    block = bert_block(CONFIG)
    shared, separate = layers.Encoder([block] * 2, ["layer.0."] * 2), encoder()
    params, x = parameters(shared), numbers(B, T, D)
    assert list(params) == [name for name in parameters(separate) if name in params]
    twice = parameters(separate)
    for name in params:
        twice[name][...] = twice[name.replace("layer.0.", "layer.1.")][...] = params[name]
    out, cache = shared.forward(params, x, site(x))
    expected, own = separate.forward(twice, x, site(x))
    assert (out == expected).all()
    grads, each = params.zeros_like(), twice.zeros_like()
    dx = shared.backward(out, cache, params, grads)
    assert (dx == separate.backward(out, own, twice, each)).all()
    for name in params:
        total = each[name] + each[name.replace("layer.0.", "layer.1.")]
        np.testing.assert_allclose(grads[name], total, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rows", [None, ROWS], ids=["all", "rows"])
def test_positions_get_the_gradients_of_all_layers(rows):
    stack = layers.Encoder([bert_block(CONFIG), bert_block(CONFIG)], None, Relative())
    params, x = parameters(stack), numbers(B, T, D)

    def forward(params, x):
        return stack.forward(params, x, site(x, rows))

    # A key bias adds the same to all scores of a query, so its gradient is 0.
    check_layer(stack, {"x": x}, params, forward=forward, entries=3, zeros=["key.bias"])


def test_query_key_and_value_are_adjacent():
    params = parameters(attention())
    weight, bias = params["attention.self.weight"], params["attention.self.bias"]
    assert weight.shape == (3 * D, D)
    assert bias.shape == (3 * D,)
    assert np.shares_memory(weight, params.vector)
    assert (weight[D : 2 * D] == params["attention.self.key.weight"]).all()
    assert "attention.self.weight" not in list(params)


class Draws:
    """A generator that records the number of words per dropout; a word serves four units."""

    def __init__(self):
        self.sizes, self.rng = [], np.random.default_rng(0)

    def integers(self, low, high, size, **options):
        self.sizes.append(size)
        return self.rng.integers(low, high, size, **options)


def test_each_dropout_draws_a_mask_of_its_own():
    hidden, weights, row = -(-B * T * D // 4), -(-B * K * T * T // 4), -(-B * D // 4)
    x, sublayers = numbers(B, T, D), [weights, hidden, hidden]
    scored = "classifier", D, C, 0.3
    for layer, inputs, sizes in (
        (bert_embeddings(CONFIG), (IDS, TYPES), [hidden]),
        (attention(), (x, site(x)), [weights]),
        (feed_forward(), (x, site(x)), []),
        (bert_block(CONFIG), (x, site(x)), sublayers),
        (layers.Recomputed(bert_block(CONFIG)), (x, site(x)), sublayers),
        (layers.Frozen(bert_block(CONFIG)), (x, site(x)), []),
        (layers.ClassifierHead(*scored), (x,), [hidden]),
        (layers.PooledClassifierHead(*scored), (x,), [row]),
        (encoder(), (x, site(x)), 2 * sublayers),
    ):
        draws = Draws()
        layer.forward(parameters(layer), *inputs, rng=draws)
        assert draws.sizes == sizes, type(layer)


def test_frozen_blocks_keep_no_cache_and_end_the_backward():
    stack, whole = encoder(), encoder()
    stack.blocks[0] = layers.frozen(stack.blocks[0])
    params, x = parameters(stack), numbers(B, T, D)
    out, cache = stack.forward(params, x, site(x))
    assert cache.blocks[0] is None
    grads = params.zeros_like()
    assert stack.backward(numbers(B, T, D, seed=1), cache, params, grads) is None
    states = {1: None, 2: None}
    assert (whole.forward(params, x, site(x), states=states)[0] == out).all()
    upper, expected, scope = whole.blocks[1], params.zeros_like(), "layer.1."
    _, cache = upper.forward(params.scope(scope), states[1], site(x))
    upper.backward(
        numbers(B, T, D, seed=1), cache, params.scope(scope), expected.scope(scope), None
    )
    assert (grads.vector == expected.vector).all()


def test_frozen_and_recomputed_wrap_once_and_keep_each_other():
    block = bert_block(CONFIG)
    both = layers.frozen(layers.recomputed(block))
    assert layers.recomputed(layers.frozen(block)).layer.layer is block
    for again in layers.frozen(both), layers.recomputed(both):
        assert isinstance(again, layers.Frozen)
        assert isinstance(again.layer, layers.Recomputed)
        assert again.layer.layer is block
    assert isinstance(layers.frozen(both, wanted=False), layers.Recomputed)
    assert layers.recomputed(both, wanted=False).layer is block
    assert layers.unwrapped(both) is block


@pytest.mark.parametrize("rows", [None, ROWS], ids=["all", "rows"])
def test_recomputed_block_equals_the_block_bitwise(rows):
    x, dout = numbers(B, T, D), numbers(B, T if rows is None else ROWS.shape[1], D, seed=1)
    results = []
    for block in (bert_block(CONFIG), layers.Recomputed(bert_block(CONFIG))):
        params = parameters(block)
        rng = np.random.default_rng(0)
        out, cache = block.forward(params, x, site(x, rows), rng)
        grads = params.zeros_like()
        dx = block.backward(dout, cache, params, grads, None)
        results.append((out, dx, grads.vector, rng.integers(1 << 60)))
    for plain, again in zip(*results, strict=True):
        assert (plain == again).all()


@pytest.mark.parametrize("rows", [None, ROWS], ids=["all", "rows"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_block_without_keep_gives_the_same_bits(rows, padded, dtype):
    block = bert_block(CONFIG)
    params, x = parameters(block, dtype), numbers(B, T, D).astype(dtype)
    before = x.copy()
    expected, _ = block.forward(params, x, site(x, rows, padded))
    out, cache = block.forward(params, x, site(x, rows, padded), keep=False)
    assert cache is None
    assert (out == expected).all()
    assert (x == before).all()


def test_recomputed_blocks_keep_their_inputs_alone():
    config = replace(CONFIG, num_hidden_layers=6)

    def peak(wrap):
        stack = encoder(wrap, config)
        params = parameters(stack)
        x, grads = numbers(16, 40, D), params.zeros_like()
        tracemalloc.start()
        out, cache = stack.forward(params, x, site(x, padded=False), np.random.default_rng(0))
        stack.backward(out, cache, params, grads)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(layers.Recomputed) < 0.4 * peak(lambda block: block)


def test_self_attention_alone_projects_tokens_into_heads_and_back():
    """Attention of a family, to a window or with distances, is given to it as `attend`."""
    folder = Path(layers.__file__).parent
    files = {path.name for path in folder.rglob("*.py") if "_project(" in path.read_text("utf-8")}
    assert files == {"attention.py"}
