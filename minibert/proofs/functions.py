"""Proofs of `minibert.functional`: every pair, element by element."""

from functools import partial

import numpy as np

from minibert import functional as f
from minibert.config import ACTIVATIONS
from minibert.gradcheck import check_pair
from minibert.parameters import Parameters
from minibert.proofs.cases import TOLERANCE, Case, added, numbers, replayed
from minibert.proofs.examples import IDS, MASK, B, C, D, F, H, K, R, T, V


def _pair(name, forward, backward, **inputs):
    """The case of one forward and its backward, element by element."""
    return Case(name, partial(check_pair, forward, backward, inputs, tolerance=TOLERANCE))


def _affine(backward):
    """Bring a backward that adds into `dweight` and `dbias` to the form that `check_pair` calls."""

    def call(dout, cache, x, weight, bias, **_):
        params = Parameters({"weight": weight.shape, "bias": bias.shape}, dtype=x.dtype)
        dx, grads = added(
            params, lambda grads: backward(dout, cache, weight, grads["weight"], grads["bias"])
        )
        return {"x": dx, **grads}

    return call


def function_cases():
    """Yield a case for each pair."""
    x, bias = 2 * numbers(T, D), f.padding_bias(MASK, np.float64)
    x[np.abs(x) < 0.01] = 0.5  # away from the kink of relu, where no difference is a slope
    weight, shift = numbers(F, D, seed=1), numbers(F, seed=2)
    yield _pair(
        "linear", f.linear_forward, _affine(f.linear_backward), x=x, weight=weight, bias=shift
    )
    scale, shift = 1 + 0.3 * numbers(D, seed=1), numbers(D, seed=2)
    for eps in (1e-12, 0.1):
        yield _pair(
            f"layer_norm, eps {eps}",
            lambda x, weight, bias, eps=eps: f.layer_norm_forward(x, weight, bias, eps),
            _affine(f.layer_norm_backward),
            x=x, weight=scale, bias=shift,
        )  # fmt: skip

    for name in ACTIVATIONS:
        forward = f.ACTIVATIONS[name]
        yield _pair(name, forward, lambda d, slope, x: {"x": f.slope_backward(d, slope)}, x=x)
    yield _pair("tanh", f.tanh_forward, lambda d, out, x: {"x": f.tanh_backward(d, out)}, x=x)
    yield _pair(
        "dropout",
        lambda x: f.dropout_forward(x, 0.4, replayed()),
        lambda d, mask, x: {"x": f.dropout_backward(d, mask)},
        x=x,
    )

    def embedding_backward(dout, ids, table):
        params = Parameters({"table": table.shape}, dtype=table.dtype)
        return added(params, lambda grads: f.embedding_backward(dout, ids, grads["table"]))[1]

    look_up = partial(f.embedding_forward, IDS)
    yield _pair("embedding, repeated ids", look_up, embedding_backward, table=numbers(V, D))

    for name, hidden in (("softmax", None), ("softmax, masked", bias)):
        yield _pair(
            name,
            lambda scores, hidden=hidden: f.softmax_forward(scores, hidden),
            lambda d, weights, scores: {"scores": f.softmax_backward(d, weights)},
            scores=3 * numbers(B, K, R, T),
        )

    def attention_backward(dout, cache, **_):
        return dict(zip(("query", "key", "value"), f.attention_backward(dout, cache), strict=True))

    for name, hidden, rate in (
        ("attention", None, 0.0),
        ("attention, masked", bias, 0.0),
        ("attention, masked, dropout", bias, 0.3),
    ):
        yield _pair(
            name,
            lambda query, key, value, hidden=hidden, rate=rate: f.attention_forward(
                query, key, value, hidden, rate, replayed()
            ),
            attention_backward,
            query=numbers(B, K, R, H),
            key=numbers(B, K, T, H, seed=1),
            value=numbers(B, K, T, H, seed=2),
        )

    labels = np.array([3, -100, 0, 3, 5, -100])  # (T,)
    weights = 0.5 + np.arange(C)
    for name, denominator, share in (
        ("cross_entropy, ignored labels", None, None),
        ("cross_entropy, parts", 9, None),
        ("cross_entropy, class weights", None, weights),
        ("cross_entropy, class weights, parts", 9, weights),
    ):
        yield _pair(
            name,
            lambda logits, n=denominator, w=share: f.cross_entropy_forward(logits, labels, n, w),
            lambda d, cache, logits: {"logits": d * f.cross_entropy_backward(cache)},
            logits=2 * numbers(T, C),
        )
    # Some questions don't count; one is answered by a share.
    answers = np.where(numbers(B, C, seed=3) > 0, 1, 0) + np.eye(B, C) * -0.25
    answers = np.where(np.eye(B, C, k=2), -100, np.abs(answers))
    for n in (None, 9):
        part = "" if n is None else ", parts"
        yield _pair(
            "binary_cross_entropy" + part,
            lambda logits, n=n: f.binary_cross_entropy_forward(logits, answers, n),
            lambda d, cache, logits: {"logits": d * f.binary_cross_entropy_backward(cache)},
            logits=2 * numbers(B, C),
        )
        yield _pair(
            "squared_error" + part,
            lambda outputs, n=n: f.squared_error_forward(outputs, numbers(B, C, seed=3), n),
            lambda d, cache, outputs: {"outputs": d * f.squared_error_backward(cache)},
            outputs=2 * numbers(B, C),
        )
