"""Properties of the functions: accuracy, masks, expectations, ignored labels, dtypes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert import functional as f
from minibert.functional import activation, attention, dropout, normalization
from minibert.functional.families import disentangled
from minibert.functional.relative import relative_buckets
from minibert.testing import assert_batch_invariant

EXACT = np.vectorize(lambda x: 0.5 * x * math.erfc(-x / math.sqrt(2)), otypes=[float])
DENSITY = np.vectorize(lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi), otypes=[float])


def numbers(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def activate(x, kind="gelu", bias=None, keep=True):
    """Call `activate_forward` on a copy of x, which it consumes: (N,) or (N, F)."""
    rows = (x[:, None] if x.ndim == 1 else x).copy()
    out, slope = f.activate_forward(rows, bias, kind, keep)
    assert out is rows
    return out.reshape(x.shape), None if slope is None else slope.reshape(x.shape)


def softmax(scores, bias=None):
    """Call `softmax_forward` on a copy of the scores, which it consumes."""
    return f.softmax_forward(scores.copy(), bias)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_is_accurate_everywhere(dtype):
    x = np.concatenate([np.linspace(-40, 40, 60_001), np.geomspace(1e-30, 40, 3000)]).astype(dtype)
    x = np.concatenate([x, -x])
    out, slope = activate(x)
    wide = x.astype(float)
    exact = EXACT(wide)
    eps = np.finfo(dtype).eps
    assert (np.abs(out - exact) <= 4 * eps * np.maximum(np.abs(wide), 1)).all()
    exact_slope = np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(wide)
    exact_slope += wide * DENSITY(wide)
    assert (np.abs(slope - exact_slope) <= 4 * eps).all()


@pytest.mark.parametrize(
    ("dtype", "leftmost", "tolerance"), [(np.float32, -12.9, 2e-5), (np.float64, -37.4, 1e-12)]
)
def test_gelu_keeps_its_relative_accuracy_in_the_left_tail(dtype, leftmost, tolerance):
    # Further left the result itself is no longer a normal number of this dtype.
    x = np.linspace(leftmost, -0.5, 50_001).astype(dtype)
    exact = EXACT(x.astype(float))
    assert (np.abs(activate(x)[0] - exact) <= tolerance * np.abs(exact)).all()


@given(st.floats(-40, 40))
def test_gelu_equals_erf_for_any_float(x):
    out, _ = activate(np.array([x]))
    assert abs(out[0] - EXACT(x)) <= 4 * np.finfo(float).eps * max(abs(x), 1)


def test_gelu_new_is_near_gelu():
    x = np.linspace(-8, 8, 5001)
    assert np.abs(activate(x, "gelu_new")[0] - activate(x)[0]).max() < 5e-4
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    np.testing.assert_allclose(activate(x, "gelu_new")[0], x / 2 * (1 + np.tanh(inner)), atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", f.ACTIVATIONS)
@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("piece", [1000, 5])  # with a shorter last piece; less than a row
def test_activate_forward_in_pieces_equals_the_whole(name, rows, piece, dtype, monkeypatch):
    x, bias = 3 * numbers(rows, 11, dtype=dtype), numbers(11, dtype=dtype, seed=1)
    expected, expected_slope = activate(x + bias, name)
    monkeypatch.setattr(activation, "PIECE_ELEMENTS", piece)
    out, slope = activate(x, name, bias)
    assert out.dtype == slope.dtype == dtype
    assert (out == expected).all()
    assert (slope == expected_slope).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", f.ACTIVATIONS)
def test_activate_forward_without_keep_gives_the_same_bits(name, dtype):
    x, bias = 3 * numbers(50, 11, dtype=dtype), numbers(11, dtype=dtype, seed=1)
    out, slope = activate(x, name, bias, keep=False)
    assert slope is None
    assert (out == activate(x, name, bias)[0]).all()
    assert activate(x[:0], name, bias)[0].shape == (0, 11)
    with pytest.raises(AssertionError, match="was called with keep=False"):
        f.activate_backward(out, slope)


def test_gelu_in_float32_has_the_stated_error():
    x = np.concatenate(
        [np.linspace(-12, 12, 100_001), [0.0, -0.0, 1e-30, 50, -50, 1e4, -1e4, 3e38]]
    )
    x = x.astype(np.float32)
    exact = EXACT(x.astype(float))
    error = np.abs(activate(x)[0] - exact) / np.maximum(np.abs(exact), 1)
    assert error.max() < 1.6e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_of_a_number_does_not_depend_on_its_neighbours(dtype):
    x = np.linspace(-14, 6, 1001).astype(dtype)
    assert_batch_invariant(activate, {"x": x}, tolerance=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 7, 307])
@pytest.mark.parametrize("piece", [1000, 18])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_add_norm_is_dropout_then_sum_then_layer_norm(rows, piece, rate, dtype, monkeypatch):
    monkeypatch.setattr(normalization, "PIECE_ELEMENTS", piece)
    y, residual = (5 + numbers(rows, 19, dtype=dtype, seed=seed) for seed in (0, 1))
    weight, bias, dout = (numbers(19, dtype=dtype, seed=2), numbers(19, dtype=dtype, seed=3),
                          numbers(rows, 19, dtype=dtype, seed=4))  # fmt: skip
    kept = residual.copy()
    dropped, mask = f.dropout_forward(y, rate, np.random.default_rng(0))
    expected, cache = f.layer_norm_forward(residual + dropped, weight, bias, 1e-3)
    consumed = y.copy()
    out, own = f.add_norm_forward(
        consumed, residual, weight, bias, 1e-3, rate, np.random.default_rng(0)
    )
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(out, expected, atol=tolerance)
    assert (residual == kept).all()
    assert out.dtype == dtype
    grads, plain = np.zeros((2, 19), dtype), np.zeros((2, 19), dtype)
    dy, dresidual = f.add_norm_backward(dout, own, weight, *grads)
    dsum = f.layer_norm_backward(dout, cache, weight, *plain)
    np.testing.assert_allclose(dresidual, dsum, atol=10 * tolerance)
    np.testing.assert_allclose(dy, f.dropout_backward(dsum, mask), atol=10 * tolerance)
    np.testing.assert_allclose(grads, plain, atol=100 * tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_add_norm_without_keep_gives_the_same_bits_in_the_memory_of_y(dtype):
    y, residual = numbers(30, 19, dtype=dtype), numbers(30, 19, dtype=dtype, seed=1)
    weight, bias = numbers(19, dtype=dtype, seed=2), numbers(19, dtype=dtype, seed=3)
    expected, _ = f.add_norm_forward(y.copy(), residual, weight, bias, 1e-12)
    out, _ = f.add_norm_forward(y, residual, weight, bias, 1e-12, keep=False)
    assert out is y
    assert (out == expected).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("sequences", [2, 0.5])  # per piece; 0.5: one sequence exceeds a piece
def test_attention_in_pieces_equals_one_expression(
    sequences, biased, padded, rate, dtype, monkeypatch
):
    B, K, R, T, H = 3, 2, 4, 6, 5
    monkeypatch.setattr(attention, "PIECE_ELEMENTS", int(sequences * K * R * T))
    query, dout = 3 * numbers(B, K, R, H, dtype=dtype), numbers(B, K, R, H, dtype=dtype, seed=3)
    key, value = (numbers(B, K, T, H, dtype=dtype, seed=seed) for seed in (1, 2))
    mask = f.padding_mask(np.array([[1] * 6, [1, 1, 1, 0, 0, 0], [0] * 6]), dtype)
    mask = mask if padded else None
    bias = numbers(1, K, R, T, dtype=dtype, seed=4) if biased else None
    dropped = f.draw_mask((B, K, R, T), rate, np.random.default_rng(0))
    inputs = [array.copy() for array in (query, key, value, dout)]
    rng = np.random.default_rng(0)
    out, cache = f.attention_forward(*inputs[:3], mask, bias, rate, rng)
    dscores = np.empty((B, K, R, T), dtype)
    found = [out, cache.weights, *f.attention_backward(inputs[3], cache, dscores), dscores]
    assert all(
        (one == other).all() for one, other in zip(inputs, (query, key, value, dout), strict=True)
    )
    total = (0 if mask is None else mask) + (0 if bias is None else bias)
    expected = plain_attention(query, key, value, dout, total, dropped)
    for mine, plain in zip(found, expected, strict=True):
        assert mine.dtype == dtype
        np.testing.assert_allclose(mine, plain, atol=2e-5 if dtype == np.float32 else 1e-12)
    again, none = f.attention_forward(
        query, key, value, mask, bias, rate, np.random.default_rng(0), keep=False
    )
    assert none is None
    assert (again == out).all()
    if padded:  # the last sequence is fully masked
        assert all((array[-1] == 0).all() for array in found)


@pytest.mark.parametrize("terms", [(0, 1), (0,), (1,)])
@pytest.mark.parametrize("rows", [None, np.array([[0, 3], [6, 6], [5, 1]])])
def test_products_with_distances_in_blocks_equal_those_in_one(rows, terms, monkeypatch):
    B, K, T, H = 3, 2, 7, 4  # the last block has one token
    R = T if rows is None else rows.shape[1]
    query, key = numbers(B, K, R, H), numbers(B, K, T, H, seed=1)
    at = [numbers(K, 2 * T, H, seed=2 + i) if i in terms else None for i in (0, 1)]
    dscores = numbers(B, K, R, T, seed=4)
    found = []
    for block in (64, 3):
        monkeypatch.setattr(disentangled, "BLOCK", block)
        scores, cache = disentangled.disentangled_forward(query, key, *at, rows)
        gradients = disentangled.disentangled_backward(dscores, cache)
        found.append([scores, *(each for each in gradients if each is not None)])
    assert len(found[0]) == 3 + len(terms)
    for whole, blocks in zip(*found, strict=True):
        np.testing.assert_allclose(blocks, whole, atol=1e-12)


def test_a_relative_bias_is_that_of_the_bucket_of_each_pair():
    table, buckets = numbers(32, 3), relative_buckets(20)
    bias, _ = f.relative_bias_forward(table, buckets)
    np.testing.assert_array_equal(bias, table[buckets].swapaxes(1, 2))  # (T, T, K) -> (T, K, T)
    assert not bias.flags.writeable


def plain_attention(query, key, value, dout, total, dropped):
    """Return attention and its gradients in float64, one expression each."""
    query, key, value, dout = (array.astype(float) for array in (query, key, value, dout))
    scale = 1 / math.sqrt(query.shape[-1])
    scores = query @ key.swapaxes(-1, -2) * scale + total
    exponentials = np.exp(scores - np.maximum(scores.max(axis=-1, keepdims=True), -1e300))
    sums = exponentials.sum(axis=-1, keepdims=True)
    weights = exponentials / np.where(sums == 0, 1, sums)
    factor = 1 if dropped is None else dropped.kept * dropped.scale
    dweights = dout @ value.swapaxes(-1, -2) * factor
    dscores = weights * (dweights - (dweights * weights).sum(axis=-1, keepdims=True))
    return (
        (weights * factor) @ value,
        weights,
        dscores @ key * scale,
        dscores.swapaxes(-1, -2) @ query * scale,
        (weights * factor).swapaxes(-1, -2) @ dout,
        dscores,
    )


@given(st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=3, max_size=3))
def test_gather_backward_adds_the_gradients_of_repeated_positions(positions):
    x, positions = numbers(3, 4, 5), np.array(positions)
    out = f.gather_forward(x, positions)
    dout, dx = numbers(3, 2, 5, seed=1), np.ones((3, 4, 5))
    expected = dx.copy()
    f.gather_backward(dout, positions, dx)
    for b, r in np.ndindex(3, 2):
        assert (out[b, r] == x[b, positions[b, r]]).all()
        expected[b, positions[b, r]] += dout[b, r]
    np.testing.assert_allclose(dx, expected, atol=1e-12)


def test_softmax_weights_sum_to_one_and_ignore_a_shift():
    scores = 5 * numbers(4, 3, 6)
    weights, _ = softmax(scores)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-14)
    np.testing.assert_allclose(softmax(scores + 1000)[0], weights, rtol=1e-9)
    assert np.isfinite(softmax(np.array([[8e307, -8e307, 0.0]]))[0]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attention_weights_are_zero_at_masked_positions_and_in_fully_masked_rows(dtype):
    mask = np.array([[1, 0, 1, 0], [0, 0, 0, 0]])
    query, key, value = (numbers(2, 3, 4, 5, seed=i, dtype=dtype) for i in range(3))
    bias = f.padding_mask(mask, dtype)
    out, cache = f.attention_forward(query, key, value, bias)
    weights = cache.weights
    assert (weights[0][..., [1, 3]] == 0).all()
    np.testing.assert_allclose(weights[0].sum(axis=-1), 1, rtol=1e-6)
    assert (out[1] == 0).all()
    assert (weights[1] == 0).all()
    for gradient in f.attention_backward(numbers(2, 3, 4, 5, seed=9, dtype=dtype), cache):
        assert gradient.dtype == dtype
        assert np.isfinite(gradient).all()
        assert (gradient[1] == 0).all()
    assert f.padding_mask(np.ones((2, 4)), dtype) is None


def test_attention_equals_the_formula():
    query, key, value = (numbers(2, 3, 4, 5, seed=i) for i in range(3))
    out, _ = f.attention_forward(query, key, value)
    for b in range(2):
        for k in range(3):
            scores = np.exp(query[b, k] @ key[b, k].T / math.sqrt(5))
            expected = scores / scores.sum(axis=1, keepdims=True) @ value[b, k]
            np.testing.assert_allclose(out[b, k], expected, rtol=1e-12)


@given(st.floats(0, 0.99), st.integers(0, 2**32))
@settings(max_examples=30)
def test_dropout_keeps_its_rate_and_the_mean(rate, seed):
    x = np.ones((200, 211), np.float32)
    out, mask = f.dropout_forward(x, rate, np.random.default_rng(seed))
    threshold = round(rate * dropout.LEVELS)
    if threshold == 0:
        assert mask is None
        assert out is x
        return
    p = threshold / dropout.LEVELS
    values = np.unique(out)
    assert np.isin(values, np.array([0, 1 / (1 - p)], np.float32)).all()
    spread = math.sqrt(p * (1 - p) / x.size)
    assert abs((out == 0).mean() - p) < 6 * spread
    assert out.dtype == np.float32
    dout = numbers(200, 211, dtype=np.float32)
    assert ((f.dropout_backward(dout, mask) == 0) == (out == 0)).all()


class Words:
    """A fake generator that returns these 16-bit numbers and records its calls."""

    def __init__(self, *draws):
        self.draws, self.asked = np.array(draws, np.uint16), []

    def integers(self, low, high, size, dtype, endpoint):
        self.asked.append((low, high + endpoint, size))
        assert dtype == np.uint64
        return self.draws.view(np.uint64)


def test_dropout_drops_units_with_draws_below_the_threshold():
    rng = Words(0, 16383, 16384, 65535, 9, 9, 9, 9)
    kept, scale = dropout.draw_mask((5, 1), 0.25, rng)
    assert kept.ravel().tolist() == [False, False, True, True, False]
    assert scale == 4 / 3
    assert rng.asked == [(0, 2**64, 2)]  # uniform 64-bit words; four 16-bit draws each


def test_dropout_at_the_highest_rate_keeps_one_draw():
    kept, scale = dropout.draw_mask((4,), 0.999999, Words(0, 65533, 65534, 65535))
    assert kept.tolist() == [False, False, False, True]
    assert scale == dropout.LEVELS


def test_dropout_is_reproducible_and_differs_between_calls():
    x = np.ones((50, 50))
    first, second = (f.dropout_forward(x, 0.5, np.random.default_rng(7))[0] for _ in range(2))
    assert (first == second).all()
    rng = np.random.default_rng(7)
    assert (f.dropout_forward(x, 0.5, rng)[0] != f.dropout_forward(x, 0.5, rng)[0]).any()
    assert f.dropout_forward(x, 0.5, None)[0] is x


@given(st.lists(st.integers(0, 6), min_size=0, max_size=20), st.integers(0, 2**32))
def test_embedding_backward_sums_the_rows_of_repeated_ids(ids, seed):
    ids = np.array(ids, np.int64)
    dout = numbers(len(ids), 3, seed=seed)
    table = np.ones((7, 3))
    expected = table.copy()
    for i, row in zip(ids, dout, strict=True):
        expected[i] += row
    f.embedding_backward(dout, ids, table)
    np.testing.assert_allclose(table, expected, atol=1e-12)


def test_sinusoidal_positions_equal_the_formula():
    table = f.sinusoidal_positions(6, 8)
    for t in range(6):
        for i in range(4):
            angle = t / 10000 ** (2 * i / 8)
            assert table[t, 2 * i] == pytest.approx(math.sin(angle))
            assert table[t, 2 * i + 1] == pytest.approx(math.cos(angle))


def test_cross_entropy_ignores_ignored_labels():
    logits = numbers(5, 4)
    labels = np.array([3, -100, 0, 2, -100])
    loss, cache = f.cross_entropy_forward(logits, labels)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log([shares[0, 3], shares[2, 0], shares[3, 2]]).mean()
    assert loss == pytest.approx(expected)
    dlogits = f.cross_entropy_backward(cache)
    assert (dlogits[[1, 4]] == 0).all()
    assert dlogits[0, 3] == pytest.approx((shares[0, 3] - 1) / 3)
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=1e-15)
    halves = [f.cross_entropy_forward(logits[p], labels[p], 3)[0] for p in ([0, 1], [2, 3, 4])]
    assert sum(halves) == pytest.approx(loss)
    assert f.cross_entropy_forward(1000 * logits, labels)[0] < np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_function_changes_the_dtype(dtype):
    x, weight, bias = (
        numbers(4, 6, dtype=dtype),
        numbers(6, 6, dtype=dtype),
        numbers(6, dtype=dtype),
    )
    rng = np.random.default_rng(0)
    made = [
        f.linear_forward(x, weight, bias)[0],
        f.layer_norm_forward(x, bias, bias, 1e-12)[0],
        softmax(x)[0],
        f.dropout_forward(x, 0.3, rng)[0],
        f.tanh_forward(x)[0],
        f.cross_entropy_backward(f.cross_entropy_forward(x, np.array([0, 5, -100, 2]))[1]),
    ]
    for name in f.ACTIVATIONS:
        made += activate(x, name)
    out, cache = f.layer_norm_forward(x, bias, bias, 1e-12)
    made.append(f.layer_norm_backward(out, cache, bias, bias.copy(), bias.copy()))
    assert [array.dtype for array in made] == [dtype] * len(made)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_pair_changes_the_dtype_or_writes_to_its_arguments(dtype):
    def given(*shape, seed=0):
        array = numbers(*shape, seed=seed, dtype=dtype)
        array.flags.writeable = False  # so a write raises an error
        return array

    x, weight, vector = given(4, 6), given(6, 6, seed=1), given(6, seed=2)
    dweight, dvector = np.zeros((6, 6), dtype), np.zeros(6, dtype)
    ids, labels = np.array([3, 0, 3, 1]), np.array([0, 5, -100, 2])
    ids.flags.writeable = labels.flags.writeable = False
    query, key, value = (given(2, 3, 4, 5, seed=i) for i in range(3))
    bias = f.padding_mask(np.array([[1, 1, 0, 1], [0, 0, 0, 0]]), dtype)
    bias.flags.writeable = False
    rng = np.random.default_rng(0)
    made = []

    out, cache = f.linear_forward(x, weight, vector)
    made += [out, f.linear_backward(given(4, 6), cache, weight, dweight, dvector)]
    out, cache = f.layer_norm_forward(x, vector, vector, 1e-12)
    for _ in range(2):  # a backward does not change the cache
        made += [out, f.layer_norm_backward(given(4, 6), cache, vector, dvector, dvector)]
    assert (made[-1] == made[-3]).all()
    for name in f.ACTIVATIONS:
        out, slope = activate(x, name, vector)
        made += [out, slope, f.activate_backward(given(4, 6), slope)]
    out, cache = f.add_norm_forward(numbers(4, 6, dtype=dtype), x, vector, vector, 1e-12, 0.3, rng)
    made += [out, *f.add_norm_backward(given(4, 6), cache, vector, dvector, dvector)]
    out, cache = f.tanh_forward(x)
    made += [out, f.tanh_backward(given(4, 6), cache)]
    out, mask = f.dropout_forward(x, 0.3, rng)
    made += [out, f.dropout_backward(given(4, 6), mask)]
    out, cache = f.embedding_forward(ids, weight)
    f.embedding_backward(given(4, 6), cache, dweight)
    for scores_bias in (None, bias):
        weights, cache = softmax(query @ key.swapaxes(2, 3), scores_bias)
        made += [out, weights, f.softmax_backward(numbers(2, 3, 4, 4, dtype=dtype), cache)]
        out_attention, cache = f.attention_forward(query, key, value, scores_bias, None, 0.3, rng)
        dquery, dkey, dvalue = f.attention_backward(given(2, 3, 4, 5), cache)
        made += [out_attention, dquery, dkey, dvalue]
    losses = []
    wide = np.array([[0, 1, -100, 1, 0, 1]] * 4)
    wide.flags.writeable = False
    for forward, backward, truth in (
        (f.cross_entropy_forward, f.cross_entropy_backward, labels),
        (f.binary_cross_entropy_forward, f.binary_cross_entropy_backward, wide),
        (f.squared_error_forward, f.squared_error_backward, given(4, 6, seed=3)),
    ):
        losses += [forward(x, truth)[0], forward(x, truth)[0]]
        assert losses[-1] == losses[-2]
        made += [backward(forward(x, truth)[1]), backward(forward(x, truth)[1])]
        assert (made[-1] == made[-2]).all()
    assert {array.dtype for array in made} == {np.dtype(dtype)}
    assert all(isinstance(loss, float) for loss in losses)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attention_gradient_of_fully_masked_rows_is_zero(dtype):
    bias = np.array([[0, -np.inf, 0], [-np.inf] * 3], dtype)
    weights, cache = softmax(numbers(2, 3, dtype=dtype), bias)
    dscores = f.softmax_backward(numbers(2, 3, seed=1, dtype=dtype), cache)
    assert weights[0, 1] == dscores[0, 1] == 0
    assert weights[0].sum() == pytest.approx(1)
    assert (weights[1] == 0).all()
    assert (dscores[1] == 0).all()


@given(st.integers(1, 12), st.lists(st.integers(-1, 5), min_size=2, max_size=12), st.data())
def test_losses_of_shards_add_up_for_any_split(denominator, labels, data):
    cut = data.draw(st.integers(0, len(labels)))
    labels = np.array([-100 if label == -1 else label for label in labels])
    logits = numbers(len(labels), 6)
    whole, whole_cache = f.cross_entropy_forward(logits, labels, denominator)
    parts = [
        f.cross_entropy_forward(logits[part], labels[part], denominator)
        for part in (slice(cut), slice(cut, None))
        if len(labels[part])
    ]
    assert sum(loss for loss, _ in parts) == pytest.approx(whole, rel=1e-12, abs=1e-15)
    dlogits = np.concatenate([f.cross_entropy_backward(cache) for _, cache in parts])
    np.testing.assert_allclose(dlogits, f.cross_entropy_backward(whole_cache), rtol=1e-12)


def test_cross_entropy_of_uniform_and_of_certain_predictions():
    labels = np.array([0, 3, 3])
    assert f.cross_entropy_forward(np.zeros((3, 4)), labels)[0] == pytest.approx(math.log(4))
    certain = 1e4 * np.eye(4)[labels]
    assert f.cross_entropy_forward(certain, labels)[0] == 0
    wrong = f.cross_entropy_forward(certain, (labels + 1) % 4)[0]  # exp(-1e4) is 0, its log is not
    assert wrong == pytest.approx(1e4)


def test_cross_entropy_reads_any_axes_before_the_classes():
    logits, labels = numbers(2, 3, 4), np.array([[3, -100, 0], [1, 2, -100]])
    loss, cache = f.cross_entropy_forward(logits, labels)
    flat, flat_cache = f.cross_entropy_forward(logits.reshape(6, 4), labels.reshape(6))
    assert loss == flat
    dlogits = f.cross_entropy_backward(cache)
    assert (dlogits.reshape(6, 4) == f.cross_entropy_backward(flat_cache)).all()
    assert dlogits.shape == logits.shape


def test_binary_cross_entropy_equals_the_formula_and_cannot_overflow():
    logits = 2 * numbers(3, 4)
    labels = np.array([[1, 0, -100, 0.25], [0, 1, 1, -100], [-100] * 4])
    yes = 1 / (1 + np.exp(-logits))
    each = -(labels * np.log(yes) + (1 - labels) * np.log(1 - yes))[labels != -100]
    loss, cache = f.binary_cross_entropy_forward(logits, labels)
    assert loss == pytest.approx(each.mean(), rel=1e-12)
    dlogits = f.binary_cross_entropy_backward(cache)
    assert (dlogits[labels == -100] == 0).all()
    assert dlogits[0, 3] == pytest.approx((yes[0, 3] - 0.25) / 6)
    far = np.array([[1e4, -1e4]])
    assert f.binary_cross_entropy_forward(far, np.array([[1, 0]]))[0] == 0
    wrong, cache = f.binary_cross_entropy_forward(far, np.array([[0, 1]]))
    assert wrong == pytest.approx(1e4)
    np.testing.assert_allclose(f.binary_cross_entropy_backward(cache), [[0.5, -0.5]])
    nothing, _ = f.binary_cross_entropy_forward(logits[2:], labels[2:])
    assert nothing == 0


def test_binary_cross_entropy_of_one_label_is_divided_by_one():
    logits, labels = np.array([[1.5, 2.0]]), np.array([[1.0, -100]])
    loss, _ = f.binary_cross_entropy_forward(logits, labels)
    assert loss == pytest.approx(math.log1p(math.exp(-1.5)))


def test_squared_error_equals_the_formula_and_shards_add_up():
    outputs, targets = numbers(5, 2), numbers(5, 2, seed=1)
    loss, cache = f.squared_error_forward(outputs, targets)
    assert loss == pytest.approx(np.mean((outputs - targets) ** 2), rel=1e-12)
    np.testing.assert_allclose(f.squared_error_backward(cache), 2 * (outputs - targets) / 10)
    parts = [f.squared_error_forward(outputs[p], targets[p], 10) for p in (slice(2), slice(2, 5))]
    assert sum(part for part, _ in parts) == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("name", ["squared_error", "binary_cross_entropy"])
def test_a_loss_of_no_labels_is_zero(name):
    forward, backward = getattr(f, f"{name}_forward"), getattr(f, f"{name}_backward")
    loss, cache = forward(numbers(0, 2), numbers(0, 2))
    assert loss == 0
    assert backward(cache).shape == (0, 2)


def test_class_weight_equals_repetition():
    logits, labels = numbers(5, 3), np.array([0, 2, -100, 1, 2])
    weights = np.array([1.0, 3.0, 2.0])
    loss, cache = f.cross_entropy_forward(logits, labels, weights=weights)
    dlogits = f.cross_entropy_backward(cache)
    rows = np.repeat(np.arange(5), [1, 2, 1, 3, 2])
    expected, cache = f.cross_entropy_forward(logits[rows], labels[rows])
    repeated = f.cross_entropy_backward(cache)
    assert loss == pytest.approx(expected)
    np.add.at(summed := np.zeros_like(dlogits), rows, repeated)
    np.testing.assert_allclose(dlogits, summed, atol=1e-12)


def test_class_weights_are_summed_in_float64():
    logits, labels = numbers(3, 3), np.array([0, 1, 2])
    weights = np.array([2048.0, 1.0, 2.0], np.float16)  # float16 cannot represent the sum
    loss, cache = f.cross_entropy_forward(logits, labels, weights=weights)
    expected, exact = f.cross_entropy_forward(logits, labels, weights=weights.astype(float))
    assert loss == expected
    assert (f.cross_entropy_backward(cache) == f.cross_entropy_backward(exact)).all()


@pytest.mark.parametrize("labels", [[0, 0, -100], [-100, -100, -100]])
def test_class_weights_of_zero_give_a_loss_of_zero(labels):
    weights = np.array([0.0, 1.0, 2.0])
    loss, cache = f.cross_entropy_forward(numbers(3, 3), np.array(labels), weights=weights)
    assert loss == 0
    assert not f.cross_entropy_backward(cache).any()


@pytest.mark.parametrize("has_weights", [False, True])
def test_binary_cross_entropy_with_weights_and_row_denominators_equals_the_sum(has_weights):
    logits, labels = 2 * numbers(3, 4), np.array([[1, 0, -100, 0.25], [0, 1, 1, 1], [0, 0, 1, 0.5]])
    weights, n = np.array([0.0, 0.5, 3.0, 7.0]), np.array([[2.0], [5.0], [0.5]])
    loss, cache = f.binary_cross_entropy_forward(
        logits, labels, n, weights if has_weights else None
    )
    expected, gradient = 0.0, np.zeros((3, 4))
    for i, c in np.argwhere(labels != -100):
        s, y, w = logits[i, c], labels[i, c], weights[c] if has_weights else 1.0
        yes, no = 1 / (1 + math.exp(-s)), 1 / (1 + math.exp(s))
        expected -= (w * y * math.log(yes) + (1 - y) * math.log(no)) / n[i, 0]
        gradient[i, c] = ((1 - y) * yes - w * y * no) / n[i, 0]
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(f.binary_cross_entropy_backward(cache), gradient, rtol=1e-9)
    far = np.array([[1e4, -1e4]])
    wrong, cache = f.binary_cross_entropy_forward(far, np.array([[0, 1]]), 1, np.array([9.0, 3.0]))
    assert wrong == pytest.approx(4e4)
    np.testing.assert_allclose(f.binary_cross_entropy_backward(cache), [[1.0, -3.0]])


@pytest.mark.parity
def test_weights_of_labels_equal_pytorch():
    import torch

    logits, labels = 2 * numbers(6, 3), np.abs(np.round(numbers(6, 3, seed=1), 1)).clip(0, 1)
    weights = np.array([0.5, 3.0, 1.5])
    theirs = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights))(
        theirs, torch.tensor(labels)
    )
    loss.backward()
    mine, cache = f.binary_cross_entropy_forward(logits, labels, weights=weights)
    assert mine == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(
        f.binary_cross_entropy_backward(cache), theirs.grad.numpy(), atol=1e-12
    )


@pytest.mark.parity
def test_class_weights_equal_pytorch():
    import torch

    logits, labels = numbers(6, 3), np.array([0, 2, -100, 1, 2, 0])
    weights = np.array([0.5, 3.0, 1.5])
    theirs = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(
        theirs, torch.tensor(labels), weight=torch.tensor(weights), ignore_index=-100
    )
    loss.backward()
    mine, cache = f.cross_entropy_forward(logits, labels, weights=weights)
    assert mine == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(f.cross_entropy_backward(cache), theirs.grad.numpy(), atol=1e-12)
