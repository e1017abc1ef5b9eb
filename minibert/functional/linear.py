"""The linear map: three quarters of a transformer's arithmetic."""

import numpy as np


def linear_forward(x, weight, bias):
    """Map each row of x.

        out = x Wᵀ + b

    Args:
        x: (N, I).  weight: (O, I), each row makes one output.  bias: (O,).

    Returns:
        out (N, O), and the cache that `linear_backward` needs: x itself.
    """
    out = x @ weight.T  # (N, I) @ (I, O) -> (N, O)
    out += bias
    return out, x


def linear_backward(dout, x, weight, dweight, dbias):
    """Gradient of `linear_forward`; adds into `dweight` and `dbias`, returns dx (N, I)."""
    # out = ... + b; as a matmul this sum takes half the time. (N,) @ (N, O) -> (O,)
    dbias += np.ones(len(dout), dout.dtype) @ dout
    dweight += dout.T @ x  # (O, N) @ (N, I) -> (O, I)
    return dout @ weight  # (N, O) @ (O, I) -> (N, I)
