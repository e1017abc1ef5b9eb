"""Cached tokenization of SentencePiece's words: look up chunks of text that occurred before.

A chunk is a word with the space before it. Text is cut before a space only if nothing on one side
of the cut can change the tokens of the other side: both neighbours of the space are letters,
digits, punctuation or symbols, which no step of the normalizer drops or turns into white space, and
which are not in one grapheme cluster with the space. So the tokens of a text are those of its
chunks, and each different chunk is computed once.
"""

from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, chain

import numpy as np
import regex

from minibert.tokenization.combining import LATER_LETTERS
from minibert.tokenization.fast import COLUMNS, INT32, TOKEN_BYTES, BoundedCache, Ragged, joined
from minibert.tokenization.lattice import Pieces
from minibert.tokenization.metaspace import Metaspace
from minibert.tokenization.steps import FORMS, NMT_SPACE, StepNormalizer
from minibert.tokenization.unicode_forms import changed_characters as changed

# Symbols that are white space to a step, or join the cluster before or after them.
NEVER = r"\u2581\ufffd\p{GCB=Extend}\p{GCB=SpacingMark}\p{GCB=Prepend}"
VISIBLE = r"\p{L}\p{N}\p{P}\p{S}"
KEEPING = {"Precompiled", "Replace", "Strip", "Nmt"}  # steps that keep letters they do not list

Tokens = Sequence[Sequence[int]]


class LetterClass:
    r"""The characters of a regex class; each is matched once, when it occurs first.

    >>> LetterClass(r"\p{L}").contains_all("Ça"), LetterClass(r"\p{L}").contains_all("Ça!")
    (True, False)
    """

    def __init__(self, pattern: str):
        self._match = regex.compile(pattern).match
        self._inside: set[str] = set()
        self._outside: set[str] = set()

    def contains_all(self, text: str) -> bool:
        """Return whether all characters of a text are in the class."""
        if self._inside.issuperset(text):
            return True
        for char in set(text) - self._inside - self._outside:
            (self._inside if self._match(char) else self._outside).add(char)
        return self._inside.issuperset(text)


class Cutter:
    r"""Cuts a text into chunks whose tokens do not depend on each other.

    >>> Cutter(StepNormalizer(), Metaspace()).chunks("to be  or\tnot to be")
    ['to', ' be  or\tnot', ' to', ' be']

    Args:
        normalizer: normalizes the text.
        metaspace: splits normalized text into words.
    """

    def __init__(self, normalizer: StepNormalizer, metaspace: Metaspace):
        texts = normalizer.patterns
        table = {c: t for kind in normalizer.kinds if kind in FORMS for c, t in changed(kind)}
        table |= normalizer.table
        listed = {metaspace.replacement, *"".join(texts)}
        unsafe = {
            text[0]
            for text, value in table.items()
            if not value
            or any(char.isspace() or char in listed for char in value)
            or any(map(NMT_SPACE.match, value))
        }
        if "StripAccents" in normalizer.kinds:
            unsafe.update(LATER_LETTERS)
        safe = _visible({*listed, *unsafe})
        self._cut = regex.compile(rf"(?V1)(?<={safe}) (?={safe})")
        self._safe = LetterClass(rf"(?V1)(?:{safe}| )")
        self._prepend = regex.compile(r"(?V1)\p{GCB=Prepend}")
        is_cut = not any(" " in text for text in [*table, *texts])
        is_cut = is_cut and "Prepend" not in normalizer.kinds  # it sees the whole text
        if not metaspace.splits_spaces and (not metaspace.split or normalizer.strips_left):
            is_cut = False
        self.is_cut = is_cut
        # A word of such letters is its own normalized text.
        self._plain: LetterClass | None = None
        is_simple = metaspace.split and metaspace.prepend_scheme == "always"
        is_simple = is_simple and not metaspace.splits_punctuation
        if is_cut and is_simple and KEEPING.issuperset(normalizer.kinds):
            plain = _visible({*listed, *(text for text in table if len(text) == 1)})
            self._plain = LetterClass(rf"(?V1){plain}")

    def chunks(self, text: str) -> list[str]:
        """Return the chunks (list of str) of a text; joined, they are the text."""
        if not text:
            return []
        has_single_spaces = "  " not in text and text[0] != " " and text[-1] != " "
        if self.is_cut and has_single_spaces and self._safe.contains_all(text):
            return text.replace(" ", "\0 ").split("\0")  # most texts; faster than the search
        is_odd = "\0" in text or (not text.isascii() and self._prepend.search(text))
        return [text] if is_odd or not self.is_cut else self._cut.sub("\0 ", text).split("\0")

    def is_plain(self, word: str) -> bool:
        """Return whether normalization keeps a chunk without its space, and it is one word."""
        return bool(word) and self._plain is not None and self._plain.contains_all(word)


