"""What is proven: every function, layer and model of this package, each with its gradient check.

Sizes that could meet in one array differ pairwise, so that no transposed shape fits by chance;
parameters are away from their initial values, where a layer norm's weight of 1 and a bias of 0 hide
bugs; gradients are added to what is there already; ids repeat, sequences are padded, one has
nothing to attend to. Dropout is replayed from a seed.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from minibert import functional as f
from minibert import layers
from minibert.config import ACTIVATIONS, BertConfig
from minibert.gradcheck import GradientError, Row, check_model, check_pair
from minibert.models import BertForMaskedLM, BertForSequenceClassification, BertModel, Pooler
from minibert.parameters import Parameters

B, T, K, H, D, F, V, C = 3, 6, 2, 5, 10, 11, 13, 7  # the sizes, in the alphabet of `functional`
R = 4  # rows that are asked for, of T
TOLERANCE, MODEL_TOLERANCE = 1e-7, 1e-6
ZEROS = ("self.key.bias",)  # softmax ignores what is added to all of a row's scores

CONFIG = BertConfig(
    vocab_size=V,
    hidden_size=D,
    num_hidden_layers=2,
    num_attention_heads=K,
    intermediate_size=F,
    max_position_embeddings=8,
    type_vocab_size=2,
    hidden_dropout_prob=0.3,
    attention_probs_dropout_prob=0.2,
    id2label={i: f"class {i}" for i in range(C)},
)
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]])  # the last hides all
IDS = np.array([[2, 7, 7, 9, 12, 3], [2, 9, 7, 3, 1, 1], [2, 7, 12, 5, 9, 3]])
TYPES = np.array([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0]])
ROWS = np.array([[0, 3, 5, 1], [2, 2, 0, 4], [4, 1, 3, 0]])  # one is asked for twice, as to pad
BATCH = {"input_ids": IDS, "token_type_ids": TYPES, "attention_mask": MASK}
MASKED_LABELS = np.array(
    [[-100, 7, 4, -100, 12, 9], [-100, 0, 6, -100, -100, -100], [-100, 3] + 4 * [-100]]
)
CLASS_LABELS = np.array([5, -100, 0])


@dataclass(frozen=True)
class Case:
    """One thing to prove: its name, and the check that proves it."""

    name: str
    check: Callable[[], list[Row]]


def cases() -> Iterator[Case]:
    """Yield everything that is proven, functions first."""
    yield from _functions()
    yield from _layers()
    yield from _models()


def report() -> bool:
    """Check all cases and print a line for each; return whether all passed."""
    proven, start = list(cases()), time.perf_counter()
    passed = True
    print(f"{'what':48} {'error':>7} {'allowed':>7} {'analytic':>10} {'numeric':>10}  worst at")
    for case in proven:
        try:
            print(line(case.name, case.check()), flush=True)
        except GradientError as error:
            passed = False
            print(f"{case.name:48} WRONG\n{error}", flush=True)
    seconds = time.perf_counter() - start
    verdict = "all gradients agree" if passed else "NOT all gradients agree"
    print(f"{len(proven)} checks in {seconds:.0f} s: {verdict} with their forward passes")
    return passed


def line(name: str, rows: list[Row]) -> str:
    """Return one line of the report: the row of a case that is nearest to its tolerance."""
    worst = max(rows, key=lambda row: row.error / row.tolerance)
    index = "a random direction" if worst.index is None else list(worst.index)
    return (
        f"{name:48} {worst.error:7.1e} {worst.tolerance:7.0e} {worst.analytic:10.3e} "
        f"{worst.numeric:10.3e}  {worst.name} at {index}"
    )


def away_from_initial(params: Parameters, seed: int = 0) -> Parameters:
    """Return float64 parameters of the same layout with nothing at 0 or 1, nor tiny gradients."""
    rng = np.random.default_rng(seed)
    away = params.astype(np.float64)
    for name, array in away.items():
        array[...] = rng.normal(0, 0.3, array.shape)
        if name.endswith("LayerNorm.weight"):
            array += 1
    return away


def _numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def _replayed():
    return np.random.default_rng(5)


def _added(params, backward):
    """What `backward(grads)` returns, and what it adds to gradients that aren't zero before."""
    grads = params.zeros_like()
    grads.vector[:] = 1
    dx = backward(grads)
    grads.vector[:] -= 1
    return dx, grads


