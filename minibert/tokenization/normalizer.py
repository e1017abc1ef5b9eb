"""From raw text to words: BERT's clean-up, and the cut at white space and punctuation.

Two ways lead there. `located_words` goes letter by letter and never loses sight of where in the
text each letter comes from: read this one. `words` does the same to whole strings and is several
times faster; the tests hold the two together.

Each step looks at one character, or at a letter and the marks on it, and never across white space.
So the words of a text are the words of its `chunks`, one after the other: that is what lets the
tokenizer and the trainer do the work once for each different chunk.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby
from typing import NamedTuple

from minibert.tokenization.characters import (
    CHINESE,
    DROPPED,
    LATE,
    LATE_CAPITALS,
    MARK,
    OTHER_SPACE,
    PUNCTUATION,
    SPACE,
)

_space = re.compile(f"[{SPACE}]")
_dropped = re.compile(f"[{DROPPED}]")
_chinese = re.compile(f"([{CHINESE}])")
_mark = re.compile(f"[{MARK}]+")
_late = re.compile(f"[{LATE}]")
_word = re.compile(f"[{PUNCTUATION}]|[^{SPACE}{OTHER_SPACE}{PUNCTUATION}]+")
_ascii_word = re.compile(r"[!-/:-@\[-`{-~]|[^\s!-/:-@\[-`{-~]+")
# str.split() cuts at these too: where text is cleaned they are dropped, and where it isn't, only
# those of OTHER_SPACE are white space.
_unlike_split = re.compile(r"[\x0b\x0c\x1c-\x1f\x85]")
_chunk = re.compile(f"[^{SPACE}]+"), re.compile(f"[^{SPACE}{OTHER_SPACE}]+")


class Letter(NamedTuple):
    """A character of the normalised text, made of `text[start:end]`."""

    char: str
    start: int
    end: int


class Word(NamedTuple):
    """A word of the normalised text; its letter i is made of `text[starts[i]:ends[i]]`."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


@dataclass(frozen=True)
class Normalizer:
    """BERT's normalisation of text: clean, space out Chinese, strip accents, lower the case, cut.

    Devlin et al. (2019), by their code (`BasicTokenizer`), in the reading of Hugging Face's
    `BertNormalizer` and `BertPreTokenizer`. What counts as what is written in `characters`.

    >>> Normalizer().words("Émile's  café, 你好")
    ['emile', "'", 's', 'cafe', ',', '你', '好']

    Args:
        do_lower_case: make everything lower case.
        strip_accents: drop the marks over and under letters; None: if lower case.
        tokenize_chinese_chars: make each Chinese character a word.
        clean_text: drop control and format characters, and make white space spaces.
    """

    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True
    clean_text: bool = True

    @property
    def strips_accents(self) -> bool:
        """Whether accents are stripped, `strip_accents` of None resolved."""
        return self.do_lower_case if self.strip_accents is None else self.strip_accents

    def letters(self, text: str) -> list[Letter]:
        r"""Normalise letter by letter.

        >>> [tuple(letter) for letter in Normalizer().letters("Ça\u200bİ")]
        [('c', 0, 1), ('a', 1, 2), ('i', 3, 4)]
        """
        letters: Iterable[Letter] = (Letter(char, i, i + 1) for i, char in enumerate(text))
        if self.clean_text:
            letters = clean(letters)
        if self.tokenize_chinese_chars:
            letters = space_chinese(letters)
        if self.strips_accents:
            letters = strip_marks(decompose(letters))
        if self.do_lower_case:
            letters = lower(letters)
        return list(letters)

    def located_words(self, text: str) -> list[Word]:
        """Normalise the text, cut it into words and punctuation marks, and say where they stood.

        >>> Normalizer().located_words("Öl, 5€")[0]
        Word(text='ol', starts=(0, 1), ends=(1, 2))
        """
        return cut_words(self.letters(text))

    def normalize(self, text: str) -> str:
        r"""Return the text cleaned, without accents and in lower case, as configured.

        >>> Normalizer(do_lower_case=False).normalize("Naïve\u200b\n北京")
        'Naïve  北  京 '
        """
        if text.isascii() and text.isprintable():
            return text.lower() if self.do_lower_case else text
        if self.clean_text:
            text = _space.sub(" ", _dropped.sub("", text))
        if self.tokenize_chinese_chars:
            text = _chinese.sub(r" \1 ", text)
        if self.strips_accents:
            text = _mark.sub("", _decomposed(text))
        if self.do_lower_case:
            # Letter by letter: lower() alone would make a final sigma another letter.
            text = text.translate(LATE_CAPITALS).replace("Σ", "σ").lower()
        return text

    def words(self, text: str) -> list[str]:
        """Normalise the text and cut it into words and punctuation marks."""
        if text.isascii() and text.isprintable():
            return _ascii_word.findall(text.lower() if self.do_lower_case else text)
        return _word.findall(self.normalize(text))

    def chunks(self, text: str) -> list[str]:
        r"""Cut a text at what BERT takes for white space.

        >>> Normalizer().chunks("one\ttwo  three\x0bfour")
        ['one', 'two', 'three\x0bfour']
        """
        if text.isprintable() or not _unlike_split.search(text):
            return text.split()
        return _chunk[not self.clean_text].findall(text)

    def located_chunks(self, text: str) -> tuple[list[str], list[int]]:
        """Return the chunks of a text, and where each begins.

        >>> Normalizer().located_chunks("to  be")
        (['to', 'be'], [0, 4])
        """
        chunks = self.chunks(text)
        *starts, end = accumulate([len(chunk) + 1 for chunk in chunks], initial=0)
        if end != len(text) + 1:  # more than one space between them
            starts = [match.start() for match in _chunk[not self.clean_text].finditer(text)]
        return chunks, starts


