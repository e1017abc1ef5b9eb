"""What is proven: every function, layer and model of this package, each with its gradient check.

Sizes differ pairwise, so that no transposed shape fits by chance; parameters are away from their
initial values, where a layer norm's weight of 1 and a bias of 0 hide bugs; ids repeat, sequences
are padded, and one has nothing to attend to. Dropout is replayed from a seed.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from minibert import functional as f
from minibert.config import ACTIVATIONS, BertConfig
from minibert.gradcheck import GradientError, Row, check_model, check_pair
from minibert.layers import Embeddings, EncoderBlock, FeedForward, LayerNorm, Linear, SelfAttention
from minibert.models import BertForMaskedLM, BertForSequenceClassification, BertModel, Pooler
from minibert.parameters import Parameters

B, T, K, H, D, F, V, C = 3, 5, 2, 4, 8, 11, 13, 6  # the sizes, in the alphabet of `functional`
R = 2  # rows that are asked for, of T
TOLERANCE, MODEL_TOLERANCE = 1e-7, 1e-6
ZEROS = ("self.key.bias",)  # softmax ignores what is added to all of a row's scores

CONFIG = BertConfig(
    vocab_size=V,
    hidden_size=D,
    num_hidden_layers=2,
    num_attention_heads=K,
    intermediate_size=F,
    max_position_embeddings=7,
    type_vocab_size=2,
    hidden_dropout_prob=0.3,
    attention_probs_dropout_prob=0.2,
    id2label={i: f"class {i}" for i in range(C)},
)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])  # the last hides all
IDS = np.array([[2, 7, 7, 9, 3], [2, 9, 3, 1, 1], [2, 7, 12, 5, 3]])
TYPES = np.array([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 0]])
ROWS = np.array([[0, 3], [2, 2], [4, 1]])  # one row is asked for twice: padding of `rows`
BATCH = {"input_ids": IDS, "token_type_ids": TYPES, "attention_mask": MASK}
MASKED_LABELS = np.array([[-100, 7, -100, 4, -100], [-100, 0, 6, -100, -100], [-100] * 5])
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
    print(f"{'what':46} {'worst error':>11}  where")
    for case in proven:
        try:
            worst = max(case.check(), key=lambda row: row.error / row.tolerance)
            index = "a random direction" if worst.index is None else list(worst.index)
            print(f"{case.name:46} {worst.error:11.1e}  {worst.name} at {index}", flush=True)
        except GradientError as error:
            passed = False
            print(f"{case.name:46} WRONG\n{error}", flush=True)
    seconds = time.perf_counter() - start
    verdict = "all gradients agree" if passed else "NOT all gradients agree"
    print(f"{len(proven)} checks in {seconds:.0f} s: {verdict} with their forward passes")
    return passed


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


def _replayed(rng_seed=5):
    return np.random.default_rng(rng_seed)


def _functions():
    def linear_backward(dout, cache, x, weight, bias):
        dweight, dbias = np.zeros_like(weight), np.zeros_like(bias)
        dx = f.linear_backward(dout, cache, weight, dweight, dbias)
        return {"x": dx, "weight": dweight, "bias": dbias}

    inputs = {"x": _numbers(T, D), "weight": _numbers(F, D, seed=1), "bias": _numbers(F, seed=2)}
    yield Case("linear", partial(check_pair, f.linear_forward, linear_backward, inputs))

    def norm_backward(dout, cache, x, weight, bias, eps):
        dweight, dbias = np.zeros_like(weight), np.zeros_like(bias)
        dx = f.layer_norm_backward(dout, cache, weight, dweight, dbias)
        return {"x": dx, "weight": dweight, "bias": dbias}

    inputs = {
        "x": _numbers(T, D),
        "weight": 1 + 0.3 * _numbers(D, seed=1),
        "bias": _numbers(D, seed=2),
    }
    for eps in (1e-12, 0.1):
        check = partial(check_pair, f.layer_norm_forward, norm_backward, {**inputs, "eps": eps})
        yield Case(f"layer_norm, eps {eps}", check)

    x = 2 * _numbers(T, D)
    x[np.abs(x) < 0.01] = 0.5  # away from the kink of relu, where no difference is a slope
    for name in ACTIVATIONS:
        check = partial(
            check_pair, f.ACTIVATIONS[name], lambda d, slope, x: {"x": f.slope_backward(d, slope)},
            {"x": x},
        )  # fmt: skip
        yield Case(name, check)
    check = partial(
        check_pair, f.tanh_forward, lambda d, out, x: {"x": f.tanh_backward(d, out)}, {"x": x}
    )
    yield Case("tanh", check)

    def softmax_backward(dout, weights, scores, bias):
        return {"scores": f.softmax_backward(dout, weights)}

    bias = f.padding_bias(MASK, np.float64)
    for name, hidden in (("softmax", None), ("softmax, masked", _Constant(bias))):
        check = partial(
            check_pair,
            lambda scores, bias: f.softmax_forward(scores, None if bias is None else bias.value),
            softmax_backward,
            {"scores": 3 * _numbers(B, K, R, T), "bias": hidden},
        )
        yield Case(name, check)

    check = partial(
        check_pair,
        lambda x: f.dropout_forward(x, 0.4, _replayed()),
        lambda d, mask, x: {"x": f.dropout_backward(d, mask)},
        {"x": x},
    )
    yield Case("dropout", check)

    def embedding_backward(dout, ids, table, **_):
        dtable = np.zeros_like(table)
        f.embedding_backward(dout, ids, dtable)
        return {"table": dtable}

    check = partial(
        check_pair,
        lambda table: f.embedding_forward(IDS, table),
        embedding_backward,
        {"table": _numbers(V, D)},
    )
    yield Case("embedding, repeated ids", check)

    def attention_backward(dout, cache, **_):
        return dict(zip(("query", "key", "value"), f.attention_backward(dout, cache), strict=True))

    inputs = {
        "query": _numbers(B, K, R, H),
        "key": _numbers(B, K, T, H, seed=1),
        "value": _numbers(B, K, T, H, seed=2),
    }
    for name, hidden, rate in (
        ("attention", None, 0.0),
        ("attention, masked, dropout", bias, 0.3),
    ):

        def attention_forward(query, key, value, hidden=hidden, rate=rate):
            return f.attention_forward(query, key, value, hidden, rate, _replayed())

        yield Case(name, partial(check_pair, attention_forward, attention_backward, inputs))

    for name, denominator in (("cross_entropy, ignored labels", None), ("cross_entropy, parts", 7)):

        def loss_forward(logits, denominator=denominator):
            return f.cross_entropy_forward(logits, np.array([3, -100, 0, 3, 5]), denominator)

        check = partial(
            check_pair,
            loss_forward,
            lambda d, cache, logits: {"logits": d * f.cross_entropy_backward(cache)},
            {"logits": 2 * _numbers(T, C)},
        )
        yield Case(name, check)


@dataclass(frozen=True)
class _Constant:
    """An array that a pair reads and whose gradient it doesn't give."""

    value: np.ndarray | None


