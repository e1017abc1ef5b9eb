"""From tokens to a model's input: [CLS] and [SEP], token types, padding.

The tokens of a text are an array (T, 4): id, start, end and word index.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal, get_args

import numpy as np

from minibert.io.rows import texts_of

SPECIAL = -1  # word index of [CLS] and [SEP] in arrays
INPUTS = ("input_ids", "token_type_ids", "attention_mask")
Padding = Literal["longest", "max_length"]


@dataclass(slots=True)
class Encoding:
    """A model's input of T tokens for a text or a pair of texts.

    Attributes:
        input_ids (T): token ids.
        token_type_ids (T): segment: 1 for the second text and its [SEP], else 0.
        attention_mask (T): 1 everywhere; padding, which is added later, is 0.
        tokens (T): token texts.
        special_tokens_mask (T): 1 for [CLS] and [SEP], else 0.
        offsets (T): (start, end) of the token's characters `text[start:end]`; (0, 0) for [CLS] and
            [SEP].
        word_ids (T): index of the token's word in its text; None for [CLS] and [SEP].
    """

    input_ids: list[int]
    token_type_ids: list[int]
    attention_mask: list[int]
    tokens: list[str]
    special_tokens_mask: list[int]
    offsets: list[tuple[int, int]]
    word_ids: list[int | None]


@dataclass(frozen=True, slots=True, eq=False)
class TokenArrays:
    """The tokens of B texts, N in total, one text after the other, without [CLS] and [SEP].

    >>> tokens = TokenArrays(np.array([[7, 0, 2, 0], [8, 2, 5, 0], [9, 0, 1, 0]]), np.array([2, 1]))
    >>> tokens.ids.tolist(), tokens.offsets.tolist()
    ([7, 8, 9], [[0, 2], [2, 5], [0, 1]])
    >>> tokens.offset_lists()
    [[(0, 2), (2, 5)], [(0, 1)]]

    Args:
        fields (N, 4), int32: id, start, end and word index of each token.
        lengths (B,), int: number of tokens of each text.
    """

    fields: np.ndarray
    lengths: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        """The token ids (N,), int32."""
        return self.fields[:, 0]

    @property
    def offsets(self) -> np.ndarray:
        """Start and end of each token's characters `text[start:end]`: (N, 2), int32."""
        return self.fields[:, 1:3]

    @property
    def word_ids(self) -> np.ndarray:
        """The index of each token's word in its text: (N,), int32."""
        return self.fields[:, 3]

    def texts(self) -> list[np.ndarray]:
        """Return the fields (T, 4) of each text; nothing is copied."""
        ends = [0, *self.lengths.cumsum().tolist()]
        return [self.fields[start:end] for start, end in pairwise(ends)]

    def offset_lists(self) -> list[list[tuple[int, int]]]:
        """Return the offsets of each text as a list of tuples, as in `Encoding`."""
        pairs = list(zip(*self.offsets.T.tolist(), strict=True))
        ends = [0, *self.lengths.cumsum().tolist()]
        return [pairs[start:end] for start, end in pairwise(ends)]


@dataclass(frozen=True)
class Template:
    """The special tokens around texts, by the names of the tokenizer's attributes.

    Attributes:
        before: the special tokens before the first text.
        between: those after the first text of a pair.
        after: those at the end.
        pair_type (int): token type of the second text and of the special tokens after it.
    """

    before: tuple[str, ...] = ("cls_token",)
    between: tuple[str, ...] = ("sep_token",)
    after: tuple[str, ...] = ("sep_token",)
    pair_type: int = 1


BERT = Template()  # [CLS] A [SEP] B [SEP]; Devlin et al. (2019), section 3 and figure 2
# <s> A </s></s> B </s>, all of type 0; Liu et al. (2019), in their code.
ROBERTA = Template(between=("sep_token", "sep_token"), pair_type=0)
BARE = Template((), (), ())  # A B, as in GPT-2


