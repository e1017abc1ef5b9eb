"""Sinusoidal positions: a table that is not trained."""

from typing import Any

from minibert.functional import sinusoidal_positions
from minibert.layers.embeddings import POSITIONS
from minibert.parameters import Views
from minibert.specs import Spec
from minibert.typing import Array


class SinusoidalPositions:
    """A fixed vector for each position; see `functional.sinusoidal_positions`.

    Args:
        length: the number of positions.
        width: D, even.
    """

    def __init__(self, length: int, width: int):
        self.table = sinusoidal_positions(length, width)

    def specs(self) -> dict[str, Spec]:
        """Return nothing: the table is not trained."""
        return {}

    def constants(self) -> dict[str, Array]:
        """Return the table."""
        return {POSITIONS: self.table}

    def forward(self, params: Views, length: int, dtype: Any) -> Array:
        """Return the first rows of the table, (T, D)."""
        return self.table[:length].astype(dtype)

    def backward(self, dx: Array, grads: Views) -> None:
        """Do nothing."""
