"""Proofs of `minibert.functional`: every pair on every kind of input, element by element."""

from functools import partial

import numpy as np

from minibert import functional as f
from minibert.gradcheck import check_pair
from minibert.gradcheck.checks import added
from minibert.models.config import ACTIVATIONS
from minibert.parameters import Parameters
from minibert.testing.cases.examples import IDS, MASK, B, C, D, F, H, K, R, T, V
from minibert.testing.cases.records import Case, numbers, replayed


def _pair(what, how, forward, backward, options=None, **inputs):
    """The case of one forward and its backward, element by element."""
    return Case(what, how, partial(check_pair, forward, backward, inputs, **(options or {})))


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
    """Yield a case for each pair and kind of input."""
    yield from _affine_cases()
    yield from _elementwise_cases()
    yield from _attention_cases()
    yield from _loss_cases()


def _affine_cases():
    weight, shift = numbers(F, D, seed=1), numbers(F, seed=2)
    backward = _affine(f.linear_backward)
    yield _pair(
        "linear", "", f.linear_forward, backward, x=2 * numbers(T, D), weight=weight, bias=shift
    )
    scale, shift = 1 + 0.3 * numbers(D, seed=1), numbers(D, seed=2)
    nearly_constant = 3 + 0.01 * numbers(T, D)
    for how, x, eps in (
        ("eps 1e-12", 2 * numbers(T, D), 1e-12),
        ("eps 0.1", 2 * numbers(T, D), 0.1),
        ("nearly constant rows", nearly_constant, 0.1),
        ("rows of two", 2 * numbers(T, 2), 0.1),
    ):
        yield _pair(
            "layer_norm", how,
            lambda x, weight, bias, eps=eps: f.layer_norm_forward(x, weight, bias, eps),
            _affine(f.layer_norm_backward),
            x=x, weight=scale[: x.shape[1]], bias=shift[: x.shape[1]],
        )  # fmt: skip

    def embedding_backward(dout, ids, table):
        params = Parameters({"table": table.shape}, dtype=table.dtype)
        return added(params, lambda grads: f.embedding_backward(dout, ids, grads["table"]))[1]

    for how, ids in (("repeated ids", IDS), ("one id", IDS[:1, :1]), ("all alike", 0 * IDS)):
        look_up = partial(f.embedding_forward, ids)
        yield _pair("embedding", how, look_up, embedding_backward, table=numbers(V, D))


def _elementwise_cases():
    x = 2 * numbers(T, D)
    x[np.abs(x) < 0.05] = 0.5  # away from the kink of relu, where no difference is a slope
    tails = np.concatenate([np.linspace(-6, -3, 2 * D), np.linspace(3, 6, 2 * D)]).reshape(4, D)
    for how, values in (("", x), ("tails", tails)):
        for name in ACTIVATIONS:
            forward = f.ACTIVATIONS[name]
            backward = lambda d, slope, x: {"x": f.slope_backward(d, slope)}  # noqa: E731
            yield _pair(name, how, forward, backward, x=values)
    yield _pair("tanh", "", f.tanh_forward, lambda d, out, x: {"x": f.tanh_backward(d, out)}, x=x)
    for how, rate in (("off", 0.0), ("a rate of 0.4", 0.4), ("a rate of 0.9", 0.9)):
        yield _pair(
            "dropout", how,
            lambda x, rate=rate: f.dropout_forward(x, rate, replayed()),
            lambda d, mask, x: {"x": f.dropout_backward(d, mask)},
            x=x,
        )  # fmt: skip


def _attention_cases():
    bias = f.padding_bias(MASK, np.float64)  # of the last sequence nothing is seen
    for how, hidden, length in (("", None, T), ("masked", bias, T), ("one key", None, 1)):
        yield _pair(
            "softmax", how,
            lambda scores, hidden=hidden: f.softmax_forward(scores, hidden),
            lambda d, weights, scores: {"scores": f.softmax_backward(d, weights)},
            {"zeros": ["scores"]} if length == 1 else {},  # the one weight is always 1
            scores=3 * numbers(B, K, R, length),
        )  # fmt: skip

    def backward(dout, cache, query, key, value):
        return f.attention_backward(dout, cache)

    for how, hidden, rate, heads, length in (
        ("", None, 0.0, K, T),
        ("masked", bias, 0.0, K, T),
        ("masked, dropout", bias, 0.3, K, T),
        ("one head", bias, 0.0, 1, T),
        ("one key", None, 0.0, K, 1),
    ):
        yield _pair(
            "attention", how,
            lambda query, key, value, hidden=hidden, rate=rate: f.attention_forward(
                query, key, value, hidden, rate, replayed()
            ),
            backward,
            {"zeros": ["query", "key"]} if length == 1 else {},
            query=numbers(B, heads, R, H),
            key=numbers(B, heads, length, H, seed=1),
            value=numbers(B, heads, length, H, seed=2),
        )  # fmt: skip


def _loss_cases():
    labels = np.array([3, -100, 0, 3, 5, -100])  # (T,)
    none = np.full(T, -100)
    weights = 0.5 + np.arange(C)
    for how, targets, denominator, share in (
        ("ignored labels", labels, None, None),
        ("all labels ignored", none, None, None),
        ("a part of a batch", labels, 9, None),
        ("class weights", labels, None, weights),
        ("class weights, a part of a batch", labels, 9, weights),
    ):
        yield _pair(
            "cross_entropy", how,
            lambda logits, y=targets, n=denominator, w=share: f.cross_entropy_forward(
                logits, y, n, w
            ),
            lambda d, cache, logits: {"logits": d * f.cross_entropy_backward(cache)},
            {"zeros": ["logits"]} if targets is none else {},
            logits=2 * numbers(T, C),
        )  # fmt: skip
    # Some questions don't count; one is answered by a share.
    answers = np.where(numbers(B, C, seed=3) > 0, 1, 0) + np.eye(B, C) * -0.25
    answers = np.where(np.eye(B, C, k=2), -100, np.abs(answers))
    for how, targets, denominator in (
        ("ignored questions", answers, None),
        ("all questions ignored", np.full((B, C), -100), None),
        ("a part of a batch", answers, 9),
    ):
        yield _pair(
            "binary_cross_entropy", how,
            lambda logits, y=targets, n=denominator: f.binary_cross_entropy_forward(logits, y, n),
            lambda d, cache, logits: {"logits": d * f.binary_cross_entropy_backward(cache)},
            {"zeros": ["logits"]} if (targets == -100).all() else {},
            logits=2 * numbers(B, C),
        )  # fmt: skip
    for how, denominator in (("", None), ("a part of a batch", 9)):
        yield _pair(
            "squared_error", how,
            lambda outputs, n=denominator: f.squared_error_forward(
                outputs, numbers(B, C, seed=3), n
            ),
            lambda d, cache, outputs: {"outputs": d * f.squared_error_backward(cache)},
            outputs=2 * numbers(B, C),
        )  # fmt: skip