@dataclass(frozen=True)
class Frame:
    """The special tokens around texts: `before A after` and `before A between B after`.

    BERT's are `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`; see `Template`.

    Args:
        before: ids of the special tokens before the first text.
        between: ids of those after the first text of a pair.
        after: ids of those at the end.
        pieces: text of each id.
        pair_type (int): token type of the second text and of `after`; all others are of type 0.
    """

    before: Sequence[int]
    between: Sequence[int]
    after: Sequence[int]
    pieces: Sequence[str]
    pair_type: int = 1

    def room(self, max_length: int | None, texts: int) -> int:
        """Return the number of tokens (int) available for one or two texts.

        >>> Frame(before=(0,), between=(1, 1), after=(1,), pieces=["<s>", "</s>"]).room(10, texts=2)
        6

        Raises:
            ValueError: `max_length` is None or below the number of special tokens.
        """
        if max_length is None:
            raise ValueError("max_length: expected the length of a window, got None")
        special = len(self.before) + len(self.between) * (texts - 1) + len(self.after)
        if max_length < special:
            raise ValueError(
                f"max_length: expected at least {special}, the special tokens, got {max_length}"
            )
        return max_length - special

    def encoding(self, *texts: np.ndarray) -> Encoding:
        """Return the `Encoding` of one or two texts, each an array of tokens (T, 4).

        >>> pieces = ["[CLS]", "[SEP]", "hi", "##gh"]
        >>> frame = Frame(before=(0,), between=(1,), after=(1,), pieces=pieces)
        >>> encoding = frame.encoding(np.array([[2, 0, 2, 0], [3, 2, 4, 0]]))
        >>> encoding.input_ids, encoding.tokens
        ([0, 2, 3, 1], ['[CLS]', 'hi', '##gh', '[SEP]'])
        >>> encoding.offsets, encoding.word_ids
        ([(0, 0), (0, 2), (2, 4), (0, 0)], [None, 0, 0, None])
        """
        ids, types, special = [*self.before], [0] * len(self.before), [1] * len(self.before)
        offsets: list[tuple[int, int]] = [(0, 0)] * len(self.before)
        words: list[int | None] = [None] * len(self.before)
        ends = (self.between, self.after) if len(texts) > 1 else (self.after,)
        for segment, (text_tokens, end) in enumerate(zip(texts, ends, strict=True)):
            text_ids, starts, stops, text_words = text_tokens.T.tolist()
            ids += [*text_ids, *end]
            types += [self.pair_type if segment else 0] * (len(text_ids) + len(end))
            special += [*[0] * len(text_ids), *[1] * len(end)]
            offsets += [*zip(starts, stops, strict=True), *[(0, 0)] * len(end)]
            words += [*text_words, *[None] * len(end)]
        tokens = [self.pieces[i] for i in ids]
        return Encoding(ids, types, [1] * len(ids), tokens, special, offsets, words)

    def batch(
        self,
        rows: Sequence[Sequence[np.ndarray]],
        pad_id: int,
        length: int = 0,
        multiple: int | None = None,
        names: Sequence[str] = INPUTS,
    ) -> dict[str, np.ndarray]:
        """Return fields of `encoding` for B rows as arrays, padded to one length.

        Args:
            rows: one or two texts each, as arrays of tokens (T, 4).
            pad_id (int): padding of `input_ids`; `special_tokens_mask` is padded with 1, other
                fields with 0.
            length (int): minimum of T.
            multiple (int or None): T is rounded up to a multiple of this.
            names: the fields: a model's inputs, `special_tokens_mask`, `offsets`.

        Returns:
            the fields by name, (B, T), int64; `offsets` (B, T, 2).

        Raises:
            ValueError: `multiple` is below 1.
        """
        if multiple is not None and multiple < 1:
            raise ValueError(f"pad_to_multiple_of: expected at least 1, got {multiple}")
        before, between, after = (
            np.array([[i, 0, 0, SPECIAL] for i in ids], np.int32).reshape(-1, 4)
            for ids in (self.before, self.between, self.after)
        )
        # One array for all rows, because NumPy calls for each row are slower.
        parts = [
            [before, row[0], after] if len(row) == 1 else [before, row[0], between, row[1], after]
            for row in rows
        ]
        tokens = np.concatenate(list(chain.from_iterable(parts)))  # (N, 4)
        lengths = np.array([sum(map(len, row)) for row in parts])  # (B,)
        more = len(before) + len(after), len(before) + len(between)  # of a text, of a pair
        first_lengths = np.array([len(row[0]) + more[len(row) > 1] for row in rows])  # of type 0
        length = max(length, int(lengths.max()))
        length += -length % (multiple or 1)
        positions = np.arange(length)
        is_inside = positions < lengths[:, None]  # (B, T), False for padding
        fields = {  # the values of N tokens, and the value of padding
            "input_ids": (tokens[:, 0], pad_id),
            "token_type_ids": (
                (positions >= first_lengths[:, None])[is_inside] * self.pair_type,
                0,
            ),
            "attention_mask": (np.ones(len(tokens)), 0),
            "special_tokens_mask": (tokens[:, 3] == SPECIAL, 1),
            "offsets": (tokens[:, 1:3], 0),
        }
        batch = {}
        for name in names:
            values, fill = fields[name]
            batch[name] = np.full((*is_inside.shape, *values.shape[1:]), fill, np.int64)
            batch[name][is_inside] = values
        return batch