def _pair(name, forward, backward, **inputs):
    """The case of one forward and its backward, element by element."""
    return Case(name, partial(check_pair, forward, backward, inputs, tolerance=TOLERANCE))


def _affine(backward):
    """Bring a backward that adds into `dweight` and `dbias` to the form that `check_pair` calls."""

    def call(dout, cache, x, weight, bias, **_):
        params = Parameters({"weight": weight.shape, "bias": bias.shape}, dtype=x.dtype)
        dx, grads = _added(
            params, lambda grads: backward(dout, cache, weight, grads["weight"], grads["bias"])
        )
        return {"x": dx, **grads}

    return call


def _functions():
    x, bias = 2 * _numbers(T, D), f.padding_bias(MASK, np.float64)
    x[np.abs(x) < 0.01] = 0.5  # away from the kink of relu, where no difference is a slope
    weight, shift = _numbers(F, D, seed=1), _numbers(F, seed=2)
    yield _pair(
        "linear", f.linear_forward, _affine(f.linear_backward), x=x, weight=weight, bias=shift
    )
    scale, shift = 1 + 0.3 * _numbers(D, seed=1), _numbers(D, seed=2)
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
        lambda x: f.dropout_forward(x, 0.4, _replayed()),
        lambda d, mask, x: {"x": f.dropout_backward(d, mask)},
        x=x,
    )

    def embedding_backward(dout, ids, table):
        params = Parameters({"table": table.shape}, dtype=table.dtype)
        return _added(params, lambda grads: f.embedding_backward(dout, ids, grads["table"]))[1]

    look_up = partial(f.embedding_forward, IDS)
    yield _pair("embedding, repeated ids", look_up, embedding_backward, table=_numbers(V, D))

    for name, hidden in (("softmax", None), ("softmax, masked", bias)):
        yield _pair(
            name,
            lambda scores, hidden=hidden: f.softmax_forward(scores, hidden),
            lambda d, weights, scores: {"scores": f.softmax_backward(d, weights)},
            scores=3 * _numbers(B, K, R, T),
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
                query, key, value, hidden, rate, _replayed()
            ),
            attention_backward,
            query=_numbers(B, K, R, H),
            key=_numbers(B, K, T, H, seed=1),
            value=_numbers(B, K, T, H, seed=2),
        )

    labels = np.array([3, -100, 0, 3, 5, -100])  # (T,)
    for name, denominator in (("cross_entropy, ignored labels", None), ("cross_entropy, parts", 9)):
        yield _pair(
            name,
            lambda logits, n=denominator: f.cross_entropy_forward(logits, labels, n),
            lambda d, cache, logits: {"logits": d * f.cross_entropy_backward(cache)},
            logits=2 * _numbers(T, C),
        )


def _layers():
    x, bias = _numbers(B, T, D), f.padding_bias(MASK, np.float64)
    yield _layer("Linear", layers.Linear("dense", D, F), x=x)
    yield _layer("LayerNorm", layers.LayerNorm("LayerNorm", D, 1e-12), x=x)
    yield _layer("Pooler", Pooler(CONFIG), first=_numbers(B, D))
    feed_forward = layers.FeedForward(CONFIG)
    yield _layer("FeedForward", feed_forward, x=x)
    yield _layer("FeedForward, dropout", feed_forward, _dropping(feed_forward.forward), x=x)
    for positions in ("absolute", "sinusoidal"):
        embeddings = layers.Embeddings(replace(CONFIG, position_embedding_type=positions))
        forward = _dropping(embeddings.forward, ids=IDS, types=TYPES)
        yield _layer(f"Embeddings, {positions}, dropout", embeddings, forward)
    attention = layers.SelfAttention(CONFIG)
    forward = _dropping(attention.forward, bias=bias)
    asking = _numbers(B, R, D, seed=1)
    yield _layer("SelfAttention, masked, dropout", attention, forward, asking=asking, x=x)
    block, encoder = layers.EncoderBlock(CONFIG), layers.Encoder(CONFIG)
    for name, rows in (("all rows", None), ("some rows", ROWS)):
        yield _layer(f"EncoderBlock, {name}", block, partial(block.forward, rows=rows), x=x)
        forward = _dropping(block.forward, bias=bias, rows=rows)
        yield _layer(f"EncoderBlock, {name}, masked, dropout", block, forward, x=x)
        forward = _dropping(partial(_run_encoder, encoder), bias=bias, rows=rows)
        yield _layer(f"Encoder, {name}, masked, dropout", encoder, forward, entries=9, x=x)