def _layers():
    yield _layer("Linear", Linear("dense", D, F), _numbers(B, T, D))
    yield _layer("LayerNorm", LayerNorm("LayerNorm", D, 1e-12), _numbers(B, T, D))
    yield _layer("Pooler", Pooler(CONFIG), _numbers(B, D))
    yield _layer("FeedForward, dropout", FeedForward(CONFIG), _numbers(B, T, D), _replayed)
    for positions in ("absolute", "sinusoidal"):
        layer = Embeddings(replace(CONFIG, position_embedding_type=positions))
        yield Case(f"Embeddings, {positions}, dropout", partial(_check_embeddings, layer))
    yield Case("SelfAttention, masked, dropout", partial(_check_attention, SelfAttention(CONFIG)))
    for name, rows in (("all rows", None), ("some rows", ROWS)):
        block = EncoderBlock(CONFIG)
        forward = partial(block.forward, rows=rows)
        yield _layer(f"EncoderBlock, {name}", block, _numbers(B, T, D), forward=forward)
        bias = f.padding_bias(MASK, np.float64)
        yield _layer(
            f"EncoderBlock, {name}, masked, dropout",
            block,
            _numbers(B, T, D),
            _replayed,
            forward=partial(forward, bias=bias),
        )


def _layer(name, layer, x, rng=None, forward=None):
    """The case of a layer with one input: every parameter and the input, element by element."""
    run = forward or layer.forward

    def call(params, x):
        return run(params, x) if rng is None else run(params, x, rng=rng())

    def backward(dout, cache, params, x):
        grads = params.zeros_like()
        return {"x": layer.backward(dout, cache, params, grads), "params": grads}

    inputs = {"params": away_from_initial(Parameters(layer.shapes())), "x": x}
    return Case(name, partial(check_pair, call, backward, inputs, zeros=ZEROS, tolerance=TOLERANCE))


