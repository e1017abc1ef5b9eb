"""Rotary positions beside attention."""

from typing import Any

import numpy as np

from minibert.functional import rotary_table, rotate_backward, rotate_forward
from minibert.layers.positions import Positions
from minibert.parameters import Views
from minibert.typing import Array


class RotaryPositions(Positions):
    """Rotate queries and keys by their positions; see `functional.rotate_forward`.

    Scores then depend on the distance of two tokens. Su et al. (2021), section 3.2.

    Args:
        head_width: H, even.
        theta: the base of the frequencies.

    Raises:
        ValueError: H is odd.
    """

    def __init__(self, head_width: int, theta: float = 10000.0):
        if head_width % 2:
            raise ValueError(
                f"head_width: expected an even number, because rotary positions pair the units of "
                f"a head, got {head_width}"
            )
        self.head_width, self.theta = head_width, theta

    def prepare(self, params: Views, keys: Array, dtype: np.dtype[Any]) -> Array:
        """Return the rotations of the positions up to the largest one, (T, H/2)."""
        return rotary_table(int(keys.max()) + 1, self.head_width, self.theta, dtype)

    def turn(self, heads: Array, at: Array, tables: Any) -> Array:
        """Rotate heads (B, K, R, H) at positions (T,) or (B, R)."""
        return rotate_forward(heads, _turns(at, tables))

    def turn_backward(self, dheads: Array, at: Array, tables: Any) -> Array:
        """Gradient of `turn` with respect to the heads."""
        return rotate_backward(dheads, _turns(at, tables))


def _turns(at: Array, table: Array) -> Array:
    """Return the rotations at some positions, (T, H/2) or (B, 1, R, H/2)."""
    turns = table[at]
    return turns if at.ndim == 1 else turns[:, None]  # (B, R, H/2) -> (B, 1, R, H/2)
