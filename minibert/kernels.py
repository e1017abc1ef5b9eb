"""The same mathematics as `functional`, faster: in place, and in pieces that the cache holds.

A whole activation is gone over only by the matmuls; what stands between two of them happens to one
piece after the other. Each function is tested against its plain twin. Pairs are for training, with
the signatures of `functional`; `add_and_activate` and `add_and_normalise` are for predicting, where
nothing is kept for a backward pass. What these buy, one thread, 2,048 tokens of a 6-layer model
with 384 units: biases and GELU take 21 microseconds a token where the plain ones take 36, and all
of it 266 instead of 290.
"""

import math
from collections.abc import Callable

import numpy as np

from minibert.functional import draw_mask, dropout_backward, gelu_forward

# Numbers in a piece, of the feed-forward's rows and of the others: half a megabyte and less. In
# pieces of half and a quarter of that, two threads embed 4 % fewer sentences: between two passes
# they wait for each other.
WIDE, NARROW = 131_072, 98_304
# Attention weights in a piece. A forward keeps 5 bytes a weight for its backward, the plain one 9;
# both of them take 15.9 ms for 16 x 4 x 128 x 128 weights with dropout, the plain pair 16.3.
ATTENTION = 65_536

# Φ(x) = 1 / (1 + exp(-x·r(x²))), and here are the coefficients of r, fitted for this project by
# linear programming on the largest error of x·Φ(x): 3e-8 in exact arithmetic, and 1.5e-7 of
# max(1, |x|) in float32, whose numbers are 1.2e-7 apart there. Outside of ±5.5, where it was not
# fitted, the last coefficient's sign leads to 0 and 1.
_LOGIT = (1.59577064e00, 7.26640777e-02, -6.34684453e-05, -1.11203601e-04, 8.02329153e-06,
          -2.71252958e-07, 3.68646549e-09)  # fmt: skip
_TANH = (2 * math.sqrt(2 / math.pi), 2 * math.sqrt(2 / math.pi) * 0.044715)