def padded_length(padding: Padding, max_length: int | None) -> int:
    """Return the minimum length (int) to pad to; 0 with padding `longest`.

    Raises:
        ValueError: unknown padding, or `max_length` is None but required.
    """
    if padding not in get_args(Padding):
        names = " or ".join(map(repr, get_args(Padding)))
        raise ValueError(f"padding: expected {names}, got {padding!r}")
    if padding == "longest":
        return 0
    if max_length is None:
        raise ValueError("padding: expected a max_length to pad to, got None")
    return max_length


def with_pairs(
    texts: Sequence[str], pairs: Sequence[str] | None
) -> Iterator[tuple[str, str | None]]:
    """Yield each text with its second text, or with None.

    Args:
        texts, pairs: lists, or tables with one column; see `rows_of`.

    Raises:
        TypeError: a text is not a string, a string is given instead of a list, or a table has
            several columns.
        ValueError: `texts` is empty, or the number of pairs differs from the number of texts.
    """
    sides = sides_of(texts, pairs)
    yield from zip(sides[0], [None] * len(sides[0]) if pairs is None else sides[1], strict=True)


def sides_of(texts: Sequence[str], pairs: Sequence[str] | None) -> list[list[str]]:
    """Return the texts, and their second texts if any, as one or two lists; see `with_pairs`."""
    sides = [strings_of(texts, "texts")]
    if pairs is not None:
        sides.append(strings_of(pairs, "pairs"))
    count = len(sides[0])
    if not count:
        raise ValueError("texts: expected at least one")
    if len(sides[-1]) != count:
        raise ValueError(f"pairs: expected {count}, one for each text, got {len(sides[-1])}")
    return sides


def strings_of(texts: Sequence[str], name: str) -> list[str]:
    """Return texts as a list.

    Args:
        texts: a list, or a table with one column; see `rows_of`.
        name: the argument's name, for messages.

    Raises:
        TypeError: a text is not a string, or a string is given instead of a list.
    """
    if isinstance(texts, str):
        raise TypeError(f"{name}: expected several, got one string; put it in a list")
    rows = texts_of(texts, name)
    for i, text in enumerate(rows):
        if not isinstance(text, str):
            raise TypeError(f"{name}[{i}]: expected a string, got {type(text).__name__}")
    return rows