def _check_embeddings(layer):
    def backward(dout, cache, params):
        grads = params.zeros_like()
        layer.backward(dout, cache, params, grads)
        return {"params": grads}

    return check_pair(
        lambda params: layer.forward(params, IDS, TYPES, _replayed()),
        backward,
        {"params": away_from_initial(Parameters(layer.shapes()))},
        tolerance=TOLERANCE,
    )


def _check_attention(layer):
    bias = f.padding_bias(MASK, np.float64)

    def backward(dout, cache, params, asking, x):
        grads = params.zeros_like()
        dasking, dx = layer.backward(dout, cache, params, grads)
        return {"params": grads, "asking": dasking, "x": dx}

    return check_pair(
        lambda params, asking, x: layer.forward(params, asking, x, bias, _replayed()),
        backward,
        {
            "params": away_from_initial(Parameters(layer.shapes())),
            "asking": _numbers(B, R, D),
            "x": _numbers(B, T, D, seed=1),
        },
        zeros=ZEROS,
        tolerance=TOLERANCE,
    )


def _models():
    sinusoidal = replace(CONFIG, position_embedding_type="sinusoidal")
    yield Case("BertModel", partial(_check_body, CONFIG))
    yield Case("BertModel, sinusoidal", partial(_check_body, sinusoidal))
    for kind, labels in (
        (BertForMaskedLM, MASKED_LABELS),
        (BertForSequenceClassification, CLASS_LABELS),
    ):
        yield Case(f"{kind.__name__}, sinusoidal", partial(_check_head, kind, sinusoidal, labels))
        for activation in ACTIVATIONS:
            config = replace(CONFIG, hidden_act=activation)
            name = f"{kind.__name__}, {activation}"
            yield Case(name, partial(_check_head, kind, config, labels))
            yield Case(f"{name}, dropout", partial(_check_head, kind, config, labels, 5))


def _away(kind, config):
    params = away_from_initial(Parameters(kind(config).shapes()))
    if config.hidden_act == "relu":
        # Half of the units on and half of them off, all far from the kink, where no difference is
        # a slope.
        for name, bias in params.items():
            if name.endswith(("intermediate.dense.bias", "transform.dense.bias")):
                bias[:] = np.where(np.arange(bias.size) % 2, 6, -6)
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


def _check_body(config):
    """Both outputs of the model without a head, each with a cotangent of its own."""
    model = _away(BertModel, config)
    batch = model.check(**BATCH)

    def backward(dout, cache, params):
        grads = params.zeros_like()
        BertModel(config, params=params).backward(dout, cache, grads)
        return {"params": grads}

    return check_pair(
        lambda params: BertModel(config, params=params).forward(batch, rng=_replayed()),
        backward,
        {"params": model.params},
        entries=4,
        zeros=ZEROS,
        tolerance=MODEL_TOLERANCE,
    )