def _layer(name, layer, forward=None, entries=None, **inputs):
    """The case of a layer: every parameter and every input, element by element."""

    def backward(dout, cache, params, **_):
        dinputs, grads = _added(params, partial(layer.backward, dout, cache, params))
        dinputs = dinputs if isinstance(dinputs, tuple) else (dinputs,)
        return {"params": grads, **dict(zip(inputs, dinputs, strict=False))}

    arrays = {"params": away_from_initial(Parameters(layer.shapes())), **inputs}
    check = partial(check_pair, forward or layer.forward, backward, arrays, entries=entries)
    return Case(name, partial(check, zeros=ZEROS, tolerance=TOLERANCE))


def _dropping(forward, **options):
    """The same forward with dropout on, its generator replayed at each call."""
    return lambda **inputs: forward(**inputs, **options, rng=_replayed())


def _run_encoder(encoder, params, x, **options):
    outputs, caches = zip(*encoder.steps(params, x, **options), strict=True)
    return outputs[-1], caches


def _models():
    sinusoidal = replace(CONFIG, position_embedding_type="sinusoidal")
    yield Case("BertModel", partial(_check_body, CONFIG))
    yield Case("BertModel, dropout", partial(_check_body, CONFIG, _replayed))
    yield Case("BertModel, sinusoidal", partial(_check_body, sinusoidal, _replayed))
    for kind, labels in (
        (BertForMaskedLM, MASKED_LABELS),
        (BertForSequenceClassification, CLASS_LABELS),
    ):
        yield Case(f"{kind.__name__}, sinusoidal", partial(_check_head, kind, sinusoidal, labels))
        yield Case(f"{kind.__name__}, part of a batch", partial(_check_part, kind, labels))
        for activation in ACTIVATIONS:
            config = replace(CONFIG, hidden_act=activation)
            name = f"{kind.__name__}, {activation}"
            yield Case(name, partial(_check_head, kind, config, labels))
            yield Case(f"{name}, dropout", partial(_check_head, kind, config, labels, 5))


def _away(kind, config):
    params = away_from_initial(Parameters(kind(config).shapes()))
    if config.hidden_act == "relu":
        # Half of the units on, half of them off, and none within 0.4 of the kink, where no
        # difference is a slope.
        for name, array in params.items():
            if name.endswith(("intermediate.dense.bias", "transform.dense.bias")):
                array[:] = np.where(np.arange(array.size) % 2, 1.5, -1.5)
            elif name.endswith(("intermediate.dense.weight", "transform.dense.weight")):
                array /= 3
    return kind(config, params=params)


def _check_head(kind, config, labels, dropout_seed=None):
    return check_model(
        _away(kind, config),
        BATCH,
        labels,
        dropout_seed=dropout_seed,
        zeros=ZEROS,
        tolerance=MODEL_TOLERANCE,
    )


def _check_params(model, forward, add):
    """Check a model through `forward(model) -> out, cache` and `add(model, dout, cache, grads)`."""

    def twin(params):
        return type(model)(model.config, params=params)

    return check_pair(
        lambda params: forward(twin(params)),
        lambda d, cache, params: {
            "params": _added(params, lambda grads: add(twin(params), d, cache, grads))[1]
        },
        {"params": model.params},
        entries=4,
        zeros=ZEROS,
        tolerance=MODEL_TOLERANCE,
    )


def _check_part(kind, labels, denominator=9):
    """The loss of a part, divided by the whole batch's count, as `loss_and_grads` computes it."""

    def add(model, dloss, cache, grads):
        part = model.params.zeros_like()
        part.vector[:] = 1  # what was there before must stay
        model.loss_and_grads(BATCH, labels, grads=part, denominator=denominator)
        grads.vector[:] += dloss * (part.vector - 1)

    def forward(model):
        return model.loss_forward(BATCH, labels, denominator=denominator)

    return _check_params(_away(kind, CONFIG), forward, add)


def _check_body(config, rng=lambda: None):
    """Both outputs of the model without a head, each with a cotangent of its own."""
    model = _away(BertModel, config)
    batch = model.check(**BATCH)
    return _check_params(
        model,
        lambda model: model.forward(batch, rng=rng()),
        lambda model, douts, cache, grads: model.backward(douts, cache, grads),
    )
