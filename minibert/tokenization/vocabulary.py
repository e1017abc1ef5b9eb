"""The pieces and their ids, and the cut of one word into the longest of them."""

import operator
import re
from collections.abc import Iterable, Mapping, Sequence

# Joins that written text doesn't have, for `joined`: Hugging Face's list.
CLEAN_UP = [(f" {mark}", mark) for mark in [".", "?", "!", ","]]
CLEAN_UP += [(" ' ", "'"), *((f" {end}", end) for end in ["n't", "'m", "'s", "'ve", "'re"])]


class Vocabulary:
    """Pieces of words, numbered from 0.

    >>> vocabulary = Vocabulary({"[UNK]": 0, "un": 1, "##able": 3, "##aff": 2})
    >>> vocabulary.pieces
    ['[UNK]', 'un', '##aff', '##able']

    Args:
        pieces: in the order of their ids, or each piece's id.
        prefix: begins a piece that continues a word.

    Raises:
        TypeError: the pieces are one string, or one of them is not a string.
        ValueError: a piece occurs twice or can't be a line of a file, or ids leave a gap.
    """

    def __init__(self, pieces: Sequence[str] | Mapping[str, int], prefix: str = "##"):
        self.prefix = prefix
        if isinstance(pieces, str):
            raise TypeError("vocabulary: expected pieces, got one string; see from_pretrained")
        self.pieces = _in_order(pieces) if isinstance(pieces, Mapping) else list(pieces)
        self.ids: dict[str, int] = {}
        for i, piece in enumerate(self.pieces):
            if not isinstance(piece, str):
                raise TypeError(f"vocabulary[{i}]: expected a string, got {type(piece).__name__}")
            if self.ids.setdefault(piece, i) != i:
                raise ValueError(
                    f"vocabulary: {piece!r} occurs twice, at {self.ids[piece]} and {i}"
                )
            if re.search(r"[\n\r\0\ud800-\udfff]", piece):
                raise ValueError(f"vocabulary[{i}]: expected a line of text, got {piece!r}")
        continuing = {
            p.removeprefix(prefix): i for p, i in self.ids.items() if p.startswith(prefix)
        }
        # Where a word begins, and where it continues: ids by text, and how long that can be.
        self._begin, self._continue = (
            (ids, max(map(len, ids), default=0)) for ids in (self.ids, continuing)
        )

    def __len__(self) -> int:
        """V, the number of pieces."""
        return len(self.pieces)

    def cut(self, word: str) -> list[tuple[int, int]] | None:
        """Cut a word greedily: the longest piece first, then the longest of what is left.

        Wu et al. (2016), section 4.1, and Devlin et al. (2019), by their code. Another cut may be
        possible where this one fails.

        >>> Vocabulary(["un", "##aff", "##able", "##a"]).cut("unaffable")
        [(0, 2), (1, 5), (2, 9)]

        Returns:
            each piece's id, and where in the word it ends; None if the greedy way meets something
            that no piece begins.
        """
        cuts, start = [], 0
        ids, longest = self._begin
        while start < len(word):
            for end in range(min(len(word), start + longest), start, -1):
                i = ids.get(word[start:end])
                if i is not None:
                    break
            else:
                return None
            cuts.append((i, end))
            start = end
            ids, longest = self._continue
        return cuts


def pieces_of(pieces: Sequence[str], ids: Iterable[int]) -> list[str]:
    """Return the pieces of ids.

    Raises:
        TypeError: an id is not an integer.
        ValueError: there is no such id.
    """
    found = []
    for place, given in enumerate(ids):
        try:
            i = operator.index(given)
        except TypeError:
            got = type(given).__name__
            raise TypeError(f"ids[{place}]: expected an integer, got {got}") from None
        if not 0 <= i < len(pieces):
            raise ValueError(f"ids[{place}]: expected 0 to {len(pieces) - 1}, got {i}")
        found.append(pieces[i])
    return found


def joined(pieces: Sequence[str], prefix: str = "##", clean_up: bool = False) -> str:
    """Join pieces to words, and words by single spaces.

    >>> joined(["un", "##aff", "##able", ",", "isn", "'", "t", "it", "?"], clean_up=True)
    "unaffable, isn't it?"

    Args:
        pieces: of one text.
        prefix: begins a piece that continues a word.
        clean_up: no space before full stops, commas and English contractions, by Hugging Face's
            rules.
    """
    first, *others = pieces if pieces else [""]
    parts = [
        piece.removeprefix(prefix) if piece.startswith(prefix) else f" {piece}" for piece in others
    ]
    text = "".join([first, *parts])
    for spaced, written in CLEAN_UP if clean_up else ():
        text = text.replace(spaced, written)
    return text


def _in_order(ids):
    pieces = sorted(ids, key=ids.__getitem__)
    for i, piece in enumerate(pieces):
        if ids[piece] != i:
            raise ValueError(
                f"vocabulary: expected ids 0 to {len(pieces) - 1}, each once, and found "
                f"{ids[piece]} for {piece!r} where {i} should be"
            )
    return pieces