def add_and_activate(x: np.ndarray, bias: np.ndarray, name: str) -> np.ndarray:
    """Write activation(x + bias) over x; see `functional.activation` for the formulas.

    Args:
        x: (N, F), written over.  bias: (F,).  name: of the activation.

    Returns:
        x.
    """
    activate = _gelu_float64 if name == "gelu" and x.itemsize > 4 else _IN_PLACE[name]
    rows = max(WIDE // x.shape[1], 1)
    work = np.empty((2, min(rows, len(x)), x.shape[1]), x.dtype)
    with np.errstate(over="ignore"):  # exp of much is inf, and x / inf is right
        for start in range(0, len(x), rows):
            piece = x[start : start + rows]
            piece += bias
            activate(piece, *work[:, : len(piece)])
    return x


def add_and_normalise(
    x: np.ndarray,
    bias: np.ndarray,
    residual: np.ndarray,
    weight: np.ndarray,
    shift: np.ndarray,
    eps: float,
) -> np.ndarray:
    """Write layer_norm(x + bias + residual) over x; see `functional.layer_norm_forward`.

    Args:
        x: (N, D), written over.  bias: (D,).  residual: (N, D).
        weight, shift, eps: of the layer norm.

    Returns:
        x.
    """
    width = x.shape[1]
    rows = max(NARROW // width, 1)
    mean = np.full(width, 1 / width, x.dtype)
    for start in range(0, len(x), rows):
        piece = x[start : start + rows]
        piece += bias
        piece += residual[start : start + rows]
        for _ in range(2):  # twice, as there
            piece -= (piece @ mean)[:, None]  # (rows, D) @ (D,) -> (rows,)
        variance = np.einsum("nd,nd->n", piece, piece) / width
        piece *= (1 / np.sqrt(variance + eps))[:, None]
        piece *= weight
        piece += shift
    return x


def attention_forward(query, key, value, bias=None, rate=0.0, rng=None):
    """`functional.attention_forward`, one sequence after the other; see there for the arguments.

    Returns:
        out (B, K, R, H), which lies in memory as (B, R, K, H), the heads side by side; and the
        cache that `attention_backward` needs; its `[0]` is the weights (B, K, R, T).
    """
    B, K, R, H = query.shape
    T, dtype = key.shape[2], query.dtype
    weights = np.empty((B, K, R, T), dtype)
    out = np.empty((B, R, K, H), dtype).transpose(0, 2, 1, 3)
    mask = draw_mask(weights.shape, rate, rng)
    bias = None if bias is None else np.broadcast_to(bias, (B, *np.shape(bias)[1:]))
    ones, lowest = np.ones((T, 1), dtype), np.finfo(dtype).min
    for rows in _sequences(B, K * R * T):
        scores = weights[rows]
        # (b, K, R, H) @ (b, K, H, T) -> (b, K, R, T)
        np.matmul(query[rows] * dtype.type(1 / math.sqrt(H)), key[rows].swapaxes(-1, -2), scores)
        if bias is not None:
            scores += bias[rows]
        with np.errstate(over="ignore"):  # as in `functional.softmax_forward`
            scores -= np.maximum(scores.max(axis=-1, keepdims=True), lowest)
        np.exp(scores, out=scores)
        total = scores @ ones  # (b, K, R, 1); `sum` is slow on short rows
        scores /= np.where(total == 0, 1, total)
        # (b, K, R, T) @ (b, K, T, H) -> (b, K, R, H)
        np.matmul(dropout_backward(scores, _of(mask, rows)), value[rows], out[rows])
    return out, (weights, mask, query, key, value)


def attention_backward(dout, cache):
    """Gradient of `attention_forward`; returns dquery, dkey, dvalue, as (B, R, K, H) in memory."""
    weights, mask, query, key, value = cache
    B, K, R, T = weights.shape
    H, dtype = query.shape[-1], query.dtype
    dquery, dkey, dvalue = (
        np.empty((B, length, K, H), dtype).transpose(0, 2, 1, 3) for length in (R, T, T)
    )
    ones = np.ones((T, 1), dtype)
    for rows in _sequences(B, K * R * T):
        own, here = weights[rows], _of(mask, rows)
        dropped = dropout_backward(own, here)  # made again: it would be as large as the weights
        # (b, K, T, R) @ (b, K, R, H) -> (b, K, T, H)
        np.matmul(dropped.swapaxes(-1, -2), dout[rows], dvalue[rows])
        # (b, K, R, H) @ (b, K, H, T) -> (b, K, R, T)
        dscores = dropout_backward(dout[rows] @ value[rows].swapaxes(-1, -2), here)
        dscores *= own
        dscores -= own * (dscores @ ones)
        dscores *= dtype.type(1 / math.sqrt(H))
        np.matmul(dscores, key[rows], dquery[rows])  # (b, K, R, T) @ (b, K, T, H)
        # (b, K, T, R) @ (b, K, R, H) -> (b, K, T, H)
        np.matmul(dscores.swapaxes(-1, -2), query[rows], dkey[rows])
    return dquery, dkey, dvalue


def _sequences(count, size):
    """Cut `count` sequences, with `size` weights each, into pieces."""
    step = max(ATTENTION // size, 1)
    return [slice(start, start + step) for start in range(0, count, step)]


def _of(mask, rows):
    return None if mask is None else (mask[0][rows], mask[1])


def _gelu(x, square, power):
    np.multiply(x, x, out=square)
    np.multiply(square, -_LOGIT[-1], out=power)
    for coefficient in _LOGIT[-2:0:-1]:
        power -= coefficient
        power *= square
    power -= _LOGIT[0]
    _divide(x, power)


def _gelu_new(x, square, power):
    np.multiply(x, x, out=square)
    np.multiply(square, -_TANH[1], out=power)
    power -= _TANH[0]
    _divide(x, power)  # (1 + tanh z) / 2 = 1 / (1 + exp(-2z))


def _divide(x, power):
    """Write x / (1 + exp(x · power)) over x."""
    power *= x
    np.exp(power, out=power)
    power += 1
    x /= power


def _gelu_float64(x, *_):
    x[...] = gelu_forward(x)[0]


def _relu(x, *_):
    np.maximum(x, 0, out=x)


_IN_PLACE: dict[str, Callable] = {"gelu": _gelu, "gelu_new": _gelu_new, "relu": _relu}
