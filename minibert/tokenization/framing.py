"""From the ids of texts to what a model reads: special tokens around them, cut, and padded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Encoding:
    """A text as a model reads it: ids, segments (0 or 1), and a mask that is 1 everywhere."""

    input_ids: list[int]
    token_type_ids: list[int]
    attention_mask: list[int]


def frame(
    first: list[int], second: list[int] | None, cls_id: int, sep_id: int, max_length: int | None
) -> Encoding:
    """Make `[CLS] first [SEP]`, or `[CLS] first [SEP] second [SEP]` with segments 0 and 1.

    Devlin et al. (2019), section 3 and figure 2.

    >>> frame([5, 6], [7], cls_id=2, sep_id=3, max_length=None)
    Encoding(input_ids=[2, 5, 6, 3, 7, 3], token_type_ids=[0, 0, 0, 0, 1, 1], \
attention_mask=[1, 1, 1, 1, 1, 1])

    Args:
        first, second: ids without special tokens.
        cls_id, sep_id: the special tokens.
        max_length: the most tokens, special ones included; None: as many as there are.

    Raises:
        ValueError: `max_length` leaves no room for the special tokens.
    """
    if max_length is not None:
        special = 2 if second is None else 3
        if max_length < special:
            raise ValueError(
                f"max_length: expected at least {special}, the special tokens, got {max_length}"
            )
        first, second = cut(first, second, max_length - special)
    ids = [cls_id, *first, sep_id]
    types = [0] * len(ids)
    if second is not None:
        ids += [*second, sep_id]
        types += [1] * (len(second) + 1)
    return Encoding(ids, types, [1] * len(ids))


def cut(
    first: list[int], second: list[int] | None, room: int
) -> tuple[list[int], list[int] | None]:
    """Cut the end of the longer one until both fit in `room`; once they are equal, both in turn.

    An odd place falls to the longer one, and to the second if they are equal: Hugging Face's
    `longest_first`.

    >>> cut([1, 2, 3, 4, 5], [6, 7], 5)
    ([1, 2, 3], [6, 7])
    >>> cut([1, 2, 3], [4, 5, 6], 5)
    ([1, 2], [4, 5, 6])
    """
    if second is None:
        return first[:room], None
    if len(first) + len(second) <= room:
        return first, second
    shorter = min(len(first), len(second), room // 2)
    if len(first) <= len(second):
        return first[:shorter], second[: room - shorter]
    return first[: room - shorter], second[:shorter]


def pad(encodings: Sequence[Encoding], pad_id: int) -> dict[str, np.ndarray]:
    """Stack encodings, padded to the longest: a model's batch.

    Args:
        encodings: B of them.
        pad_id: fills up the ids; the segments and the mask get zeros.

    Returns:
        `input_ids`, `token_type_ids` and `attention_mask`, (B, T) each, in int64.
    """
    shape = len(encodings), max(len(encoding.input_ids) for encoding in encodings)
    input_ids = np.full(shape, pad_id, np.int64)
    token_type_ids, attention_mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, encoding in enumerate(encodings):
        length = len(encoding.input_ids)
        input_ids[row, :length] = encoding.input_ids
        token_type_ids[row, :length] = encoding.token_type_ids
        attention_mask[row, :length] = encoding.attention_mask
    return {
        "input_ids": input_ids,
        "token_type_ids": token_type_ids,
        "attention_mask": attention_mask,
    }


def with_pairs(
    texts: Sequence[str], pairs: Sequence[str] | None
) -> Iterator[tuple[str, str | None]]:
    """Yield each text with its pair, or None.

    Raises:
        TypeError: a text is not a string, or there is one string where several were expected.
        ValueError: there are no texts, or not as many pairs as texts.
    """
    for name, several in ("texts", texts), ("pairs", pairs if pairs is not None else ()):
        if isinstance(several, str):
            raise TypeError(f"{name}: expected several, got one string; put it in a list")
        for i, text in enumerate(several):
            if not isinstance(text, str):
                raise TypeError(f"{name}[{i}]: expected a string, got {type(text).__name__}")
    if not len(texts):
        raise ValueError("texts: expected at least one")
    if pairs is not None and len(pairs) != len(texts):
        raise ValueError(f"pairs: expected {len(texts)}, one for each text, got {len(pairs)}")
    yield from zip(texts, [None] * len(texts) if pairs is None else pairs, strict=True)
