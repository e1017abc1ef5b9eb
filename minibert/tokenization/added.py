"""Tokens that are found in the text before it is cut into words: the special ones, and your own."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import regex

from minibert.tokenization.characters import OTHER_SPACE, SPACE

_in_word = regex.compile(r"\w")
_space = re.compile(f"[{SPACE}{OTHER_SPACE}]")

SURROGATE = re.compile(r"[\ud800-\udfff]")  # half a letter, which no file can hold

Span = tuple[int, int, int | None]  # where it starts and ends, and its id if it is a token


@dataclass(frozen=True)
class AddedToken:
    """A token that is taken whole wherever it stands, as in Hugging Face's `tokenizers`.

    Args:
        content: its text.
        single_word: not inside a word.
        lstrip, rstrip: it takes the white space before, or after it, with it.
        normalized: it is looked for in the normalised text, and normalised itself; else in the
            text as it was given.
        special: `decode` leaves it out, and `split_special_tokens` makes it plain text.

    Raises:
        TypeError: the text is not a string.
        ValueError: it is empty, or can't be written as UTF-8.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True
    special: bool = False

    def __post_init__(self):
        if not isinstance(self.content, str):
            kind = type(self.content).__name__
            raise TypeError(f"added token: expected a string, got {kind}")
        if not self.content or SURROGATE.search(self.content):
            got = repr(self.content) if self.content else "an empty one"
            raise ValueError(f"added token: expected a text, got {got}")


class Finder:
    """Finds tokens in texts: the leftmost first, and the longest of those.

    >>> list(Finder({"[A]": (AddedToken("[A]", rstrip=True), 7)}).split("x[A]  y"))
    [(0, 1, None), (1, 6, 7), (6, 7, None)]

    Args:
        tokens: the texts to look for, each with its token and its id.
    """

    def __init__(self, tokens: Mapping[str, tuple[AddedToken, int]]):
        self.tokens = tokens
        longest_first = sorted(tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def found_in(self, text: str) -> bool:
        """Whether any of the tokens' texts occurs in this one.

        Raises:
            TypeError: the text is not a string.
        """
        if not isinstance(text, str):
            raise TypeError(f"text: expected a string, got {type(text).__name__}")
        return self._pattern.search(text) is not None

    def split(self, text: str, *, keep_special: bool = True) -> Iterator[Span]:
        """Yield the tokens of a text and what lies between them, in order, nothing empty.

        Args:
            text: where to look.
            keep_special: special tokens count as tokens, not as text.
        """
        done = 0
        for match in self._pattern.finditer(text):
            token, i = self.tokens[match[0]]
            start, end = match.span()
            if token.special and not keep_special:
                continue
            beside = text[start - 1 : start], text[end : end + 1]
            if token.single_word and any(map(_in_word.match, beside)):
                continue
            while token.lstrip and start > done and _space.match(text, start - 1):
                start -= 1
            while token.rstrip and _space.match(text, end):
                end += 1
            if done < start:
                yield done, start, None
            yield start, end, i
            done = end
        if done < len(text):
            yield done, len(text), None
