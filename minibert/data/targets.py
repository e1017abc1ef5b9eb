"""Checks of the labels that users of scikit-learn pass as y, before NumPy converts them."""

from typing import Any

import numpy as np

SEQUENCES = (list, tuple, set, frozenset, np.ndarray)
SEVERAL = (
    "y: expected one label for each text, or 0 and 1 (S, C) where a text may have several, got "
    "lists of labels; scikit-learn's MultiLabelBinarizer().fit_transform(y) returns 0 and 1"
)


def require_target(y: Any) -> None:
    """Raise an error for a y that is missing, sparse or masked.

    Raises:
        TypeError: y is a sparse matrix.
        ValueError: y is None, or a masked array without some labels.
    """
    if y is None:
        raise ValueError("y: requires y to be passed, but the target y is None")
    if hasattr(y, "toarray"):
        raise TypeError("y: expected a list or an array, got a sparse matrix; pass y.toarray()")
    if np.ma.is_masked(y):
        place = int(np.argwhere(np.ma.getmaskarray(y))[0, 0])
        raise ValueError(f"y[{place}]: expected a label, got a masked one")


def require_labels(y: Any) -> None:
    """Raise an error for labels that NumPy would refuse without a name, or convert to strings.

    Raises:
        TypeError, ValueError: as `require_target`, or y has no items, a label is missing, there are
            lists of labels, or strings and numbers.
    """
    require_target(y)
    if not isinstance(y, list | tuple):
        y = np.asarray(y)
        if y.ndim == 0:
            raise TypeError(f"y: expected a list or an array, got {y.item()!r:.80}")
        if y.dtype != object:
            return
    rows = [row if isinstance(row, SEQUENCES) else [row] for row in y]
    labels = [label for row in rows for label in row]
    has_strings = any(isinstance(label, str) for label in labels)
    for i, row in enumerate(rows):
        for label in row:
            # NaN among numbers is refused later, together with infinity.
            if _is_missing(label) and (has_strings or not isinstance(label, float)):
                raise ValueError(f"y[{i}]: expected a label, got {label!r}")
    widths = {len(row) if isinstance(row, SEQUENCES) else None for row in y}
    are_numbers = not has_strings and len(widths) == 1
    if not (widths <= {None} or widths == {1} or are_numbers) or any(map(_is_set, y)):
        raise ValueError(SEVERAL)
    numbers = [label for label in labels if not isinstance(label, str)]
    if has_strings and numbers:
        raise ValueError(f"y: expected labels of one type, got str and {type(numbers[0]).__name__}")


def _is_set(value: Any) -> bool:
    return isinstance(value, set | frozenset)


def _is_missing(label: Any) -> bool:
    """Return whether a label is None, NaN, NaT or pandas' NA."""
    if label is None:
        return True
    try:
        return bool(label != label)
    except (TypeError, ValueError):  # NA != NA is NA, which is neither true nor false
        return True
