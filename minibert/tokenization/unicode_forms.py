"""Unicode's normalization forms NFC, NFKC and NFKD, of letters with positions.

Unicode Standard Annex 15. A form decomposes each character, fully (NFKD, NFKC) or into canonical
equivalents alone (NFD, NFC), and sorts the marks of each letter. NFC and NFKC then put letters and
marks together again. `normalizer` contains NFD, which BERT needs.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from typing import Literal

from minibert.tokenization.characters import LATE, character_class
from minibert.tokenization.normalizer import Letter, decompositions, mark_order

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
LAST = 0x30000  # no later character decomposes
BLOCKED = -1  # the order before the first mark of a letter, which nothing separates from it

# Characters with a compatibility decomposition, added since Unicode 10.
LATE_COMPATIBILITY = character_class("""
    32FF A7F1-A7F4 AB69 10781-10785 10787-107B0 107B2-107BA 1CCD6-1CCF9 1E030-1E06D 1F10D-1F10F
    1F16C-1F16F 1FBF0-1FBF9
""")
_late = re.compile(f"[{LATE}{LATE_COMPATIBILITY}]")

Part = tuple[str, int]  # a character, and how many characters of the text it takes the place of


def normal_form(letters: Iterable[Letter], form: Form) -> Iterator[Letter]:
    r"""Return the letters of a normalization form, as `tokenizers` places them.

    A composed letter has the position of the first character that it takes the place of; one that a
    decomposition adds has that of the letter before it; sorted marks take the positions one by one.

    >>> letters = [Letter(char, i, i + 1) for i, char in enumerate("e\u0301\ufb01")]
    >>> [tuple(letter) for letter in normal_form(letters, "NFKC")]
    [('é', 0, 1), ('f', 2, 3), ('i', 2, 3)]
    """
    given = list(letters)
    parts = _decomposed((letter.char for letter in given), "NFKD" if "K" in form else "NFD")
    index = 0  # of the first letter that no part has taken the place of
    for char, taken in _composed(parts) if form.endswith("C") else parts:
        yield given[index if taken else index - 1]._replace(char=char)
        index += taken


def is_normal(text: str, form: Form) -> bool:
    """Return whether a text is in a form; False for characters that Unicode added late."""
    if text.isascii():
        return True
    return unicodedata.is_normalized(form, text) and not _late.search(text)


def changed_characters(form: Form) -> Iterator[tuple[str, str]]:
    """Yield the characters that a form changes, and what it makes of them."""
    for char in map(chr, range(0x80, LAST)):
        found = unicodedata.normalize(form, char)
        if found != char:
            yield char, found


def _decomposed(chars: Iterable[str], form: Form) -> Iterator[Part]:
    """Return the characters of a decomposition, with the marks of each letter sorted."""
    found = decompositions(chars, partial(_decomposition, form=form))
    return ((char, int(not is_added)) for char, is_added in found)


def _composed(parts: Iterable[Part]) -> list[Part]:
    """Return the parts with marks composed with the last letter that nothing separates them from.

    A mark is separated by one of the same or a higher order between them.
    """
    done: list[Part] = []
    letter = None  # the index of the last letter
    last = BLOCKED  # the order of the last mark after it that was not composed
    for char, taken in parts:
        order = mark_order(char)
        if letter is not None and last < order:
            whole = _composition(done[letter][0], char)
            if whole is not None:
                done[letter] = whole, done[letter][1] + taken
                continue
        if order == 0:
            letter, last = len(done), BLOCKED
        else:
            last = order
        done.append((char, taken))
    return done


@lru_cache(1 << 14)
def _decomposition(char: str, form: Form) -> str:
    return char if _late.match(char) else unicodedata.normalize(form, char)


@lru_cache(1 << 14)
def _composition(first: str, second: str) -> str | None:
    whole = unicodedata.normalize("NFC", first + second)
    return whole if len(whole) == 1 and not _late.search(first + second + whole) else None