def clean(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Drop control and format characters, and make white space spaces."""
    for char, start, end in letters:
        if not _dropped.match(char):
            yield Letter(" " if _space.match(char) else char, start, end)


def space_chinese(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Put spaces around Chinese characters; each stands where its character stands."""
    for char, start, end in letters:
        for part in (" ", char, " ") if _chinese.match(char) else char:
            yield Letter(part, start, end)


def decompose(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Take letters and their marks apart, and put the marks in order: Unicode's form NFD.

    Unicode Standard Annex 15. An ordered mark stands where the text had a mark in its place, as
    in `tokenizers`, and what a decomposition adds stands where the letter before it stood.
    """
    given = list(letters)
    place = -1
    for char, added in _decompositions(letter.char for letter in given):
        place += not added
        yield given[place]._replace(char=char)


def strip_marks(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Drop accents and other marks that take no room of their own."""
    return (letter for letter in letters if not _mark.match(letter.char))


def lower(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Make capitals small; what one capital becomes stands where it stood."""
    for char, start, end in letters:
        for small in char.translate(LATE_CAPITALS).lower():
            yield Letter(small, start, end)


def cut_words(letters: Sequence[Letter]) -> list[Word]:
    """Cut normalised letters into words and punctuation marks."""
    words = []
    for match in _word.finditer("".join(letter.char for letter in letters)):
        _, starts, ends = zip(*letters[match.start() : match.end()], strict=True)
        words.append(Word(match[0], starts, ends))
    return words


def _decomposed(text):
    """Return NFD of a string, without the quadratic time that Python's takes to order marks."""
    if unicodedata.is_normalized("NFD", text):
        return text
    return "".join(char for char, _ in _decompositions(text))


def _decompositions(chars):
    """Yield the characters of NFD, and whether each is one that a decomposition adds."""
    parts = ((part, i > 0) for char in chars for i, part in enumerate(_nfd(char)))
    for unordered, group in groupby(parts, key=lambda part: _order(part[0]) > 0):
        run = list(group)
        yield from sorted(run, key=lambda part: _order(part[0])) if unordered else run


@lru_cache(1 << 14)
def _nfd(char):
    return char if _late.match(char) else unicodedata.normalize("NFD", char)


@lru_cache(1 << 14)
def _order(char):
    return 0 if _late.match(char) else unicodedata.combining(char)
