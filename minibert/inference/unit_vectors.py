"""Vectors of length 1, and texts, for a vector store; others are refused by their number."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert.typing import Array

SHORTEST = 1e-12  # a vector that is shorter has no direction
BLOCK_ROWS = 8192  # that are computed in float64 at a time


class NoDirection(ValueError):
    """A vector without a direction.

    Attributes:
        row: its number.
        reason: what is wrong with it.
    """

    def __init__(self, name: str, row: int, first: int, reason: str):
        super().__init__(f"{name}[{first + row}]: {reason}")
        self.row, self.reason = row, reason


def unit_vectors(name: str, vectors: Any, width: int, first: int = 0) -> Array:
    """Return vectors scaled to length 1, x / |x|, as float32 (N, D).

    >>> unit_vectors("vectors", np.array([[3, 4]]), 2).tolist()
    [[0.6000000238418579, 0.800000011920929]]

    Args:
        name: of the vectors, for messages.
        vectors (N, D): of any length but 0.
        width: D.
        first: the number of the first vector, for messages.

    Raises:
        TypeError: they are not numbers.
        ValueError: they have another shape.
        NoDirection: one is 0 or not finite.
    """
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise ValueError(f"{name}: expected (N, {width}), got {vectors.shape}")
    if vectors.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected numbers, got {vectors.dtype}")
    units = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        part = vectors[start : start + BLOCK_ROWS].astype(np.float64)  # (n, D)
        lengths = np.linalg.norm(part, axis=1)  # (n,)
        bad = np.flatnonzero(~(np.isfinite(lengths) & (lengths >= SHORTEST)))
        if len(bad):
            length = lengths[bad[0]]
            reason = f"expected finite numbers, got a vector of length {length}"
            if length < SHORTEST:
                reason = "expected a vector with a direction, got zeros"
            raise NoDirection(name, start + int(bad[0]), first, reason)
        units[start : start + len(part)] = part / lengths[:, None]
    return units


def require_texts(texts: Sequence[Any]) -> None:
    """Raise TypeError or ValueError unless all are texts that UTF-8 can encode."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{i}]: expected a string, got {type(text).__name__}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"texts[{i}]: expected text, got a lone surrogate") from None
