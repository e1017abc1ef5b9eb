"""From the tokens of texts to what a model reads: cut to length, framed by [CLS] and [SEP], padded.

A text's tokens come as rows of four numbers, (T, 4): id, start, end, and number of the word.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

import numpy as np

INPUTS = ("input_ids", "token_type_ids", "attention_mask")
Truncation = Literal["longest_first", "only_first", "only_second"]
Padding = Literal["longest", "max_length"]


@dataclass(slots=True)
class Encoding:
    """A text, or a pair of texts, as a model reads it: T tokens.

    Attributes:
        input_ids: the tokens' ids.
        token_type_ids: segments: 1 for the second text and its [SEP], else 0.
        attention_mask: 1 everywhere; padding, which comes later, gets 0.
        tokens: the tokens' texts.
        special_tokens_mask: 1 for [CLS] and [SEP], else 0.
        offsets: `text[start:end]` is what the token is made of; (0, 0) for [CLS] and [SEP].
        word_ids: the number of the token's word in its text; None for [CLS] and [SEP].
    """

    input_ids: list[int]
    token_type_ids: list[int]
    attention_mask: list[int]
    tokens: list[str]
    special_tokens_mask: list[int]
    offsets: list[tuple[int, int]]
    word_ids: list[int | None]


@dataclass(frozen=True)
class Frame:
    """Puts the special tokens around texts: `[CLS] text [SEP]`, `[CLS] text [SEP] pair [SEP]`.

    Devlin et al. (2019), section 3 and figure 2.

    Args:
        cls_id, sep_id: the special tokens.
        pieces: each id's text.
    """

    cls_id: int
    sep_id: int
    pieces: Sequence[str]

    def encoding(self, *texts: np.ndarray) -> Encoding:
        """Frame the tokens of a text (T, 4), or of two.

        >>> frame = Frame(cls_id=0, sep_id=1, pieces=["[CLS]", "[SEP]", "hi", "##gh"])
        >>> encoding = frame.encoding(np.array([[2, 0, 2, 0], [3, 2, 4, 0]]))
        >>> encoding.input_ids, encoding.tokens
        ([0, 2, 3, 1], ['[CLS]', 'hi', '##gh', '[SEP]'])
        >>> encoding.offsets, encoding.word_ids
        ([(0, 0), (0, 2), (2, 4), (0, 0)], [None, 0, 0, None])
        """
        ids, types, special = [self.cls_id], [0], [1]
        offsets: list[tuple[int, int]] = [(0, 0)]
        words: list[int | None] = [None]
        for segment, rows in enumerate(texts):
            text_ids, starts, ends, text_words = rows.T.tolist()
            ids += [*text_ids, self.sep_id]
            types += [segment] * (len(text_ids) + 1)
            special += [*[0] * len(text_ids), 1]
            offsets += [*zip(starts, ends, strict=True), (0, 0)]
            words += [*text_words, None]
        tokens = [self.pieces[i] for i in ids]
        return Encoding(ids, types, [1] * len(ids), tokens, special, offsets, words)


def room(max_length: int | None, texts: int) -> int:
    """Return how many tokens of one or two texts fit beside the special tokens.

    Raises:
        ValueError: there is no length, or not even the special tokens fit.
    """
    if max_length is None:
        raise ValueError("max_length: expected the length of a window, got None")
    special = texts + 1
    if max_length < special:
        raise ValueError(
            f"max_length: expected at least {special}, the special tokens, got {max_length}"
        )
    return max_length - special


def keep(first: int, second: int | None, room: int, truncation: Truncation) -> tuple[int, int]:
    """Return how many tokens each text keeps, so that they fit in `room`.

    `longest_first` cuts the end of the longer one until both fit, and once they are equal, both in
    turn; an odd place falls to the longer one, and to the second if they are equal.

    >>> keep(5, 2, 5, "longest_first"), keep(3, 3, 5, "longest_first")
    ((3, 2), (2, 3))

    Raises:
        ValueError: an unknown truncation, or one text alone can't be cut short enough.
    """
    kept = _keep(first, second or 0, room, truncation)
    if min(kept) < 0 or (truncation == "only_second" and second is None):
        other = "there is none" if second is None else "the first one alone is too long"
        if truncation == "only_first":
            other = "the second one alone is too long"
        which = truncation.removeprefix("only_")
        raise ValueError(f"truncation: asked to cut the {which} text only, but {other}")
    return kept


def _keep(first, second, room, truncation):
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


def windows(rows: np.ndarray, width: int, stride: int) -> list[np.ndarray]:
    """Cut tokens (T, 4) into windows of a width, each beginning `stride` before the last one's end.

    >>> [part.tolist() for part in windows(np.arange(7), width=4, stride=2)]
    [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6]]

    Raises:
        ValueError: the windows are empty, or the stride leaves them no way forward.
    """
    if len(rows) <= width:
        return [rows]
    if width < 1:
        raise ValueError("max_length: leaves a window no room for a token of each text")
    if not 0 <= stride < width:
        raise ValueError(
            f"stride: expected at least 0 and less than {width}, the tokens of text in a window, "
            f"got {stride}"
        )
    last = len(rows) - width  # where the window begins that ends with the text
    starts = range(0, last + width - stride, width - stride)
    return [rows[start : start + width] for start in starts]


def padded_length(padding: Padding, max_length: int | None) -> int:
    """Return the length to pad to; 0: that of the longest.

    Raises:
        ValueError: an unknown padding, or no length is given to pad to.
    """
    if padding not in get_args(Padding):
        names = " or ".join(map(repr, get_args(Padding)))
        raise ValueError(f"padding: expected {names}, got {padding!r}")
    if padding == "longest":
        return 0
    if max_length is None:
        raise ValueError("padding: expected a max_length to pad to, got None")
    return max_length


def pad(
    encodings: Sequence[Encoding],
    pad_id: int,
    length: int = 0,
    multiple: int | None = None,
    names: Sequence[str] = INPUTS,
) -> dict[str, np.ndarray]:
    """Stack encodings, padded to one length: a model's batch, and more.

    Args:
        encodings: B of them.
        pad_id: fills up the ids; `special_tokens_mask` gets 1 there, the others 0.
        length: T, unless one of them is longer.
        multiple: T is rounded up to a multiple of it.
        names: which fields to stack: a model's inputs, `special_tokens_mask`, `offsets`.

    Returns:
        the fields in int64: (B, T), and of the offsets (B, T, 2).

    Raises:
        ValueError: a multiple of nothing.
    """
    if multiple is not None and multiple < 1:
        raise ValueError(f"pad_to_multiple_of: expected at least 1, got {multiple}")
    lengths = np.array([len(encoding.input_ids) for encoding in encodings])  # (B,)
    length = max(length, int(lengths.max()))
    length += -length % (multiple or 1)
    inside = np.arange(length) < lengths[:, None]  # (B, T), False for padding
    fills = {"input_ids": pad_id, "special_tokens_mask": 1}
    batch = {}
    for name in names:
        # All of them at once: a call of NumPy costs more than the ids of a sentence.
        values = list(chain.from_iterable(getattr(encoding, name) for encoding in encodings))
        flat = np.array(values, np.int64)  # (N,), or (N, 2)
        batch[name] = np.full((*inside.shape, *flat.shape[1:]), fills.get(name, 0), np.int64)
        batch[name][inside] = flat
    return batch


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
