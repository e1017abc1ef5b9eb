"""A gate: one half of the units decides how much of the other half passes."""

import numpy as np

from minibert.functional.activation import ACTIVATIONS, PIECE_ELEMENTS
from minibert.typing import Array


def gate_forward(x: Array, kind: str, keep: bool = True) -> tuple[Array, Array | None]:
    """Multiply the activation of the first half of the units by the second half.

        out = f(a) · g,   x = [a; g]

    Shazeer (2020), eq. 5. As in `activate_forward`, the passes go over pieces of rows.

    Args:
        x (N, 2F): consumed; the cache takes its memory.
        kind: of f, `gelu` (GEGLU), `gelu_new` or `relu`.
        keep: False: no backward follows.

    Returns:
        out (N, F), and the cache that `gate_backward` needs: the slopes of out in a and in g,
        (N, 2F), which are f'(a) · g and f(a).
    """
    N, F = len(x), x.shape[1] // 2
    out = np.empty((N, F), x.dtype)
    step = max(PIECE_ELEMENTS // F, 1)
    work = np.empty((4, min(step, N), F), x.dtype)
    with np.errstate(over="ignore"):  # as in `activate_forward`
        for start in range(0, N, step):
            a, g = (x[start : start + step, half] for half in (slice(F), slice(F, None)))
            slope = work[3, : len(a)]
            ACTIVATIONS[kind](a, slope if keep else None, work[:3, : len(a)])  # a becomes f(a)
            np.multiply(a, g, out=out[start : start + step])
            if keep:
                slope *= g
                g[...] = a
                a[...] = slope
    return out, x if keep else None


def gate_backward(dout: Array, slopes: Array | None) -> Array:
    """Gradient of `gate_forward`: dx (N, 2F), [dout · f'(a) · g; dout · f(a)]."""
    assert slopes is not None, "gate_forward was called with keep=False"
    N, F = dout.shape
    dx = np.empty_like(slopes)
    pairs = dx.reshape(N, 2, F), slopes.reshape(N, 2, F)  # (N, 2F) -> (N, 2, F)
    np.multiply(dout[:, None], pairs[1], out=pairs[0])
    return dx
