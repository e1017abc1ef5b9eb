"""Cached tokenization of SentencePiece's words: look up chunks of text that occurred before.

A chunk is a word with the space before it. Text is cut before a space only if nothing on one side
of the cut can change the tokens of the other side: both neighbours of the space are letters,
digits, punctuation, symbols, or no characters, which no step of the normalizer drops or turns into
white space, and which are not in one grapheme cluster with the space. So the tokens of a text are
those of its chunks, and each different chunk is computed once.
"""

import re
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, compress

import numpy as np
import regex

from minibert.tokenization.byte_chunks import END, encode
from minibert.tokenization.combining import LATER_LETTERS
from minibert.tokenization.fast import COLUMNS, INT32, BatchCache, CachedPath, Ragged, joined
from minibert.tokenization.lattice import Lattice, Pieces
from minibert.tokenization.metaspace import Metaspace
from minibert.tokenization.simple_letters import NEVER, VISIBLE, SimpleLetters
from minibert.tokenization.steps import FORMS, NMT_SPACE, StepNormalizer
from minibert.tokenization.unicode_forms import changed_characters as changed

_SAFE, _SPACE, _UNSAFE, _END = range(4)  # classes of bytes
_not_ascii = re.compile(rb"[\x80-\xfe]+")

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
        table = {c: t for kind in normalizer.kinds if kind in FORMS for c, t in changed(kind)}
        table |= normalizer.table
        texts = [text for text, _ in normalizer.replaced]
        rest = {metaspace.replacement, *"".join([*table, *texts])}
        kept = LetterClass(rf"(?V1){_visible(rest)}")
        # The contents that replace the other texts are as visible as those texts.
        vanishing = [
            text
            for text, content in normalizer.replaced
            if not (content and kept.contains_all(content))
        ]
        listed = {metaspace.replacement, *"".join(vanishing)}
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
        # The classes of bytes, if all characters beyond ASCII are safe, and if not.
        self._classes = {
            wide: bytes(self._class_of(byte, wide) for byte in range(256))
            for wide in (_SAFE, _UNSAFE)
        }

    def _class_of(self, byte: int, wide: int) -> int:
        if byte >= 0x80:
            return _END if byte == END[0] else wide
        if byte == ord(" "):
            return _SPACE
        return _SAFE if self._safe.contains_all(chr(byte)) else _UNSAFE

    def chunks(self, text: str) -> list[str]:
        """Return the chunks (list of str) of a text; joined, they are the text."""
        if not text:
            return []
        has_single_spaces = "  " not in text and text[0] != " " and text[-1] != " "
        if self.is_cut and has_single_spaces and self._safe.contains_all(text):
            return text.replace(" ", "\0 ").split("\0")  # most texts; faster than the search
        is_odd = "\0" in text or (not text.isascii() and self._prepend.search(text))
        return [text] if is_odd or not self.is_cut else self._cut.sub("\0 ", text).split("\0")

    def has_parts(self, texts: Sequence[str]) -> bool:
        """Return whether `bounds` may be used for texts."""
        return self.is_cut and all(
            text.isascii() or not self._prepend.search(text) for text in texts
        )

    def bounds(self, data: bytes, keeps_space: bool) -> tuple[np.ndarray, np.ndarray]:
        r"""Return the starts (M,) and the ends (M,) of parts of texts in UTF-8, each with an END.

        A part is one chunk or several.

        >>> cutter = Cutter(StepNormalizer(), Metaspace())
        >>> [bounds.tolist() for bounds in cutter.bounds(b"to be\xff\xff or\xff", False)]
        [[0, 3, 7], [2, 5, 10]]

        Args:
            data (bytes): the texts.
            keeps_space (bool): whether the space between two parts is in the second one.
        """
        wide = _SAFE
        if not data.isascii():
            chars = b"".join(_not_ascii.findall(data)).decode("utf-8", "surrogatepass")
            wide = _SAFE if self._safe.contains_all(chars) else _UNSAFE
        classes = data.translate(self._classes[wide])
        padded = np.frombuffer(bytes([_END]) + classes + bytes([_END]), np.uint8)
        before, here, after = padded[:-2], padded[1:-1], padded[2:]
        cuts = (before == _SAFE) & (here == _SPACE) & (after == _SAFE)
        starts = (before == _END) & (here != _END)
        ends = (before != _END) & (here == _END) | cuts
        if keeps_space:
            starts |= cuts
        else:
            starts[1:] |= cuts[:-1]
        return np.flatnonzero(starts), np.flatnonzero(ends)


