"""Bugs in the mathematics, planted in `minibert.functional`."""

import numpy as np

from minibert.functional import (
    NormCache,
    activate_backward,
    activate_forward,
    activation,
    add_norm_backward,
    attention,
    attention_backward,
    attention_forward,
    cross_entropy_forward,
    draw_mask,
    dropout_forward,
    embedding_backward,
    gather_backward,
    layer_norm_backward,
    layer_norm_forward,
    linear_backward,
    sinusoidal_positions,
    softmax_backward,
    softmax_forward,
    squared_error_backward,
    tanh_backward,
)
from minibert.functional.activation import _gelu, _gelu_new
from tests.functional import test_functional
from tests.layers import test_layers
from tests.mutations.checks import example, gradients, square_attention
from tests.mutations.mutation import Everywhere, Place, mutation
from tests.properties import test_numbers


def maximum_of_all_rows(scores, bias=None):
    if bias is not None:
        scores += bias
    scores -= max(scores.max(), np.finfo(scores.dtype).min)
    np.exp(scores, out=scores)
    total = scores.sum(axis=-1, keepdims=True)
    scores /= np.where(total == 0, 1, total)
    return scores, scores


def softmax_without_the_mean(dweights, weights):
    return dweights * weights


def scores_scaled_twice(query, *arguments, **options):
    return attention_forward(query * 2, *arguments, **options)


