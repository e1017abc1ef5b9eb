"""Added tokens: special and user-defined tokens, found before text is split into words."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import regex

from minibert.tokenization.characters import OTHER_SPACE, SPACE

_in_word = regex.compile(r"\w")
_space = re.compile(f"[{SPACE}{OTHER_SPACE}]")

SURROGATE = re.compile(r"[\ud800-\udfff]")  # half a character; cannot be written as UTF-8

# Letters in the texts of all tokens for a regular expression, which tries one token after the other
# at each position. The tables of models have up to 12,000.
FEW_LETTERS = 20_000
LONGEST_TOKEN = 1000  # letters

Span = tuple[int, int, int | None]  # start, end, and the id of an added token or None


@dataclass(frozen=True)
class AddedToken:
    """A token that is never split, as in Hugging Face's `tokenizers`.

    Args:
        content (str): text of the token.
        single_word (bool): do not match inside a word.
        lstrip (bool): include the white space before the token.
        rstrip (bool): include the white space after the token.
        normalized (bool): normalize the token and search for it in the normalized text; otherwise
            search in the original text.
        special (bool): `decode` can skip the token, and `split_special_tokens` disables it.

    Raises:
        TypeError: the text is not a string.
        ValueError: the text is empty or cannot be written as UTF-8.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True
    special: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.content, str):
            kind = type(self.content).__name__
            raise TypeError(f"added token: expected a string, got {kind}")
        if not self.content or SURROGATE.search(self.content):
            got = repr(self.content) if self.content else "an empty one"
            raise ValueError(f"added token: expected a text, got {got}")


def as_added_tokens(tokens: Iterable[str | AddedToken], special: bool = False) -> list[AddedToken]:
    """Return tokens as `AddedToken`s; a text is normalized unless it is special.

    Raises:
        TypeError: `tokens` is one string.
    """
    if isinstance(tokens, str):
        raise TypeError(f"tokens: expected several, got one string; pass [{tokens!r}]")
    return [
        AddedToken(token, normalized=not special, special=special)
        if isinstance(token, str)
        else token
        for token in tokens
    ]


class Finder:
    """Search for added tokens: leftmost first, then longest, in time proportional to the text.

    >>> list(Finder({"[A]": (AddedToken("[A]", rstrip=True), 7)}).split("x[A]  y"))
    [(0, 1, None), (1, 6, 7), (6, 7, None)]

    Args:
        tokens: the token and its id for each text to search for.

    Raises:
        ValueError: a text has more than `LONGEST_TOKEN` letters.
    """

    def __init__(self, tokens: Mapping[str, tuple[AddedToken, int]]):
        self.tokens = tokens
        self._longest = max(map(len, tokens), default=0)
        if self._longest > LONGEST_TOKEN:
            raise ValueError(
                f"added token: expected at most {LONGEST_TOKEN:,} letters, got {self._longest:,}"
            )
        self._sorted: list[str] = []
        if sum(map(len, tokens)) <= FEW_LETTERS:
            longest_first = sorted(tokens, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
            return
        self._pattern = re.compile(f"[{re.escape(''.join({text[0] for text in tokens}))}]")
        self._sorted = sorted(tokens)
        # The longest token that each token begins with, except itself.
        self._beginnings: dict[str, str | None] = {}
        chain: list[str] = []
        for text in self._sorted:
            while chain and not text.startswith(chain[-1]):
                chain.pop()
            self._beginnings[text] = chain[-1] if chain else None
            chain.append(text)

    def found_in(self, text: str) -> bool:
        """Return whether a text contains the text of any token.

        Raises:
            TypeError: the text is not a string.
        """
        if not isinstance(text, str):
            raise TypeError(f"text: expected a string, got {type(text).__name__}")
        if not self._sorted:
            return self._pattern.search(text) is not None
        return next(self._matches(text), None) is not None

    def _matches(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the start and the end of each token in a text."""
        if not self._sorted:
            yield from (match.span() for match in self._pattern.finditer(text))
            return
        start = 0
        while (found := self._pattern.search(text, start)) is not None:
            start = found.start()
            size = len(self._token_at(text, start))
            if size:
                yield start, start + size
            start += size or 1

    def _token_at(self, text: str, start: int) -> str:
        """Return the longest token that a text continues with at a position (str); "" for none.

        It is the last one in alphabetical order that is not after the text, or one that this one
        begins with.
        """
        rest = text[start : start + self._longest]
        index = bisect_right(self._sorted, rest) - 1
        token = self._sorted[index] if index >= 0 else None
        while token is not None and not rest.startswith(token):
            token = self._beginnings[token]
        return token or ""

    def split(self, text: str, *, keep_special: bool = True) -> Iterator[Span]:
        """Yield the added tokens of a text and the parts between them, in order.

        No part is empty.

        Args:
            text: the text.
            keep_special (bool): search for special tokens; otherwise they are plain text.
        """
        done = 0  # end of the last span
        for start, end in self._matches(text):
            token, i = self.tokens[text[start:end]]
            if token.special and not keep_special:
                continue
            neighbours = text[start - 1 : start], text[end : end + 1]
            if token.single_word and any(map(_in_word.match, neighbours)):
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
