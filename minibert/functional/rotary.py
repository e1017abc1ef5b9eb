"""Rotary positions: a token's query and key turn by angles that grow with its position."""

import numpy as np
from numpy.typing import DTypeLike

from minibert.typing import Array


def rotary_table(length: int, width: int, theta: float, dtype: DTypeLike) -> Array:
    """Return the rotations of the first positions as complex numbers, (length, H/2).

        table[t, j] = exp(i t · theta^(-2j/H))

    Su et al. (2021), section 3.2. The angles are float64 and rounded once.

    Args:
        length: the number of positions.
        width: H, even.
        theta: the base of the frequencies, 10000 in the paper.
        dtype: of the heads: complex64 belongs to float32, complex128 to float64.
    """
    angles = np.arange(length)[:, None] * theta ** (-np.arange(0, width, 2) / width)
    turns: Array = np.exp(1j * angles)  # (length, H/2)
    return turns.astype(np.result_type(dtype, np.complex64))


def rotate_forward(x: Array, turns: Array) -> Array:
    """Rotate each pair (x_j, x_{j + H/2}) of a head's units, and put the two side by side.

        out_{2j} + i out_{2j+1} = (x_j + i x_{j+H/2}) · turns_j

    So q · k depends on the distance of two tokens alone, because (q e^{itθ}) (k e^{isθ})* is
    q k* e^{i(t-s)θ}. The pairs are those of GPT-NeoX. Their new order is the same in queries and
    keys, so no score changes; it makes the rotation one complex product instead of four products,
    two sums and a copy, on pieces of H/2 units, which take 2.5 to 6 times as long.

    Args:
        x (B, K, R, H): queries or keys.
        turns: complex, broadcasts against (B, K, R, H/2).
    """
    B, K, R, half = *x.shape[:3], x.shape[3] // 2
    # In memory, the heads of a token are side by side, as in x: attention reads them in this order.
    pairs = np.empty((B, R, K, half), turns.dtype).swapaxes(1, 2)  # -> (B, K, R, H/2)
    pairs.real, pairs.imag = x[..., :half], x[..., half:]
    pairs *= turns
    return pairs.view(x.dtype)  # (B, K, R, H/2) complex -> (B, K, R, H)


def rotate_backward(dout: Array, turns: Array) -> Array:
    """Gradient of `rotate_forward`: the rotation back, and the units in their old order."""
    pairs = dout.view(turns.dtype) * turns.conj()  # (B, K, R, H) -> (B, K, R, H/2) complex
    return np.concatenate([pairs.real, pairs.imag], axis=-1)
