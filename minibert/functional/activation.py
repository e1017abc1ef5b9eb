"""The activations: GELU with an erf of our own (NumPy has none), its tanh form, ReLU and tanh.

Every activation is a pair `forward(x) -> (out, slope)` and `backward(dout, slope) -> dx`: the slope
f'(x) shares nearly all its work with f(x), so it is computed beside it, while x is in the cache.
"""

import math
from collections.abc import Callable

import numpy as np

# An elementwise function of two dozen passes is bound by memory if each pass runs over a whole
# activation; in smaller pieces the calls themselves cost more. On 2,048 x 1,024 float32 numbers
# `gelu_forward` takes 6.9 ms in such pieces, 7.9 in a quarter and 8.9 in an eighth of them.
CHUNK = 131_072

# Q(a) = erfc(a / sqrt(2)) / 2, the normal distribution's right tail, is for a >= 0
#     Q(a) = exp(-a²/2) · u · (c[0] + c[1] u + c[2] u² + ...),    u = k / (a + k),
# because the factor beside exp(-a²/2) is smooth and falls like 1/a. The coefficients were fitted
# for this project: for float32 by linear programming on the largest error (3e-6 of Q, and 7e-8 of
# a·Q), for float64 by Chebyshev interpolation in 50 digits (1e-15 of Q).
_TAIL_FLOAT32 = (3.75, (
    0.106372219, 0.107039596, 0.0913156288, 0.121360942, -0.0351420821, 0.171499543,
    -0.0624460003,
))  # fmt: skip
_TAIL_FLOAT64 = (5.0, (
    0.07978845608028659, 0.07978845608023379, 0.07659691784501842, 0.07021384086606175,
    0.061022227139572574, 0.04978767137976555, 0.0375880366183135, 0.025590443669038256,
    0.01542972485038807, 0.00516165519955407, 0.008827636196386332, -0.025390319565467,
    0.05962495394578087, -0.12395201498924796, 0.18865850975944642, -0.22118234938946085,
    0.1927124556275957, -0.11670545278904527, 0.04591451056837423, -0.01055570515973959,
    0.001080346067144765,
))  # fmt: skip


def gelu_forward(x):
    """Weigh each number by the probability that a standard normal one is smaller.

        gelu(x) = x · Φ(x),    gelu'(x) = Φ(x) + x · φ(x)

    Φ and φ are the normal distribution and its density. Φ(x) is 1 - Q(x) on the right and Q(-x) on
    the left, Q the right tail: so it keeps its relative accuracy where 1 + erf(x) would cancel.
    Hendrycks and Gimpel (2016), section 2.

    Args:
        x: any shape, float32 or float64.

    Returns:
        out, and the slope that `slope_backward` needs; both shaped like x.
    """
    return _in_chunks(_gelu_chunk, x)


def gelu_new_forward(x):
    """The tanh form of GELU.

        gelu_new(x) = x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))

    Hendrycks and Gimpel (2016), section 2; within 5e-4 of `gelu_forward`.

    Args:
        x: any shape.

    Returns:
        out, and the slope that `slope_backward` needs; both shaped like x.
    """
    return _in_chunks(_gelu_new_chunk, x)


def relu_forward(x):
    """Keep what is positive: relu(x) = max(x, 0); its slope at 0 is taken as 0.

    Args:
        x: any shape.

    Returns:
        out, and the slope that `slope_backward` needs; both shaped like x.
    """
    return np.maximum(x, 0), (x > 0).astype(x.dtype)


def slope_backward(dout, slope):
    """Gradient of every activation above: dx = dout · f'(x)."""
    return dout * slope


def tanh_forward(x):
    """out = tanh(x), with out itself as the cache: tanh' = 1 - tanh²."""
    out = np.tanh(x)
    return out, out


def tanh_backward(dout, out):
    """Gradient of `tanh_forward`: dx = dout · (1 - out²)."""
    return dout * (1 - out * out)


ACTIVATIONS: dict[str, Callable] = {
    "gelu": gelu_forward,
    "gelu_new": gelu_new_forward,
    "relu": relu_forward,
}


def _in_chunks(function, x):
    """Call `function(x, out, slope, work)` on one cache-sized piece of x after the other."""
    x = np.ascontiguousarray(x)
    out, slope = np.empty_like(x), np.empty_like(x)
    flat_x, flat_out, flat_slope = x.reshape(-1), out.reshape(-1), slope.reshape(-1)
    work = np.empty((3, min(CHUNK, x.size)), x.dtype)
    with np.errstate(over="ignore"):  # x² of what is huge: exp(-x²/2) is 0 all the same
        for start in range(0, x.size, CHUNK):
            piece = slice(start, min(start + CHUNK, x.size))
            room = work[:, : piece.stop - piece.start]
            function(flat_x[piece], flat_out[piece], flat_slope[piece], room)
    return out, slope


def _gelu_chunk(x, out, slope, work):
    k, coefficients = _TAIL_FLOAT32 if x.dtype.itemsize < 8 else _TAIL_FLOAT64
    a, u, density = work
    np.abs(x, out=a)
    np.add(a, k, out=u)
    np.divide(k, u, out=u)  # u = k / (a + k)
    tail = slope  # room that is free until the end
    np.multiply(u, coefficients[-1], out=tail)
    for coefficient in coefficients[-2::-1]:  # Horner's rule; the last product is the factor u
        tail += coefficient
        tail *= u
    np.multiply(a, a, out=density)
    density *= -0.5
    np.exp(density, out=density)  # exp(-a²/2)
    tail *= density  # Q(a)
    np.subtract(x > 0, tail, out=slope)
    np.abs(slope, out=slope)  # Φ(x): |1 - Q| on the right, |0 - Q| on the left
    np.multiply(x, slope, out=out)
    density *= x
    density *= 1 / math.sqrt(2 * math.pi)  # x · φ(x)
    slope += density


def _gelu_new_chunk(x, out, slope, work):
    c = math.sqrt(2 / math.pi)
    square, tanh, half = work
    np.multiply(x, x, out=square)
    np.minimum(square, 1e4, out=square)  # further out tanh is ±1; an infinity times 0 is no number
    np.multiply(square, 0.044715 * c, out=tanh)
    tanh += c
    tanh *= x
    np.tanh(tanh, out=tanh)  # tanh(c · (x + 0.044715 x³))
    np.multiply(x, 0.5, out=half)
    np.multiply(half, tanh, out=out)
    out += half
    # slope = (1 + tanh) / 2 + x/2 · (1 - tanh²) · c · (1 + 3 · 0.044715 x²)
    square *= 3 * 0.044715 * c
    square += c
    np.multiply(tanh, tanh, out=slope)
    np.subtract(1, slope, out=slope)
    slope *= half
    slope *= square
    tanh += 1
    tanh *= 0.5
    slope += tanh