def last_piece_left_out(query, key, *arguments, **options):
    out, cache = attention_forward(query, key, *arguments, **options)
    B, K, R, _ = query.shape
    step = max(attention.PIECE_ELEMENTS // (K * R * key.shape[2]), 1)
    out[B - B % step :] = 0
    return out, cache


def key_gradient_without_transpose(dout, cache, dscores=None):
    dquery, _, dvalue = attention_backward(dout, cache, dscores)
    weights, _, query, _, value = cache
    scores = softmax_backward(dout @ value.swapaxes(-1, -2), weights)
    return dquery, scores @ query / np.sqrt(query.shape[-1]), dvalue


def slope_without_the_density(x, slope, work):
    before = x.copy()
    _gelu(x, slope, work)
    if slope is not None:
        slope[...] = x / before


def another_gelu_without_keep(x, bias, kind, keep=True):
    return activate_forward(x, bias, kind if keep or kind != "gelu" else "gelu_new", keep)


def squared_slope(dout, slope):
    return dout * slope**2


def tanh_slope_without_the_square(dout, out):
    return dout * (1 - out)


def normalized(x, weight, bias, inv_std, normed, out):
    """Return what `layer_norm_forward` returns, for another deviation."""
    normed = np.subtract(x, x.mean(axis=-1, keepdims=True), out=normed)
    normed *= inv_std
    out = np.multiply(normed, weight, out=out)
    out += bias
    return out, NormCache(normed, inv_std)


def unbiased_variance(x, weight, bias, eps, normed=None, out=None):
    inv_std = 1 / np.sqrt(x.var(axis=-1, ddof=1, keepdims=True) + eps)
    return normalized(x, weight, bias, inv_std, normed, out)


def eps_outside_the_root(x, weight, bias, eps, normed=None, out=None):
    inv_std = 1 / (x.std(axis=-1, keepdims=True) + eps)
    return normalized(x, weight, bias, inv_std, normed, out)


def norm_weight_outside_the_mean(dout, cache, weight, dweight, dbias):
    normed, inv_std = cache
    dbias += dout.sum(axis=0)
    dweight += (dout * normed).sum(axis=0)
    mean = dout.mean(-1, keepdims=True)
    along = normed * (dout * normed).mean(-1, keepdims=True)
    return inv_std * weight * (dout - mean - along)


def no_gradient_of_the_residual(*arguments):
    dy, dresidual = add_norm_backward(*arguments)
    return dy, np.zeros_like(dresidual)


def dropout_backward_with_another_mask(dout, cache, *arguments):
    if cache.mask is not None:
        cache = cache._replace(mask=cache.mask._replace(kept=np.roll(cache.mask.kept, 1)))
    return add_norm_backward(dout, cache, *arguments)


def dropout_without_scale(shape, rate, rng):
    mask = draw_mask(shape, rate, rng)
    return None if mask is None else mask._replace(scale=1.0)


def nothing_dropped(x, rate, rng):
    return x, dropout_forward(x, rate, rng)[1]


def last_of_repeated_ids(dout, ids, dtable):
    dtable[ids.reshape(-1)] += dout.reshape(-1, dout.shape[-1])


def last_of_repeated_positions(dout, positions, dx):
    for i, chosen in enumerate(positions):
        dx[i, chosen] += dout[i]


def positions_assigned(dout, positions, dx):
    gather_backward(dout, positions, dx)
    for i, chosen in enumerate(positions):
        dx[i, chosen] = dout[i]


def mean_of_the_bias_gradient(dout, x, weight, dweight, dbias):
    linear_backward(dout, x, weight, dweight, np.zeros_like(dbias))
    dbias += dout.mean(axis=0)
    return dout @ weight


def cosines_first(length, width):
    table = sinusoidal_positions(length, width)
    return np.stack([table[:, 1::2], table[:, ::2]], axis=-1).reshape(table.shape)


def unweighted_gradient(logits, labels, denominator=None, weights=None):
    loss, cache = cross_entropy_forward(logits, labels, denominator, weights)
    if weights is not None:
        own = weights[np.maximum(labels.reshape(-1), 0)]
        cache = cache._replace(scale=cache.scale / own)
    return loss, cache


def half_of_the_square(cache):
    return squared_error_backward(cache) / 2


GELU = Place(activation, "ACTIVATIONS", "gelu")

MUTATIONS = [
    mutation(
        "softmax's maximum taken over all rows",
        Everywhere(softmax_forward),
        maximum_of_all_rows,
        example(test_numbers.test_rows_of_a_softmax_are_independent),
    ),
    mutation(
        "softmax's backward without the mean",
        Everywhere(softmax_backward),
        softmax_without_the_mean,
        gradients("attention"),
    ),
    mutation(
        "scores scaled twice",
        Everywhere(attention_forward),
        scores_scaled_twice,
        example(test_functional.test_attention_equals_the_formula),
    ),
    mutation(
        "the last piece of attention left out",
        Everywhere(attention_forward),
        last_piece_left_out,
        example(
            test_functional.test_attention_in_pieces_equals_one_expression,
            sequences=2, biased=False, padded=False, rate=0.0, dtype=np.float64,
        ),
    ),
    mutation(
        "dK without the transpose",
        Everywhere(attention_backward),
        key_gradient_without_transpose,
        square_attention,
    ),
    mutation(
        "GELU's slope without the density", GELU, slope_without_the_density, gradients("gelu")
    ),
    mutation(
        "the tanh form under gelu's name",
        GELU,
        _gelu_new,
        example(test_layers.test_feed_forward_equals_the_formula, activation="gelu"),
    ),
    mutation(
        "another GELU without keep",
        Everywhere(activate_forward),
        another_gelu_without_keep,
        example(
            test_functional.test_activate_forward_without_keep_gives_the_same_bits,
            name="gelu", dtype=np.float64,
        ),
    ),
    mutation(
        "activation's slope squared",
        Everywhere(activate_backward),
        squared_slope,
        gradients("FeedForward"),
    ),
    mutation(
        "tanh's slope without the square",
        Everywhere(tanh_backward),
        tanh_slope_without_the_square,
        gradients("tanh"),
    ),
    mutation(
        "unbiased variance",
        Everywhere(layer_norm_forward),
        unbiased_variance,
        example(test_layers.test_layer_norm_equals_the_formula, eps=1e-12),
    ),
    mutation(
        "eps outside the root",
        Everywhere(layer_norm_forward),
        eps_outside_the_root,
        example(test_layers.test_layer_norm_equals_the_formula, eps=0.5),
    ),
    mutation(
        "layer norm's weight outside the mean",
        Everywhere(layer_norm_backward),
        norm_weight_outside_the_mean,
        gradients("layer_norm, eps 1e-12"),
    ),
    mutation(
        "no gradient of the residual in add_norm",
        Everywhere(add_norm_backward),
        no_gradient_of_the_residual,
        gradients("add_norm, dropout"),
    ),
    mutation(
        "dropout's backward with another mask",
        Everywhere(add_norm_backward),
        dropout_backward_with_another_mask,
        gradients("Residual, feed-forward, dropout"),
    ),
    mutation(
        "dropout without its scale",
        Everywhere(draw_mask),
        dropout_without_scale,
        example(test_functional.test_dropout_keeps_its_rate_and_the_mean, rate=0.3, seed=0),
    ),
    mutation(
        "dropout that drops nothing",
        Everywhere(dropout_forward),
        nothing_dropped,
        gradients("dropout, a rate of 0.4"),
    ),
    mutation(
        "repeated ids keep the last row",
        Everywhere(embedding_backward),
        last_of_repeated_ids,
        gradients("Embeddings, absolute, dropout"),
    ),
    mutation(
        "repeated query positions keep the last gradient",
        Everywhere(gather_backward),
        last_of_repeated_positions,
        gradients("Block, some rows"),
    ),
    mutation(
        "gradients of query positions assigned",
        Everywhere(gather_backward),
        positions_assigned,
        gradients("gather, first position"),
    ),
    mutation(
        "bias gradient averaged over the rows",
        Everywhere(linear_backward),
        mean_of_the_bias_gradient,
        gradients("Linear"),
    ),
    mutation(
        "sine and cosine exchanged",
        Everywhere(sinusoidal_positions),
        cosines_first,
        example(test_functional.test_sinusoidal_positions_equal_the_formula),
    ),
    mutation(
        "class weights left out of the gradient",
        Everywhere(cross_entropy_forward),
        unweighted_gradient,
        gradients("cross_entropy, class weights"),
    ),
    mutation(
        "half of the squared error's gradient",
        Everywhere(squared_error_backward),
        half_of_the_square,
        gradients("squared_error"),
    ),
]  # fmt: skip