class ChunkPath(CachedPath):
    """Tokenizer of text without added tokens, with caches of chunks.

    Args:
        cutter: cuts text into chunks.
        normalizer: normalizes text.
        metaspace: splits normalized text into words.
        lattice: splits words into pieces.
        match: returns the tokens of a chunk, given it and whether it begins the text.
    """

    def __init__(
        self,
        cutter: Cutter,
        normalizer: StepNormalizer,
        metaspace: Metaspace,
        lattice: Lattice,
        match: Callable[[str, bool], Tokens],
    ):
        super().__init__()
        self._cutter, self._metaspace = cutter, metaspace
        self._lattice, self._match = lattice, match
        self._letters = SimpleLetters(normalizer, metaspace.replacement)

    def chunks(self, text: str) -> list[str]:
        """Return the chunks (list of str) of a text."""
        return self._cutter.chunks(text)

    def located_chunks(self, text: str) -> tuple[list[str], list[int]]:
        """Return the chunks of a text and the position of each."""
        chunks = self._cutter.chunks(text)
        return chunks, [0, *accumulate(map(len, chunks))][:-1]

    def encode(self, texts: Sequence[str]) -> tuple[bytes, np.ndarray]:
        """Return texts as UTF-8, each with an `END`, and their sizes (B,), in bytes."""
        return encode(texts)

    def has_parts(self, texts: Sequence[str]) -> bool:
        """Return whether `bounds` finds parts of texts."""
        return not self._depends_on_place and self._cutter.has_parts(texts)

    def bounds(self, data: bytes, located: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the starts (M,) and the ends (M,) of the parts of encoded texts."""
        metaspace = self._metaspace
        is_dropped = metaspace.splits_spaces
        # With or without it the ids are the same, unless it is split from a mark after it.
        is_usual = metaspace.prepend_scheme == "always" and not metaspace.splits_punctuation
        return self._cutter.bounds(data, not (is_dropped or (is_usual and not located)))

    def ids(self, text: str, is_first: bool = True) -> np.ndarray:
        """Return the token ids (T,), int32, of a text."""
        first, rest = self._divided(text)
        if not first:
            return super().ids(rest)
        ids = np.array([token[0] for token in self._match(first, is_first)], INT32)
        return np.concatenate([ids, super().ids(rest)])

    def tokens(self, text: str, is_first: bool = True) -> np.ndarray:
        """Return the tokens (T, 4), int32, of a text; see `Fast`."""
        first, rest = self._divided(text)
        tokens = super().tokens(rest)
        if not first:
            return tokens
        tokens[:, 1:3] += len(first)
        found = np.array(self._match(first, is_first), INT32).reshape(-1, COLUMNS)
        return np.concatenate([found, tokens])

    def ids_of_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the token ids (N,), int32, of B texts, and the number of each text (B,)."""
        if self._depends_on_place and texts:
            return joined([self.ids(text) for text in texts])
        return super().ids_of_batch(texts)

    def _divided(self, text: str) -> tuple[str, str]:
        """Return the beginning of a text whose tokens depend on its place, and the rest."""
        chunks = self._cutter.chunks(text) if self._depends_on_place else []
        size = len(chunks[0]) if chunks else 0
        return text[:size], text[size:]

    @property
    def _depends_on_place(self) -> bool:
        return self._metaspace.prepend_scheme == "first"

    def ids_of_chunks(self, chunks: list[str]) -> list[bytes]:
        """Return the ids of each chunk as int32."""
        words = self._words(chunks)
        found = iter(self._lattice.ids_of_words([word for word in words if word is not None]))
        return [
            array("i", [token[0] for token in self._match(chunk, False)]).tobytes()
            if word is None
            else next(found)
            for chunk, word in zip(chunks, words, strict=True)
        ]

    def tokens_of_chunks(self, chunks: list[str]) -> list[bytes]:
        """Return the tokens of each chunk, `COLUMNS` int32 each."""
        words, places = self._words(chunks), list(map(self._places, chunks))
        words = [None if at is None else word for word, at in zip(words, places, strict=True)]
        found = iter(self._lattice.split_words([word for word in words if word is not None]))
        return [
            _packed(
                self._match(chunk, False)
                if word is None or at is None
                else located(next(found), at, at)
            )
            for chunk, word, at in zip(chunks, words, places, strict=True)
        ]

    def ids_of_parts(self, parts: list[str]) -> list[bytes]:
        """Return the ids of each part of a batch as int32."""
        return self._of_parts(parts, self._ids, self.ids)

    def tokens_of_parts(self, parts: list[str]) -> list[bytes]:
        """Return the tokens of each part of a batch, `COLUMNS` int32 each."""
        return self._of_parts(parts, self._tokens, self.tokens)

    def _of_parts(
        self, parts: list[str], cache: BatchCache[bytes], function: Callable[[str], np.ndarray]
    ) -> list[bytes]:
        """Return the results of a cache of chunks; for parts of several, those of a function."""
        are_chunks = [" " not in part[1:] for part in parts]
        found = iter(cache.many([*compress(parts, are_chunks)]))
        return [
            next(found) if is_chunk else function(part).tobytes()
            for part, is_chunk in zip(parts, are_chunks, strict=True)
        ]

    def _words(self, chunks: list[str]) -> list[str | None]:
        """Return each chunk as the metaspace's word (str), or None if it is not simple."""
        if not self._cutter.is_cut or self._metaspace.splits_punctuation:
            return [None] * len(chunks)
        texts = self._letters.normalize([chunk.removeprefix(" ") for chunk in chunks])
        return [
            None if text is None else self._mark(chunk) + text
            for chunk, text in zip(chunks, texts, strict=True)
        ]

    def _mark(self, chunk: str) -> str:
        """Return the ▁ before the word of a chunk, or nothing."""
        is_space = chunk[0] == " " and not self._metaspace.splits_spaces
        has_mark = is_space or self._metaspace.prepend_scheme == "always"
        return self._metaspace.replacement if has_mark else ""

    def _places(self, chunk: str) -> list[int] | None:
        """Return where each letter of a chunk's word is in the chunk, or None."""
        word = chunk.removeprefix(" ")
        places = self._letters.places(word)
        if places is None:
            return None
        shift = len(chunk) - len(word)  # 1 if the chunk begins with a space
        at_mark = [shift if self._metaspace.splits_spaces else 0] if self._mark(chunk) else []
        return at_mark + [shift + i for i in places]


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


def _packed(tokens: Tokens) -> bytes:
    return array("i", [field for token in tokens for field in token]).tobytes()


def _visible(excluded: set[str]) -> str:
    """Return the regex class of visible characters except some."""
    listed = "".join(f"\\U{ord(char):08X}" for char in sorted(excluded))
    return rf"[[{VISIBLE}]--[{NEVER}{listed}]]"
