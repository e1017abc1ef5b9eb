"""The activations: GELU with a normal distribution of our own (NumPy has none), and ReLU.

`activate_forward` adds a bias, applies the activation and, if a backward follows, finds the slope
f'(x), because the slope shares nearly all its work with f(x). The backward is one product.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from minibert.typing import Array

# Elements of a piece. An activation is a dozen passes; over a whole (N, F) each would wait for
# memory, over a piece it finds the piece in the core's cache.
PIECE_ELEMENTS = 65_536

# Q(a) = 1 - Φ(a), the right tail, is for a >= 0
#     Q(a) = exp(-a²/2) · u · (c[0] + c[1] u + c[2] u² + ...),    u = k / (a + k),
# because the factor beside exp(-a²/2) is smooth and falls like 1/a. k and c were fitted for this
# project: for float32 by least squares with Lawson's weights (the error is at most 5e-9, and
# 1.4e-6 of Q), for float64 by Chebyshev interpolation in 50 digits (1e-15 of Q).
_TAIL_FLOAT32 = (3.5, (
    0.113805746, 0.117080242, 0.0823491066, 0.172976386, -0.138011616,
    0.298659832, -0.182354752, 0.0354950515,
))  # fmt: skip
_TAIL_FLOAT64 = (5.0, (
    0.07978845608028659, 0.07978845608023379, 0.07659691784501842, 0.07021384086606175,
    0.061022227139572574, 0.04978767137976555, 0.0375880366183135, 0.025590443669038256,
    0.01542972485038807, 0.00516165519955407, 0.008827636196386332, -0.025390319565467,
    0.05962495394578087, -0.12395201498924796, 0.18865850975944642, -0.22118234938946085,
    0.1927124556275957, -0.11670545278904527, 0.04591451056837423, -0.01055570515973959,
    0.001080346067144765,
))  # fmt: skip

# (x, slope or None, work): overwrites x with f(x), and slope with f'(x).
Activation: TypeAlias = Callable[[Array, Array | None, Array], None]


def activate_forward(
    x: Array, bias: Array | None, kind: str, keep: bool = True
) -> tuple[Array, Array | None]:
    """Apply an activation to x + bias.

        gelu(x) = x · Φ(x),    gelu_new(x) = x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))),
        relu(x) = max(x, 0)

    Φ is the normal distribution. Hendrycks and Gimpel (2016), section 2; the two forms of GELU
    differ by at most 5e-4.

    Args:
        x (N, F): consumed; out takes its memory.
        bias (F,): added first; None: zeros.
        kind: `gelu`, `gelu_new` or `relu`.
        keep: False: no backward follows, so no slope is computed.

    Returns:
        out (N, F), and the cache that `activate_backward` needs: the slope f'(x + bias).
    """
    function = ACTIVATIONS[kind]
    slope = np.empty_like(x) if keep else None
    step = max(PIECE_ELEMENTS // x.shape[1], 1)
    work = np.empty((3, min(step, len(x)), x.shape[1]), x.dtype)
    with np.errstate(over="ignore"):  # x² of a large number is inf, and exp(-inf) is 0
        for start in range(0, len(x), step):
            piece = x[start : start + step]
            if bias is not None:
                piece += bias
            part = None if slope is None else slope[start : start + step]
            function(piece, part, work[:, : len(piece)])
    return x, slope


def activate_backward(dout: Array, slope: Array | None) -> Array:
    """Gradient of `activate_forward` with respect to x + bias: dx = dout · f'(x + bias)."""
    assert slope is not None, "activate_forward was called with keep=False"
    dx: Array = dout * slope
    return dx


def _gelu(x: Array, slope: Array | None, work: Array) -> None:
    """Write gelu(x) over x, and gelu'(x) = Φ(x) + x · φ(x) over slope; φ is the density.

    With a = |x|, Φ(x) is Q(a) on the left, which keeps its relative accuracy, and 1 - Q(a) on the
    right; both are |[x > 0] - Q(a)|.
    """
    k, coefficients = _TAIL_FLOAT32 if x.dtype.itemsize < 8 else _TAIL_FLOAT64
    a, tail, density = work
    np.abs(x, out=a)
    u = density  # room that is free until the end of the series
    np.add(a, k, out=u)
    np.divide(k, u, out=u)  # u = k / (a + k)
    np.multiply(u, coefficients[-1], out=tail)
    for coefficient in coefficients[-2::-1]:  # Horner's rule; the last product is the factor u
        tail += coefficient
        tail *= u
    np.multiply(a, -0.5, out=density)
    density *= a
    np.exp(density, out=density)  # exp(-x²/2), which Q and φ share
    tail *= density  # Q(a)
    np.subtract(x > 0, tail, out=tail)
    np.abs(tail, out=tail)  # Φ(x)
    if slope is not None:
        density *= 1 / math.sqrt(2 * math.pi)  # φ(x)
        density *= x
        np.add(tail, density, out=slope)
    x *= tail


def _gelu_new(x: Array, slope: Array | None, work: Array) -> None:
    """Write gelu_new(x) over x, and its derivative over slope.

    With s = 1 / (1 + exp(-2z)) = (1 + tanh z) / 2 and z = c (x + 0.044715 x³), c = √(2/π):
    f = x s, and f' = s + x · 2 s (1 - s) · c (1 + 3 · 0.044715 x²).
    """
    c = math.sqrt(2 / math.pi)
    share, square, _ = work
    np.multiply(x, x, out=square)
    np.minimum(square, 1e4, out=square)  # s is 0 or 1 from there on, and inf · 0 is NaN
    np.multiply(square, -2 * c * 0.044715, out=share)
    share -= 2 * c
    share *= x  # -2z
    np.exp(share, out=share)
    share += 1
    np.reciprocal(share, out=share)
    if slope is not None:
        square *= 3 * 0.044715 * 2 * c
        square += 2 * c
        np.subtract(1, share, out=slope)
        slope *= share  # s (1 - s)
        slope *= x
        slope *= square
        slope += share
    x *= share


def _relu(x: Array, slope: Array | None, _: Array) -> None:
    """Write max(x, 0) over x, and its derivative over slope, where that at 0 is 0."""
    if slope is not None:
        np.greater(x, 0, out=slope)
    np.maximum(x, 0, out=x)


ACTIVATIONS: dict[str, Activation] = {"gelu": _gelu, "gelu_new": _gelu_new, "relu": _relu}
