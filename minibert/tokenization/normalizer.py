"""From raw text to words: BERT's normalization, and the split at white space and punctuation.

There are two implementations. `located_words` works letter by letter and tracks the position of
each letter in the text: read this one. `words` applies the same steps to whole strings and is
several times faster; the tests check that both agree.

Each step looks at one character, or at a letter and its marks, and never across white space. So the
words of a text are the words of its `chunks`, one after the other, and the tokenizer and the
trainer process each different chunk only once.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
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
# str.split() splits at these too. BERT drops them when it cleans text; otherwise only those of
# OTHER_SPACE are white space.
_unlike_split = re.compile(r"[\x0b\x0c\x1c-\x1f\x85]")
_chunk = re.compile(f"[^{SPACE}]+"), re.compile(f"[^{SPACE}{OTHER_SPACE}]+")


class Letter(NamedTuple):
    """A character of the normalized text, made from `text[start:end]`."""

    char: str
    start: int
    end: int


class Word(NamedTuple):
    """A word of the normalized text; its letter i is made from `text[starts[i]:ends[i]]`."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


@dataclass(frozen=True)
class Normalizer:
    """BERT's text normalization: clean, separate Chinese, strip accents, lower case, split.

    Devlin et al. (2019), in their code (`BasicTokenizer`), as implemented by Hugging Face's
    `BertNormalizer` and `BertPreTokenizer`. The character classes are in `characters`.

    >>> Normalizer().words("Émile's  café, 你好")
    ['emile', "'", 's', 'cafe', ',', '你', '好']

    Args:
        do_lower_case (bool): convert to lower case.
        strip_accents (bool or None): drop combining marks; None means the value of `do_lower_case`.
        tokenize_chinese_chars (bool): make each Chinese character a word.
        clean_text (bool): drop control and format characters, and replace white space by spaces.
    """

    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True
    clean_text: bool = True

    @property
    def strips_accents(self) -> bool:
        """Whether accents are stripped, with None resolved."""
        return self.do_lower_case if self.strip_accents is None else self.strip_accents

    def letters(self, text: str) -> list[Letter]:
        r"""Return the letters of the normalized text, computed one by one.

        >>> [tuple(letter) for letter in Normalizer().letters("Ça\u200bİ")]
        [('c', 0, 1), ('a', 1, 2), ('i', 3, 4)]
        """
        letters: Iterable[Letter] = (Letter(char, i, i + 1) for i, char in enumerate(text))
        if self.clean_text:
            letters = clean(letters)
        if self.tokenize_chinese_chars:
            letters = separate_chinese(letters)
        if self.strips_accents:
            letters = strip_marks(decompose(letters))
        if self.do_lower_case:
            letters = lower(letters)
        return list(letters)

    def located_words(self, text: str) -> list[Word]:
        """Return the normalized words and punctuation marks of a text, with their positions.

        >>> Normalizer().located_words("Öl, 5€")[0]
        Word(text='ol', starts=(0, 1), ends=(1, 2))
        """
        return split_words(self.letters(text))

    def normalize(self, text: str) -> str:
        r"""Return the normalized text (str).

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
            text = _mark.sub("", _nfd(text))
        if self.do_lower_case:
            # Σ first, because lower() would convert a final sigma to another letter.
            text = text.translate(LATE_CAPITALS).replace("Σ", "σ").lower()
        return text

    def words(self, text: str) -> list[str]:
        """Return the normalized words and punctuation marks (list of str) of a text."""
        if text.isascii() and text.isprintable():
            return _ascii_word.findall(text.lower() if self.do_lower_case else text)
        return _word.findall(self.normalize(text))

    def chunks(self, text: str) -> list[str]:
        r"""Return the parts (list of str) of a text between BERT's white space.

        >>> Normalizer().chunks("one\ttwo  three\x0bfour")
        ['one', 'two', 'three\x0bfour']
        """
        if text.isprintable() or not _unlike_split.search(text):
            return text.split()
        return _chunk[not self.clean_text].findall(text)

    def located_chunks(self, text: str) -> tuple[list[str], list[int]]:
        """Return the chunks of a text and the position of each.

        >>> Normalizer().located_chunks("to  be")
        (['to', 'be'], [0, 4])
        """
        chunks = self.chunks(text)
        *starts, end = accumulate([len(chunk) + 1 for chunk in chunks], initial=0)
        if end != len(text) + 1:  # not separated by single spaces
            starts = [match.start() for match in _chunk[not self.clean_text].finditer(text)]
        return chunks, starts


def clean(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Drop control and format characters; replace white space by spaces."""
    for char, start, end in letters:
        if not _dropped.match(char):
            yield Letter(" " if _space.match(char) else char, start, end)


def separate_chinese(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Put spaces around Chinese characters, at the position of the character."""
    for char, start, end in letters:
        for part in (" ", char, " ") if _chinese.match(char) else char:
            yield Letter(part, start, end)


def decompose(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Decompose letters and sort their marks: Unicode's normalization form NFD.

    Unicode Standard Annex 15. As in `tokenizers`, sorted marks take the positions of the marks in
    the text one by one, and a character that a decomposition adds has the position of the letter
    before it.
    """
    given = list(letters)
    index = -1
    for char, is_added in decompositions(letter.char for letter in given):
        index += not is_added
        yield given[index]._replace(char=char)


def strip_marks(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Drop accents and other nonspacing marks."""
    return (letter for letter in letters if not _mark.match(letter.char))


def lower(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Convert capitals to lower case; all letters of a result have the capital's position."""
    for char, start, end in letters:
        for small in char.translate(LATE_CAPITALS).lower():
            yield Letter(small, start, end)


def split_words(letters: Sequence[Letter]) -> list[Word]:
    """Return the words and punctuation marks of normalized letters."""
    words = []
    for match in _word.finditer("".join(letter.char for letter in letters)):
        _, starts, ends = zip(*letters[match.start() : match.end()], strict=True)
        words.append(Word(match[0], starts, ends))
    return words


def _nfd(text: str) -> str:
    """Return NFD of a string, in linear time; `unicodedata` sorts marks in quadratic time."""
    if unicodedata.is_normalized("NFD", text):
        return text
    return "".join(char for char, _ in decompositions(text))


@lru_cache(1 << 14)
def _nfd_of_char(char: str) -> str:
    return char if _late.match(char) else unicodedata.normalize("NFD", char)


def decompositions(
    chars: Iterable[str], decompose: Callable[[str], str] = _nfd_of_char
) -> Iterator[tuple[str, bool]]:
    """Yield the decomposed characters with their marks sorted, and whether each was added."""
    parts = ((part, i > 0) for char in chars for i, part in enumerate(decompose(char)))
    for is_marks, group in groupby(parts, key=lambda part: mark_order(part[0]) > 0):
        run = list(group)
        yield from sorted(run, key=lambda part: mark_order(part[0])) if is_marks else run


@lru_cache(1 << 14)
def mark_order(char: str) -> int:
    """Return the place of a mark among those of its letter (int); 0: it is none, or is too new."""
    return 0 if _late.match(char) else unicodedata.combining(char)
