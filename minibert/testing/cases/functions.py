"""Cases of `minibert.functional`: every pair on every kind of input, element by element.

A pair that consumes an input gets a copy of it, because `check_pair` uses its inputs again.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from minibert import functional as f
from minibert.functional.families.disentangled import (
    disentangled_backward,
    disentangled_forward,
)
from minibert.functional.families.window import (
    window_attention_backward,
    window_attention_forward,
)
from minibert.functional.relative import BUCKETS, relative_buckets
from minibert.gradcheck import check_pair
from minibert.gradcheck.checks import accumulated_gradients
from minibert.objectives import distillation_losses as losses
from minibert.parameters import Parameters
from minibert.testing.cases.examples import IDS, MASK, ROWS, B, C, D, F, H, K, R, T, V
from minibert.testing.cases.records import Case, dropout_rng, normal

Gradients = Mapping[str, np.ndarray]


def function_cases() -> Iterator[Case]:
    """Yield a case for each pair and kind of input."""
    yield from _affine_cases()
    yield from _add_norm_cases()
    yield from _lookup_cases()
    yield from _activation_cases()
    yield from _gate_cases()
    yield from _relative_cases()
    yield from _disentangled_cases()
    yield from _rotary_cases()
    yield from _dropout_cases()
    yield from _softmax_cases()
    yield from _attention_cases()
    yield from _window_cases()
    yield from _cross_entropy_cases()
    yield from _other_loss_cases()
    yield from _distillation_cases()


def _pair(
    subject: str,
    variant: str,
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *,
    has_keep: bool = False,
    zeros: tuple[str, ...] = (),
    **inputs: Any,
) -> Case:
    """Return the case of a forward and its backward.

    Args:
        subject: the function's name.
        variant: the kind of input.
        forward: returns out and the cache; with `has_keep`, it takes `keep`, by default True.
        backward: takes dout, the cache and the inputs; returns the inputs' gradients.
        has_keep: whether the forward takes `keep`.
        zeros: the inputs whose gradients are provably zero.
        inputs: the arrays by name.
    """
    check = partial(check_pair, forward, backward, inputs, zeros=zeros)
    output = (lambda keep: forward(**inputs, keep=keep)[0]) if has_keep else None
    return Case(subject, variant, check, output)


def _accumulated(
    arrays: Mapping[str, np.ndarray], backward: Callable[[Parameters], Any]
) -> tuple[Any, Parameters]:
    """Return the result of `backward(grads)`, and the gradients that it adds for these arrays."""
    layout = {name: array.shape for name, array in arrays.items()}
    return accumulated_gradients(Parameters(layout, dtype=np.float64), backward)


def _affine(backward: Callable[..., Any], *names: str) -> Callable[..., Gradients]:
    """Return a backward for `check_pair` from one that adds into `dweight` and `dbias`.

    Args:
        backward: takes dout, the cache, weight, dweight, dbias; returns input gradients.
        names: the inputs whose gradients it returns.
    """

    def call(dout, cache, weight, bias, **_):
        dinputs, grads = _accumulated(
            {"weight": weight, "bias": bias},
            lambda grads: backward(dout, cache, weight, grads["weight"], grads["bias"]),
        )
        returned = dinputs if isinstance(dinputs, tuple) else (dinputs,)
        return {**dict(zip(names, returned, strict=True)), **grads}

    return call


def _affine_cases() -> Iterator[Case]:
    weight, shift = normal(F, D, seed=1), normal(F, seed=2)
    backward = _affine(f.linear_backward, "x")
    yield _pair(
        "linear", "", f.linear_forward, backward, x=2 * normal(T, D), weight=weight, bias=shift
    )

    def without_bias(dout, cache, x, weight):
        dx, grads = _accumulated(
            {"weight": weight},
            lambda grads: f.linear_backward(dout, cache, weight, grads["weight"], None),
        )
        return {"x": dx, **grads}

    def frozen_weight(dout, cache, x, bias):
        dx, grads = _accumulated(
            {"bias": bias},
            lambda grads: f.linear_backward(dout, cache, weight, None, grads["bias"]),
        )
        return {"x": dx, **grads}

    yield _pair(
        "linear", "no bias",
        lambda x, weight: f.linear_forward(x, weight, None), without_bias,
        x=2 * normal(T, D), weight=weight,
    )  # fmt: skip
    yield _pair(
        "linear", "frozen weight",
        lambda x, bias: f.linear_forward(x, weight, bias), frozen_weight,
        x=2 * normal(T, D), bias=shift,
    )  # fmt: skip
    scale, shift = 1 + 0.3 * normal(D, seed=1), normal(D, seed=2)

    def without_shift(dout, cache, x, weight):
        dx, grads = _accumulated(
            {"weight": weight},
            lambda grads: f.layer_norm_backward(dout, cache, weight, grads["weight"], None),
        )
        return {"x": dx, **grads}

    yield _pair(
        "layer_norm", "no shift",
        lambda x, weight: f.layer_norm_forward(x, weight, None, 1e-5), without_shift,
        x=2 * normal(T, D), weight=scale,
    )  # fmt: skip
    for variant, x, eps in _rows_to_normalize():
        yield _pair(
            "layer_norm", variant,
            lambda x, weight, bias, eps=eps: f.layer_norm_forward(x, weight, bias, eps),
            _affine(f.layer_norm_backward, "x"),
            x=x, weight=scale[: x.shape[1]], bias=shift[: x.shape[1]],
        )  # fmt: skip


def _rows_to_normalize() -> list[tuple[str, np.ndarray, float]]:
    """Return variants of rows x (N, D), each with an eps."""
    return [
        ("eps 1e-12", 2 * normal(T, D), 1e-12),
        ("eps 0.1", 2 * normal(T, D), 0.1),
        ("nearly constant rows", 3 + 0.01 * normal(T, D), 0.1),
        ("rows of two", 2 * normal(T, 2), 0.1),
    ]


def _add_norm_cases() -> Iterator[Case]:
    scale, shift = 1 + 0.3 * normal(D, seed=1), normal(D, seed=2)
    dropped = [("dropout", 2 * normal(T, D), 0.1, 0.4)]
    for variant, x, eps, rate in [(*each, 0.0) for each in _rows_to_normalize()] + dropped:
        small = 0.01 if variant == "nearly constant rows" else 1  # the sum is to be one, too

        def forward(y, residual, weight, bias, keep=True, eps=eps, rate=rate):
            return f.add_norm_forward(
                y.copy(), residual, weight, bias, eps, rate, dropout_rng(), keep
            )

        yield _pair(
            "add_norm", variant, forward, _affine(f.add_norm_backward, "y", "residual"),
            has_keep=True,
            y=x, residual=small * normal(*x.shape, seed=3),
            weight=scale[: x.shape[1]], bias=shift[: x.shape[1]],
        )  # fmt: skip


def _lookup_cases() -> Iterator[Case]:
    def embedding_backward(dout, ids, table):
        _, grads = _accumulated(
            {"table": table}, lambda grads: f.embedding_backward(dout, ids, grads["table"])
        )
        return grads

    for variant, ids in (("repeated ids", IDS), ("one id", IDS[:1, :1]), ("equal ids", 0 * IDS)):
        look_up = partial(f.embedding_forward, ids)
        yield _pair("embedding", variant, look_up, embedding_backward, table=normal(V, D))

    def gather_backward(dout, positions, x):
        _, grads = _accumulated(
            {"x": x}, lambda grads: f.gather_backward(dout, positions, grads["x"])
        )
        return grads

    for variant, positions in (
        ("repeated positions", ROWS),
        ("first position", np.zeros((B, 1), int)),
        ("all positions", np.tile(np.arange(T), (B, 1))),
    ):
        yield _pair(
            "gather", variant,
            lambda x, positions=positions: (f.gather_forward(x, positions), positions),
            gather_backward,
            x=normal(B, T, D),
        )  # fmt: skip


def _activation_cases() -> Iterator[Case]:
    x = 2 * normal(T, D)
    x[np.abs(x) < 0.05] = 0.5  # away from the kink of relu, where no difference is a slope
    tails = np.concatenate([np.linspace(-6, -3, 2 * D), np.linspace(3, 6, 2 * D)]).reshape(4, D)
    for variant, values in (("", x), ("tails", tails)):
        for kind in f.ACTIVATIONS:
            yield _pair(
                kind, variant,
                lambda x, keep=True, kind=kind: f.activate_forward(x.copy(), None, kind, keep),
                lambda dout, slope, x: {"x": f.activate_backward(dout, slope)},
                has_keep=True, x=values,
            )  # fmt: skip

    def bias_backward(dout, slope, x, bias):
        dx = f.activate_backward(dout, slope)
        return {"x": dx, "bias": dx.sum(axis=0)}

    bias = 0.1 * normal(D, seed=1)
    away = np.where(np.abs(x + bias) < 0.05, x + 0.5, x)
    for kind in f.ACTIVATIONS:
        yield _pair(
            kind, "bias",
            lambda x, bias, keep=True, kind=kind: f.activate_forward(x.copy(), bias, kind, keep),
            bias_backward,
            has_keep=True, x=away, bias=bias,
        )  # fmt: skip
    yield _pair("tanh", "", f.tanh_forward, lambda d, out, x: {"x": f.tanh_backward(d, out)}, x=x)


def _gate_cases() -> Iterator[Case]:
    x = 2 * normal(T, 2 * F)
    x[np.abs(x) < 0.05] = 0.5  # away from the kink of relu
    for kind in f.ACTIVATIONS:
        yield _pair(
            "gate", kind,
            lambda x, keep=True, kind=kind: f.gate_forward(x.copy(), kind, keep),
            lambda dout, slopes, x: {"x": f.gate_backward(dout, slopes)},
            has_keep=True, x=x,
        )  # fmt: skip


def _rotary_cases() -> Iterator[Case]:
    width = 2 * H
    table = f.rotary_table(T, width, 7.0, np.float64)  # (T, H)
    for variant, turns, shape in (
        ("", table, (B, K, T, width)),
        ("some rows", table[ROWS][:, None], (B, K, R, width)),  # (B, 1, R, H)
    ):
        yield _pair(
            "rotate", variant,
            lambda x, turns=turns: (f.rotate_forward(x, turns), turns),
            lambda dout, turns, x: {"x": f.rotate_backward(dout, turns)},
            x=normal(*shape),
        )  # fmt: skip


def _relative_cases() -> Iterator[Case]:
    buckets, table = relative_buckets(T), normal(BUCKETS, K)  # 11 of the 32 buckets occur
    yield _pair(
        "relative_bias", "",
        lambda table: f.relative_bias_forward(table, buckets),
        lambda dbias, cache, table: _accumulated(
            {"table": table},
            lambda grads: f.relative_bias_backward(dbias, cache, grads["table"]),
        )[1],
        table=table,
    )  # fmt: skip


def _disentangled_cases() -> Iterator[Case]:
    names = ("query", "key", "key_at", "query_at")
    key_at, query_at = normal(K, 2 * T, H, seed=2), normal(K, 2 * T, H, seed=3)
    for variant, rows, queries in (("", None, T), ("some rows", ROWS, R)):
        yield _pair(
            "disentangled", variant,
            partial(disentangled_forward, rows=rows),
            lambda dout, cache, **_: dict(
                zip(names, disentangled_backward(dout, cache), strict=True)
            ),
            query=normal(B, K, queries, H), key=normal(B, K, T, H, seed=1),
            key_at=key_at, query_at=query_at,
        )  # fmt: skip


def _dropout_cases() -> Iterator[Case]:
    for variant, rate in (("off", 0.0), ("a rate of 0.4", 0.4), ("a rate of 0.9", 0.9)):
        yield _pair(
            "dropout", variant,
            lambda x, rate=rate: f.dropout_forward(x, rate, dropout_rng()),
            lambda dout, mask, x: {"x": f.dropout_backward(dout, mask)},
            x=2 * normal(T, D),
        )  # fmt: skip


def _softmax_cases() -> Iterator[Case]:
    mask = f.padding_mask(MASK, np.float64)  # of the last sequence, everything is masked
    for variant, bias, length in (("", None, T), ("masked", mask, T), ("one key", None, 1)):
        yield _pair(
            "softmax", variant,
            lambda scores, bias=bias: f.softmax_forward(scores.copy(), bias),
            lambda dout, weights, scores: {"scores": f.softmax_backward(dout.copy(), weights)},
            zeros=("scores",) if length == 1 else (),  # the one weight is always 1
            scores=3 * normal(B, K, R, length),
        )  # fmt: skip


def _attention_cases() -> Iterator[Case]:
    mask = f.padding_mask(MASK, np.float64)
    for variant, own_mask, rate, heads, length in (
        ("", None, 0.0, K, T),
        ("masked", mask, 0.0, K, T),
        ("masked, dropout", mask, 0.3, K, T),
        ("one head", mask, 0.0, 1, T),
        ("one key", None, 0.0, K, 1),
    ):
        forward = partial(_attention_forward, mask=own_mask, rate=rate)
        yield _pair(
            "attention", variant, forward,
            lambda dout, cache, **_: f.attention_backward(dout, cache),
            has_keep=True, zeros=("query", "key") if length == 1 else (),
            **_heads(heads, length),
        )  # fmt: skip
    for variant, own_mask, rate, axes in (
        ("bias", None, 0.0, (K, R, T)),
        ("bias, masked, dropout", mask, 0.3, (K, R, T)),
        ("bias of each sequence, masked, dropout", mask, 0.3, (B, K, R, T)),
    ):
        forward = partial(_attention_forward, mask=own_mask, rate=rate)
        yield _pair(
            "attention", variant, forward, _biased_attention_backward,
            has_keep=True, **_heads(K, T), bias=normal(*axes, seed=3),
        )  # fmt: skip


def _window_cases() -> Iterator[Case]:
    """Yield cases of a band: blocks that do not divide the text, padding, a wide window."""
    mask = f.padding_mask(MASK, np.float64)
    names = ("query", "key", "value")
    heads: dict[str, Any] = {name: normal(B, K, T, H, seed=i) for i, name in enumerate(names)}
    for variant, own_mask, window, size, rate in (
        ("blocks of 4", None, 1, 4, 0.0),
        ("blocks of 2, masked, dropout", mask, 2, 2, 0.3),
        ("beyond the text, masked", mask, T, 2, 0.0),
    ):
        yield _pair(
            "window_attention", variant,
            partial(_window_forward, mask=own_mask, window=window, size=size, rate=rate),
            lambda dout, cache, **_: window_attention_backward(dout, cache),
            has_keep=True, **heads,
        )  # fmt: skip


def _window_forward(query, key, value, keep=True, **options):
    """Run attention in a window, with its dropout replayed."""
    return window_attention_forward(query, key, value, rng=dropout_rng(), keep=keep, **options)


def _heads(heads: int, length: int) -> dict[str, Any]:
    """Return query (B, heads, R, H), key and value (B, heads, length, H)."""
    return {
        "query": normal(B, heads, R, H),
        "key": normal(B, heads, length, H, seed=1),
        "value": normal(B, heads, length, H, seed=2),
    }


def _attention_forward(query, key, value, bias=None, mask=None, rate=0.0, keep=True):
    """Run the attention; a bias (K, R, T) is that of every sequence."""
    if bias is not None and bias.ndim == 3:
        bias = bias[None]  # (K, R, T) -> (1, K, R, T)
    return f.attention_forward(query, key, value, mask, bias, rate, dropout_rng(), keep)


def _biased_attention_backward(dout, cache, query, key, value, bias):
    """Return the gradients; that of the bias is that of the scores, summed where it broadcasts."""
    dscores = np.full(cache.weights.shape, np.nan)
    dquery, dkey, dvalue = f.attention_backward(dout, cache, dscores)
    dbias = dscores if bias.ndim == 4 else dscores.sum(axis=0)
    return {"query": dquery, "key": dkey, "value": dvalue, "bias": dbias}


def _cross_entropy_cases() -> Iterator[Case]:
    labels = np.array([3, -100, 0, 3, 5, -100])  # (T,)
    none = np.full(T, -100)
    weights = 0.5 + np.arange(C)
    impossible = normal(T, C, seed=1)  # added to the logits: -inf for classes that are impossible
    impossible[[0, 2, 5], [1, 6, 0]] = -np.inf
    for variant, targets, denominator, share, shift in (
        ("ignored labels", labels, None, None, 0),
        ("all labels ignored", none, None, None, 0),
        ("a part of a batch", labels, 9, None, 0),
        ("class weights", labels, None, weights, 0),
        ("class weights, a part of a batch", labels, 9, weights, 0),
        ("a denominator for each label", labels, 4.0 + np.arange(T)[:, None], None, 0),
        ("impossible classes", labels, None, None, impossible),
    ):
        yield _pair(
            "cross_entropy", variant,
            lambda logits, y=targets, n=denominator, w=share, shift=shift: f.cross_entropy_forward(
                logits + shift, y, n, w
            ),
            lambda dloss, cache, logits: {"logits": dloss * f.cross_entropy_backward(cache)},
            zeros=("logits",) if targets is none else (),
            logits=2 * normal(T, C),
        )  # fmt: skip


def _other_loss_cases() -> Iterator[Case]:
    # Some labels are ignored; one is a probability.
    answers = np.where(normal(B, C, seed=3) > 0, 1, 0) + np.eye(B, C) * -0.25
    answers = np.where(np.eye(B, C, k=2), -100, np.abs(answers))
    rows, weights = 4.0 + np.arange(B)[:, None], 0.5 + np.arange(C)
    for variant, targets, denominator, share in (
        ("ignored labels", answers, None, None),
        ("all labels ignored", np.full((B, C), -100), None, None),
        ("a part of a batch", answers, 9, None),
        ("class weights, a denominator for each row", answers, rows, weights),
    ):
        yield _pair(
            "binary_cross_entropy", variant,
            lambda logits, y=targets, n=denominator, w=share: f.binary_cross_entropy_forward(
                logits, y, n, w
            ),
            lambda dloss, cache, logits: {"logits": dloss * f.binary_cross_entropy_backward(cache)},
            zeros=("logits",) if (targets == -100).all() else (),
            logits=2 * normal(B, C),
        )  # fmt: skip
    for variant, denominator in (
        ("", None),
        ("a part of a batch", 9),
        ("a denominator for each row", rows),
    ):
        yield _pair(
            "squared_error", variant,
            lambda outputs, n=denominator: f.squared_error_forward(
                outputs, normal(B, C, seed=3), n
            ),
            lambda dloss, cache, outputs: {"outputs": dloss * f.squared_error_backward(cache)},
            outputs=2 * normal(B, C),
        )  # fmt: skip


def _distillation_cases() -> Iterator[Case]:
    logits, teacher = 2 * normal(T, C), 2 * normal(T, C, seed=1)
    x, target = normal(B, T, D), normal(B, T, D, seed=1)
    some = np.array([True, False, True, True, False, True])  # (T,)
    for variant, temperature, counted, denominator in (
        ("", 1.0, None, None),
        ("a temperature of 3", 3.0, None, None),
        ("a temperature of 0.5, a part of a batch", 0.5, some, 9),
        ("some rows", 3.0, some, None),
        ("no row", 3.0, np.zeros(T, bool), None),
    ):
        yield _pair(
            "kl_divergence", variant,
            lambda logits, T=temperature, at=counted, n=denominator: losses.kl_divergence_forward(
                logits, teacher, T, at, n
            ),
            lambda dloss, cache, logits: {"logits": dloss * losses.kl_divergence_backward(cache)},
            zeros=("logits",) if variant == "no row" else (),
            logits=logits,
        )  # fmt: skip
    for variant, temperature, denominator in (
        ("", 1.0, None), ("a temperature of 3, a part of a batch", 3.0, 99)
    ):  # fmt: skip
        yield _pair(
            "binary_kl_divergence", variant,
            lambda logits, T=temperature, n=denominator: losses.binary_kl_divergence_forward(
                logits, teacher, T, None, n
            ),
            lambda dloss, cache, logits: {
                "logits": dloss * losses.binary_kl_divergence_backward(cache)
            },
            logits=logits,
        )  # fmt: skip
    for variant, counted, denominator in (
        ("", None, None), ("padding", MASK, None), ("padding, a part of a batch", MASK, 19)
    ):  # fmt: skip
        yield _pair(
            "cosine_embedding", variant,
            lambda x, at=counted, n=denominator: losses.cosine_embedding_forward(x, target, at, n),
            lambda dloss, cache, x: {"x": dloss * losses.cosine_embedding_backward(cache)},
            x=x,
        )  # fmt: skip
