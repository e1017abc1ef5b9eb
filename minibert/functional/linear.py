"""The linear map: three quarters of a transformer's arithmetic."""

import numpy as np

from minibert.typing import Array


def linear_forward(x: Array, weight: Array, bias: Array | None) -> tuple[Array, Array]:
    """Map each row of x.

        out = x Wᵀ + b

    Args:
        x (N, I): the rows.
        weight (O, I): W; each of its rows makes one output.
        bias (O,): b; None: the operation that follows adds it, see `activate_forward`.

    Returns:
        out (N, O), and the cache that `linear_backward` needs: x itself.
    """
    out = x @ weight.T  # (N, I) @ (I, O) -> (N, O)
    if bias is not None:
        out += bias
    return out, x


def linear_backward(
    dout: Array, x: Array, weight: Array, dweight: Array | None, dbias: Array | None
) -> Array:
    """Gradient of `linear_forward`: dx (N, I); adds into `dweight` and `dbias`.

    Args:
        dout (N, O): the gradient of out.
        x, weight: as in the forward.
        dweight (O, I): the gradient of W so far, perhaps `Unwritten`; None: W is frozen.
        dbias (O,): the gradient of b so far; None: there is no b.
    """
    if dbias is not None:  # b is in every row: dout.sum(axis=0), as a matmul in half the time
        dbias += np.ones(len(dout), dout.dtype) @ dout  # (N,) @ (N, O) -> (O,)
    if dweight is not None:
        add_product(dweight, dout.T, x)  # dweight += dout.T @ x; (O, N) @ (N, I) -> (O, I)
    dx: Array = dout @ weight  # (N, O) @ (O, I) -> (N, I)
    return dx


class Unwritten(np.ndarray):
    """A gradient that counts as zeros, whatever is in its memory, until `add_product` writes it."""


def add_product(total: Array, left: Array, right: Array) -> None:
    """Add a product: total (O, I) += left (O, N) @ right (N, I).

    An `Unwritten` total is written by the product itself, which saves memory for the product,
    zeros, and the addition; see `docs/performance.md`.
    """
    if isinstance(total, Unwritten):
        np.matmul(left, right, out=total)
    else:
        total += left @ right
