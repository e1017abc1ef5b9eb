"""The pieces and their ids, and the cut of one word into the longest of them."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence

import regex

CONTINUES = "##"  # begins a piece that continues a word
REMEMBERED = 1 << 18  # results; some 50 MB when it is full
REMEMBERED_LENGTH = 64  # longer texts hardly ever come twice


class Vocabulary:
    """Pieces of words, numbered from 0.

    >>> vocabulary = Vocabulary({"[UNK]": 0, "un": 1, "##able": 3, "##aff": 2})
    >>> vocabulary.pieces
    ['[UNK]', 'un', '##aff', '##able']

    Args:
        pieces: in the order of their ids, or each piece's id.

    Raises:
        TypeError: the pieces are one string, or one of them is not a string.
        ValueError: a piece occurs twice or can't be a line of a file, or ids leave a gap.
    """

    def __init__(self, pieces: Sequence[str] | Mapping[str, int]):
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
            if regex.search(r"[\n\r\0]", piece):
                raise ValueError(f"vocabulary[{i}]: expected a line of text, got {piece!r}")
        self._longest = max(map(len, self.pieces), default=0)

    def __len__(self) -> int:
        """V, the number of pieces."""
        return len(self.pieces)

    def pieces_of(self, ids: Iterable[int]) -> list[str]:
        """Return the pieces of ids.

        Raises:
            TypeError: an id is not an integer.
            ValueError: an id is not in the vocabulary.
        """
        pieces = []
        for place, given in enumerate(ids):
            try:
                i = operator.index(given)
            except TypeError:
                got = type(given).__name__
                raise TypeError(f"ids[{place}]: expected an integer, got {got}") from None
            if not 0 <= i < len(self.pieces):
                raise ValueError(f"ids[{place}]: expected 0 to {len(self.pieces) - 1}, got {i}")
            pieces.append(self.pieces[i])
        return pieces

    def cut(self, word: str) -> list[int] | None:
        """Cut a word greedily: the longest piece first, then the longest of what is left.

        Wu et al. (2016), section 4.1, and Devlin et al. (2019), by their code. Another cut may be
        possible where this one fails.

        >>> Vocabulary(["un", "##aff", "##able", "##a"]).cut("unaffable")
        [0, 1, 2]

        Returns:
            the pieces' ids; None if the greedy way meets something that no piece begins.
        """
        ids, start, prefix = [], 0, ""
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                i = self.ids.get(prefix + word[start:end])
                if i is not None:
                    break
            else:
                return None
            ids.append(i)
            start, prefix = end, CONTINUES
        return ids


def _in_order(ids):
    pieces = sorted(ids, key=ids.__getitem__)
    for i, piece in enumerate(pieces):
        if ids[piece] != i:
            raise ValueError(
                f"vocabulary: expected ids 0 to {len(pieces) - 1}, each once, and found "
                f"{ids[piece]} for {piece!r} where {i} should be"
            )
    return pieces


class Remembered(dict[str, bytes]):
    """A function's results, so that each is worked out once; when full, all is forgotten.

    >>> remembered = Remembered(str.encode)
    >>> remembered["new"], list(remembered)
    (b'new', ['new'])
    """

    def __init__(self, function: Callable[[str], bytes]):
        self.function = function

    def __missing__(self, text: str) -> bytes:
        """Work out what is not there yet."""
        result = self.function(text)
        if len(text) <= REMEMBERED_LENGTH:
            if len(self) >= REMEMBERED:
                self.clear()
            self[text] = result
        return result
