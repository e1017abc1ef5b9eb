"""Layer norm: each token's vector gets mean 0 and variance 1, then a learned scale and shift."""

from typing import NamedTuple

import numpy as np

from minibert.functional.dropout import DropoutMask, draw_mask
from minibert.typing import Array, Rng

# Elements of a piece of rows in `add_norm_forward`, which each pass finds in the core's cache.
PIECE_ELEMENTS = 98_304


class NormCache(NamedTuple):
    """What `layer_norm_backward` needs."""

    normed: Array  # (N, D), x̂: the rows with mean 0 and variance 1
    inv_std: Array  # (N, 1), 1 / sqrt(var(x) + eps)


def layer_norm_forward(
    x: Array, weight: Array, bias: Array | None, eps: float,
    normed: Array | None = None, out: Array | None = None,
) -> tuple[Array, NormCache]:  # fmt: skip
    """Normalize each row of x, then scale and shift it.

        x̂ = (x - mean(x)) / sqrt(var(x) + eps),   out = x̂ · weight + bias

    Ba, Kiros and Hinton (2016), eq. 4; the variance is the biased one and eps is inside the root.

    Args:
        x (N, D): the rows.
        weight, bias (D,): the scale and the shift; bias None: there is no shift.
        eps: added to the variance.
        normed (N, D): memory for x̂, which may be that of x; None: new memory.
        out (N, D): memory for out, which may be that of x̂ if no backward follows; None: new memory.

    Returns:
        out (N, D), and the cache that `layer_norm_backward` needs.
    """
    normed = np.subtract(x, _row_means(x), out=normed)
    normed -= _row_means(normed)  # of the rounding error: else a constant row becomes ±1, not 0
    # The sums of squares without an array of the squares, which takes 2.5 times as long.
    variance = np.einsum("nd,nd->n", normed, normed)[:, None] / x.shape[-1]  # (N, 1)
    inv_std = 1 / np.sqrt(variance + eps)  # (N, 1)
    normed *= inv_std
    out = np.multiply(normed, weight, out=out)
    if bias is not None:
        out += bias
    return out, NormCache(normed, inv_std)


def layer_norm_backward(
    dout: Array, cache: NormCache, weight: Array, dweight: Array, dbias: Array | None
) -> Array:
    """Gradient of `layer_norm_forward`: dx (N, D); adds into `dweight` and `dbias`.

    With g = dout · weight, the gradient of x̂:

        dx = (g - mean(g) - x̂ · mean(g · x̂)) / sqrt(var(x) + eps)

    A row moves its x̂ directly, through its mean and through its variance; the last two remove
    from g its mean and its component along x̂.
    """
    normed, inv_std = cache
    if dbias is not None:
        dbias += np.ones(len(dout), dout.dtype) @ dout  # out = ... + bias; (N,) @ (N, D) -> (D,)
    dweight += np.einsum("nd,nd->d", dout, normed)  # out = x̂ · weight
    dx = dout * weight  # g
    along = np.einsum("nd,nd->n", dx, normed)[:, None] / dx.shape[-1]  # (N, 1), mean(g · x̂)
    dx -= _row_means(dx)
    dx -= normed * along
    dx *= inv_std
    return dx


class AddNormCache(NamedTuple):
    """What `add_norm_backward` needs: the norm's cache and the dropout mask."""

    norm: NormCache
    mask: DropoutMask | None


def add_norm_forward(
    y: Array, residual: Array, weight: Array, bias: Array | None, eps: float,
    rate: float = 0.0, rng: Rng | None = None, keep: bool = True,
) -> tuple[Array, AddNormCache]:  # fmt: skip
    """Apply dropout to y, add the residual, and normalize each row.

        out = layer_norm(residual + dropout(y))

    Args:
        y (N, D): a sublayer's output; consumed.
        residual (N, D): the sublayer's input.
        weight, bias, eps: as in `layer_norm_forward`.
        rate: of the dropout.
        rng: draws the dropout mask; None: no dropout.
        keep: False: no backward follows, so out may take y's memory.

    Returns:
        out (N, D), and the cache that `add_norm_backward` needs.
    """
    mask = draw_mask(y.shape, rate, rng)
    out = np.empty_like(y) if keep else y
    inv_std = np.empty((len(y), 1), y.dtype)
    step = max(PIECE_ELEMENTS // y.shape[1], 1)
    for start in range(0, len(y), step):
        rows = slice(start, start + step)
        piece = y[rows]
        if mask is not None:
            piece *= mask.kept[rows]
            piece *= y.dtype.type(mask.scale)
        piece += residual[rows]
        _, cache = layer_norm_forward(piece, weight, bias, eps, normed=piece, out=out[rows])
        inv_std[rows] = cache.inv_std
    return out, AddNormCache(NormCache(y, inv_std), mask)


def add_norm_backward(
    dout: Array, cache: AddNormCache, weight: Array, dweight: Array, dbias: Array | None
) -> tuple[Array, Array]:
    """Gradient of `add_norm_forward`: dy and dresidual, (N, D) each; adds into the parameters'.

    The sum passes its gradient to both summands: dresidual is the norm's dx, dy the same through
    the dropout.
    """
    dresidual = layer_norm_backward(dout, cache.norm, weight, dweight, dbias)
    if cache.mask is None:
        return dresidual, dresidual
    dy: Array = dresidual * cache.mask.kept
    dy *= dy.dtype.type(cache.mask.scale)
    return dy, dresidual


def _row_means(x: Array) -> Array:
    """Return the mean of each row, (N, 1), by a matmul: x.mean(axis=1) takes 6 times as long."""
    means: Array = x @ np.full(x.shape[-1], 1 / x.shape[-1], x.dtype)  # (N, D) @ (D,) -> (N,)
    return means[:, None]