class ChunkPath:
    """Tokenizer of text without added tokens, with caches of chunks.

    Args:
        cutter: cuts text into chunks.
        metaspace: splits normalized text into words.
        split_word: splits a word into pieces.
        match: returns the tokens of a chunk, given it and whether it begins the text.
    """

    def __init__(
        self,
        cutter: Cutter,
        metaspace: Metaspace,
        split_word: Callable[[str], Pieces],
        match: Callable[[str, bool], Tokens],
    ):
        self._cutter, self._metaspace = cutter, metaspace
        self._split_word, self._match = split_word, match
        self._ids = BoundedCache(self._ids_of_chunk)
        self._tokens = BoundedCache(self._tokens_of_chunk)

    def ids(self, text: str, is_first: bool = True) -> np.ndarray:
        """Return the token ids (T,), int32, of a text."""
        chunks = self._cutter.chunks(text)
        found = list(map(self._ids.__getitem__, chunks))
        if chunks and self._depends_on_place:
            first = self._match(chunks[0], is_first)
            found[0] = array("i", [token[0] for token in first]).tobytes()
        return np.frombuffer(bytearray().join(found), INT32)

    def tokens(self, text: str, is_first: bool = True) -> np.ndarray:
        """Return the tokens (T, 4), int32, of a text; see `Fast`."""
        chunks = self._cutter.chunks(text)
        found = list(map(self._tokens.__getitem__, chunks))
        if chunks and self._depends_on_place:
            found[0] = _packed(self._match(chunks[0], is_first))
        tokens = np.frombuffer(bytearray().join(found), INT32).reshape(-1, COLUMNS)
        counts = np.array([len(stored) // TOKEN_BYTES for stored in found], np.intp)
        starts = list(accumulate(map(len, chunks), initial=0))[:-1]
        tokens[:, 1:3] += np.array(starts, INT32).repeat(counts)[:, None]
        return tokens

    def ids_of_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the token ids (N,), int32, of B texts, and the number of each text (B,)."""
        if self._depends_on_place and texts:
            return joined([self.ids(text) for text in texts])
        rows = [self._cutter.chunks(text) for text in texts]
        found = list(map(self._ids.__getitem__, chain.from_iterable(rows)))
        counts = _counts(found, INT32.itemsize)
        return np.frombuffer(bytearray().join(found), INT32), _sums(counts, rows)

    def tokens_of_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the tokens (N, 4), int32, of B texts, and the number of each text (B,)."""
        if self._depends_on_place and texts:
            return joined([self.tokens(text) for text in texts])
        rows = [self._cutter.chunks(text) for text in texts]
        chunks = list(chain.from_iterable(rows))
        found = list(map(self._tokens.__getitem__, chunks))
        counts = _counts(found, TOKEN_BYTES)
        tokens = np.frombuffer(bytearray().join(found), INT32).reshape(-1, COLUMNS)
        # Where each chunk starts in all texts together, less where its text starts.
        ends = np.fromiter(map(len, chunks), np.intp, len(chunks)).cumsum()
        sizes = np.fromiter(map(len, texts), np.intp, len(texts))
        numbers = np.fromiter(map(len, rows), np.intp, len(rows))
        starts = np.concatenate([[0], ends])[:-1] - (sizes.cumsum() - sizes).repeat(numbers)
        tokens[:, 1:3] += starts.astype(INT32).repeat(counts)[:, None]
        return tokens, _sums(counts, rows)

    @property
    def _depends_on_place(self) -> bool:
        return self._metaspace.prepend_scheme == "first"

    def _ids_of_chunk(self, chunk: str) -> bytes:
        word = chunk.removeprefix(" ")
        if self._cutter.is_plain(word):
            pieces = self._split_word(self._metaspace.replacement + word)
            return array("i", [i for i, _ in pieces]).tobytes()
        return array("i", [token[0] for token in self._match(chunk, False)]).tobytes()

    def _tokens_of_chunk(self, chunk: str) -> bytes:
        word = chunk.removeprefix(" ")
        if not self._cutter.is_plain(word):
            return _packed(self._match(chunk, False))
        shift = len(chunk) - len(word)  # 1 if the chunk begins with a space
        # Where the letters of the word are: ▁ at the space, or else at the first letter.
        places = [0 if not self._metaspace.splits_spaces else shift, *range(shift, len(chunk))]
        pieces = self._split_word(self._metaspace.replacement + word)
        return _packed(located(pieces, places, places))


def located(pieces: Pieces, starts: Sequence[int], lasts: Sequence[int]) -> list[list[int]]:
    """Return the pieces of a word as tokens: id, start, end, and 1 where the word begins.

    Args:
        pieces: id and end of each piece; several may have one end, for the bytes of a letter.
        starts: where each letter of the word starts.
        lasts: the position of each letter's last character.
    """
    tokens: list[list[int]] = []
    first = 0
    for position, (i, stop) in enumerate(pieces):
        tokens.append([i, starts[first], lasts[stop - 1] + 1, int(position == 0)])
        if position + 1 < len(pieces) and pieces[position + 1][1] > stop:
            first = stop
    return tokens


def _counts(found: list[bytes], size: int) -> np.ndarray:
    """Return the number of tokens of each chunk, of `size` bytes each."""
    return np.fromiter(map(len, found), np.intp, len(found)) // size


def _sums(counts: np.ndarray, rows: Sequence[list[str]]) -> np.ndarray:
    """Return the number of tokens of each text (B,), from those of its chunks."""
    stops = np.fromiter(map(len, rows), np.intp, len(rows)).cumsum()
    return np.diff(np.concatenate([[0], counts.cumsum()])[stops], prepend=0)


def _packed(tokens: Tokens) -> bytes:
    return array("i", [field for token in tokens for field in token]).tobytes()


def _visible(excluded: set[str]) -> str:
    """Return the regex class of visible characters except some."""
    listed = "".join(f"\\U{ord(char):08X}" for char in sorted(excluded))
    return rf"[[{VISIBLE}]--[{NEVER}{listed}]]"
