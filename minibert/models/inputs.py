"""The checks of what a caller gives a model: one line that names the argument, or arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minibert.functional import IGNORED
from minibert.typing import Array


class Batch(NamedTuple):
    """The integers that a model reads, (..., T) each, checked against its sizes."""

    input_ids: Array
    token_type_ids: Array
    attention_mask: Array

    def sequences(self) -> "Batch":
        """Return the same with one axis before T, if there are more: (..., T) -> (B, T)."""
        return Batch(*(array.reshape(-1, array.shape[-1]) for array in self))


def check_batch(
    axes: tuple[str, ...], longest: int, limits: tuple[int, int],
    input_ids: ArrayLike, token_type_ids: ArrayLike | None, attention_mask: ArrayLike | None,
) -> Batch:  # fmt: skip
    """Return the batch as arrays; missing segments are all 0, a missing mask is all 1.

    Args:
        axes: the names of the axes of ids.
        longest: the number of tokens that a sequence may have.
        limits: V, and the number of segments.
        input_ids, token_type_ids, attention_mask: as in a call of a model.

    Raises:
        TypeError, ValueError: an array of the wrong dtype, shape or range; the message names it.
    """
    ids = integers("input_ids", input_ids)
    if ids.ndim != len(axes) or 0 in ids.shape:
        raise ValueError(f"input_ids: expected the shape ({', '.join(axes)}), got {ids.shape}")
    if ids.shape[-1] > longest:
        raise ValueError(
            f"input_ids: expected at most {longest} tokens a sequence "
            f"(max_position_embeddings), got {ids.shape[-1]}"
        )
    types = np.zeros_like(ids) if token_type_ids is None else token_type_ids
    mask = np.ones_like(ids) if attention_mask is None else attention_mask
    batch = Batch(ids, integers("token_type_ids", types), integers("attention_mask", mask))
    for name, array, limit in zip(Batch._fields, batch, (*limits, 2), strict=True):
        hint = "; resize_token_embeddings makes room for added tokens" if array is ids else ""
        require_range(name, has_shape(name, array, ids.shape), limit, hint)
    return batch


def match_classes(name: str, labels: ArrayLike, shape: tuple[int, ...], classes: int) -> Array:
    """Return labels as integers, each a class from 0 to `classes` - 1, or -100 if it is ignored.

    Raises:
        TypeError, ValueError: of another dtype, shape or range; the message begins with `name`.
    """
    array = has_shape(name, integers(name, labels), shape)
    require_range(name, array[array != IGNORED], classes)
    return array


def has_shape(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """Return the array if it has this shape; otherwise raise ValueError."""
    if array.shape != shape:
        raise ValueError(f"{name}: expected the shape {shape}, got {array.shape}")
    return array


def integers(name: str, values: ArrayLike) -> Array:
    """Return an array of integers; otherwise raise TypeError."""
    array = as_array(name, values)
    if array.size == 0 and array.dtype == float:  # NumPy's dtype of an empty list
        array = array.astype(np.int64)
    if array.dtype == bool:
        array = array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name}: expected integers, got {array.dtype}")
    return array


def require_range(name: str, array: Array, limit: int, hint: str = "") -> None:
    """Raise ValueError unless all integers are from 0 to `limit` - 1."""
    if array.size and (array.min() < 0 or array.max() >= limit):
        wrong = array[(array < 0) | (array >= limit)][0]
        raise ValueError(f"{name}: expected integers from 0 to {limit - 1}, got {wrong}{hint}")


def as_array(name: str, values: ArrayLike) -> Array:
    """Return an array; otherwise raise ValueError."""
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(f"{name}: expected rows of one length; pad the shorter ones") from None
