"""The pieces and their ids, and the greedy split of a word into pieces."""

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

# Replacements of `join_pieces`: spaces that written English does not contain (Hugging Face's list).
CLEAN_UP = [(f" {mark}", mark) for mark in [".", "?", "!", ","]]
CLEAN_UP += [(" ' ", "'"), *((f" {end}", end) for end in ["n't", "'m", "'s", "'ve", "'re"])]

NOT_A_LINE = re.compile(r"[\n\r\0\ud800-\udfff]")
MAX_UNUSED_IDS = 100_000  # in a file; more are a mistake, and would need memory


class Vocabulary:
    """Pieces of words with ids from 0.

    >>> vocabulary = Vocabulary({"[UNK]": 0, "un": 1, "##able": 3, "##aff": 2})
    >>> vocabulary.pieces
    ['[UNK]', 'un', '##aff', '##able']

    Args:
        pieces: the pieces in the order of their ids, or a mapping from pieces to ids.
        prefix: marks a piece that continues a word.

    Raises:
        TypeError: the pieces are one string, or a piece is not a string.
        ValueError: a piece occurs twice or is not a single line of text, or an id is missing.
    """

    def __init__(self, pieces: Sequence[str] | Mapping[str, int], prefix: str = "##"):
        if isinstance(pieces, str):
            raise TypeError("vocabulary: expected pieces, got one string; see from_pretrained")
        self.pieces = _sort_by_id(pieces) if isinstance(pieces, Mapping) else list(pieces)
        self.ids: dict[str, int] = {}
        for i, piece in enumerate(self.pieces):
            if not isinstance(piece, str):
                raise TypeError(f"vocabulary[{i}]: expected a string, got {type(piece).__name__}")
            if self.ids.setdefault(piece, i) != i:
                raise ValueError(
                    f"vocabulary: {piece!r} occurs twice, at {self.ids[piece]} and {i}"
                )
            if NOT_A_LINE.search(piece):
                raise ValueError(f"vocabulary[{i}]: expected a line of text, got {piece!r}")
        self._index(prefix)

    @classmethod
    def with_gaps(cls, ids: Mapping[str, int], size: int, prefix: str = "##") -> Self:
        """Return a vocabulary in which an id may have no piece, or several, as a file may state.

        >>> vocabulary = Vocabulary.with_gaps({"[UNK]": 0, "un": 3}, 5)
        >>> vocabulary.pieces
        ['[UNK]', '', '', 'un', '']

        Args:
            ids: the id of each piece.
            size: the number of ids, used or unused.
            prefix: marks a piece that continues a word.

        Raises:
            TypeError: an id is not an integer.
            ValueError: an id is out of range, a piece is not a line of text, or nearly all ids are
                unused.
        """
        if size > len(ids) + MAX_UNUSED_IDS:
            raise ValueError(
                f"vocabulary: expected at most {MAX_UNUSED_IDS:,} unused ids, got {size} ids for "
                f"{len(ids)} pieces"
            )
        vocabulary = cls((), prefix)
        vocabulary.pieces = [""] * size
        for piece, i in ids.items():
            if type(i) is not int:
                raise TypeError(f"vocabulary: {piece!r}: expected an integer as its id, got {i!r}")
            if not 0 <= i < size or NOT_A_LINE.search(piece):
                raise ValueError(
                    f"vocabulary: expected lines of text with ids from 0, got {i} for {piece!r}"
                )
            vocabulary.pieces[i] = piece
        vocabulary.ids = dict(sorted(ids.items(), key=lambda item: item[1]))
        vocabulary._index(prefix)
        return vocabulary

    def _index(self, prefix: str) -> None:
        """Set the tables of `split_word`."""
        self.prefix = prefix
        continuing = {
            p.removeprefix(prefix): i for p, i in self.ids.items() if p.startswith(prefix)
        }
        # For the first piece of a word and for the following ones: ids by text, and the length of
        # the longest text.
        self._first, self._following = (
            (ids, max(map(len, ids), default=0)) for ids in (self.ids, continuing)
        )

    def __len__(self) -> int:
        """Return V, the number of ids, unused ones included."""
        return len(self.pieces)

    def split_word(self, word: str) -> list[tuple[int, int]] | None:
        """Split a word greedily: the longest piece first, then the longest piece of the rest.

        Wu et al. (2016), section 4.1; Devlin et al. (2019), in their code. The greedy split may
        fail although another split exists.

        >>> Vocabulary(["un", "##aff", "##able", "##a"]).split_word("unaffable")
        [(0, 2), (1, 5), (2, 9)]

        Returns:
            the id of each piece and its end in the word; None if no piece matches the rest.
        """
        split, start = [], 0
        ids, longest = self._first
        while start < len(word):
            for end in range(min(len(word), start + longest), start, -1):
                i = ids.get(word[start:end])
                if i is not None:
                    break
            else:
                return None
            split.append((i, end))
            start = end
            ids, longest = self._following
        return split


def pieces_of(pieces: Sequence[str], ids: Iterable[int]) -> list[str]:
    """Return the pieces of ids.

    Raises:
        TypeError: an id is not an integer.
        ValueError: an id is out of range.
    """
    found = []
    for position, given in enumerate(ids):
        try:
            i = operator.index(given)
        except TypeError:
            got = type(given).__name__
            raise TypeError(f"ids[{position}]: expected an integer, got {got}") from None
        if not 0 <= i < len(pieces):
            raise ValueError(f"ids[{position}]: expected 0 to {len(pieces) - 1}, got {i}")
        found.append(pieces[i])
    return found


def join_pieces(pieces: Sequence[str], prefix: str = "##", clean_up: bool = False) -> str:
    """Join pieces to words and words to a text (str), separated by single spaces.

    >>> join_pieces(["un", "##aff", "##able", ",", "isn", "'", "t", "it", "?"], clean_up=True)
    "unaffable, isn't it?"

    Args:
        pieces: pieces of one text.
        prefix: marks a piece that continues a word.
        clean_up (bool): remove spaces before full stops, commas and English contractions, by
            Hugging Face's rules.
    """
    first, *others = pieces if pieces else [""]
    parts = [
        piece.removeprefix(prefix) if piece.startswith(prefix) else f" {piece}" for piece in others
    ]
    text = "".join([first, *parts])
    for spaced, written in CLEAN_UP if clean_up else ():
        text = text.replace(spaced, written)
    return text


def _sort_by_id(ids: Mapping[str, int]) -> list[str]:
    pieces = sorted(ids, key=ids.__getitem__)
    for i, piece in enumerate(pieces):
        if ids[piece] != i:
            raise ValueError(
                f"vocabulary: expected ids 0 to {len(pieces) - 1}, each once, and found "
                f"{ids[piece]} for {piece!r} where {i} should be"
            )
    return pieces
