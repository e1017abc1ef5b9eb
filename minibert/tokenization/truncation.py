"""Truncation to a length, and windows of long texts."""

from typing import Literal, get_args

import numpy as np

Truncation = Literal["longest_first", "only_first", "only_second"]


def truncated_lengths(
    first: int, second: int | None, room: int, truncation: Truncation
) -> tuple[int, int]:
    """Return the lengths (int, int) of both texts after truncation to `room` tokens.

    `longest_first` truncates the longer text until both are equal, then both in turn. An odd
    remaining token is given to the longer text, and to the second text if they are equal.

    >>> truncated_lengths(5, 2, 5, "longest_first"), truncated_lengths(3, 3, 5, "longest_first")
    ((3, 2), (2, 3))

    Args:
        first (int): number of tokens of the first text.
        second (int or None): number of tokens of the second text; None without one.
        room (int): maximum total number of tokens.
        truncation: the text to truncate.

    Raises:
        ValueError: unknown truncation, or truncating the one text alone is not enough.
    """
    lengths = _truncated_lengths(first, second or 0, room, truncation)
    if min(lengths) < 0 or (truncation == "only_second" and second is None):
        other = "there is none" if second is None else "the first one alone is too long"
        if truncation == "only_first":
            other = "the second one alone is too long"
        which = truncation.removeprefix("only_")
        raise ValueError(f"truncation: asked to cut the {which} text only, but {other}")
    return lengths


def _truncated_lengths(
    first: int, second: int, room: int, truncation: Truncation
) -> tuple[int, int]:
    if truncation not in get_args(Truncation):
        names = ", ".join(get_args(Truncation))
        raise ValueError(f"truncation: expected one of {names}, got {truncation!r}")
    if first + second <= room:
        return first, second
    if truncation == "only_first":
        return room - second, second
    if truncation == "only_second":
        return first, room - first
    shorter = min(first, second, room // 2)
    return (shorter, room - shorter) if first <= second else (room - shorter, shorter)


def split_windows(tokens: np.ndarray, width: int, stride: int) -> list[np.ndarray]:
    """Split tokens (T, 4) into windows of `width` tokens that overlap by `stride` tokens.

    >>> [part.tolist() for part in split_windows(np.arange(7), width=4, stride=2)]
    [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6]]

    Raises:
        ValueError: the windows are empty, or `stride` is not below `width`.
    """
    if len(tokens) <= width:
        return [tokens]
    if width < 1:
        raise ValueError("max_length: leaves a window no room for a token of each text")
    if not 0 <= stride < width:
        raise ValueError(
            f"stride: expected at least 0 and less than {width}, the tokens of text in a window, "
            f"got {stride}"
        )
    last = len(tokens) - width  # start of the window that ends with the text
    starts = range(0, last + width - stride, width - stride)
    return [tokens[start : start + width] for start in starts]
