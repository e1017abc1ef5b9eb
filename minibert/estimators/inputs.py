"""Checks of the texts, labels and weights that users of scikit-learn pass as X, y and so on."""

from collections.abc import Mapping, Set, Sized
from typing import Any

import numpy as np

from minibert.data.targets import require_labels, require_target
from minibert.io.rows import column_names, rows_of
from minibert.tasks.regression import MAX_LABEL


def label_array(X: Sized, y: Any) -> np.ndarray:
    """Return the labels of S texts as an array (S,) or (S, C)."""
    require_target(y)
    columns = column_names(y)
    if columns is not None and len(columns) > 1:
        y = np.column_stack([rows_of(y[column], "y") for column in columns])
    elif columns is not None or not hasattr(y, "__array__"):
        y = rows_of(y, "y")
    require_labels(y)
    y = np.asarray(y)
    _require_same_length(X, y)
    return y.reshape(-1) if y.shape == (len(y), 1) else y


def number_array(X: Sized, y: Any) -> np.ndarray:
    """Return the numbers of S texts as an array (S,); refuse NaN and infinity."""
    labels = label_array(X, y)
    try:
        y = np.asarray(labels, float)
    except (TypeError, ValueError):
        raise ValueError(f"y: expected numbers, got {labels.flat[0]!r:.80}") from None
    if y.ndim != 1 or not (abs(y) <= MAX_LABEL).all():
        raise ValueError("y: expected one number for each text, got NaN, infinity or more")
    return y


def weight_list(X: Sized, sample_weight: Any) -> list[float] | None:
    """Return the weights of S texts as a list; None if they are None or all equal.

    Equal weights change nothing, because the loss is divided by their sum.

    Raises:
        TypeError, ValueError: they are not S finite numbers of 0 or more, or all are 0.
    """
    if sample_weight is None:
        return None
    if column_names(sample_weight) is not None:  # a table with one column
        sample_weight = rows_of(sample_weight, "sample_weight")
    try:
        weights = np.asarray(sample_weight, float)
    except (TypeError, ValueError):
        raise ValueError(f"sample_weight: expected numbers, got {sample_weight!r:.80}") from None
    if weights.ndim == 0:  # one number for all
        weights = np.full(len(X), weights)
    if weights.shape != (len(X),):
        raise ValueError(
            f"sample_weight: expected {len(X)} numbers, one for each text, got the shape "
            f"{weights.shape}"
        )
    if not ((weights >= 0) & (weights < np.inf)).all():
        raise ValueError("sample_weight: expected finite numbers of 0 or more")
    if not weights.any():
        raise ValueError("sample_weight: expected a weight above 0, got zero everywhere")
    return None if (weights == weights[0]).all() else weights.tolist()


def _require_same_length(X: Sized, y: Sized) -> None:
    if len(X) != len(y):
        raise ValueError(
            f"y: expected {len(X)} labels, one for each text, got {len(y)}: "
            "inconsistent numbers of samples"
        )


def word_lists(X: Any, name: str) -> list[list[str]]:
    """Return the words of each text, or the tags of each text's words, as lists of str."""
    if isinstance(X, str):
        raise TypeError(f"{name}: expected lists of words, got one string; split it into words")
    return [_word_list(text, f"{name}[{i}]") for i, text in enumerate(rows_of(X, name))]


def tag_lists(words: list[list[str]], y: Any) -> list[list[str]]:
    """Return the tags of each text's words; refuse another number of texts or of tags."""
    require_target(y)
    tags = word_lists(y, "y")
    _require_same_length(words, tags)
    for i, (text, each) in enumerate(zip(words, tags, strict=True)):
        if len(text) != len(each):
            raise ValueError(f"y[{i}]: expected {len(text)} tags, one a word, got {len(each)}")
    return tags


def _word_list(text: Any, name: str) -> list[str]:
    """Return a text's words as a list of str; refuse a string, a table or an empty word."""
    if isinstance(text, np.ndarray) and text.shape == (1,) and not isinstance(text[0], str):
        text = text[0]  # the cell of an array (S, 1)
    if isinstance(text, str):
        raise TypeError(f"{name}: expected a list of words, got one string; split it into words")
    if isinstance(text, Mapping | Set) or not hasattr(text, "__iter__"):
        raise TypeError(f"{name}: expected a list of words, got {text!r:.80}")
    words = list(text)
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError(f"{name}: expected words that aren't empty, got {words!r:.80}")
    return [str(word) for word in words]
