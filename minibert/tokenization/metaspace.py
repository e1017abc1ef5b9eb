"""Spaces as letters: SentencePiece's words begin with ▁, so that joining them restores the text.

Kudo and Richardson (2018), section 3.1.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from minibert.io.text import sanitize
from minibert.tokenization.characters import OTHER_SPACE, PUNCTUATION, SPACE
from minibert.tokenization.normalizer import Letter

Scheme = Literal["always", "first", "never"]

PUNCTUATION_SPLIT = {"type": "Punctuation", "behavior": "Isolated"}

_word = re.compile(f"[^{SPACE}{OTHER_SPACE}]+")
_mark = re.compile(f"[{PUNCTUATION}]|[^{PUNCTUATION}]+")


@dataclass(frozen=True)
class Metaspace:
    """Splitter of normalized text into words; each space becomes the first letter of a word.

    >>> letters = [Letter(char, i, i + 1) for i, char in enumerate("to be")]
    >>> words = Metaspace().words(letters, is_first=True)
    >>> ["".join(letter.char for letter in word) for word in words]
    ['▁to', '▁be']

    Args:
        splits_spaces (bool): split at white space first, and drop it. Otherwise, a second space is
            a word of its own.
        prepend_scheme: put ▁ before a word that does not begin with it: `always`, or only at the
            beginning of the text (`first`), or `never`. The ▁ has the position of the letter after
            it.
        split (bool): split before each ▁.
        replacement: the letter that replaces a space.
        splits_punctuation (bool): split before and after each punctuation mark first, so that it is
            a word of its own.
    """

    splits_spaces: bool = True
    prepend_scheme: Scheme = "always"
    split: bool = True
    replacement: str = "▁"
    splits_punctuation: bool = False

    def words(self, letters: Sequence[Letter], is_first: bool) -> Iterator[Sequence[Letter]]:
        """Yield the words of normalized text, each a list of its letters.

        Args:
            letters: the letters of a part of a text.
            is_first (bool): whether the part begins the text.
        """
        for part in self._parts(letters):
            word = [
                letter._replace(char=self.replacement) if letter.char == " " else letter
                for letter in part
            ]
            begins_text = is_first and word[0].start == 0
            if word[0].char != self.replacement and (
                self.prepend_scheme == "always" or (self.prepend_scheme == "first" and begins_text)
            ):
                word.insert(0, word[0]._replace(char=self.replacement))
            starts = [0]
            if self.split:
                chars = [letter.char for letter in word]
                starts += [i for i, char in enumerate(chars) if i and char == self.replacement]
            for start, end in zip(starts, [*starts[1:], len(word)], strict=True):
                yield word[start:end]

    def join(self, tokens: Sequence[str]) -> str:
        """Return the text (str) of tokens, without the space at its beginning.

        >>> Metaspace().join(["▁to", "▁b", "e"])
        'to be'
        """
        first, *others = tokens if tokens else [""]
        space = "" if self.prepend_scheme != "never" else " "
        parts = [first.replace(self.replacement, space)]
        return "".join(parts + [token.replace(self.replacement, " ") for token in others])

    def _parts(self, letters: Sequence[Letter]) -> Iterator[Sequence[Letter]]:
        """Yield the parts of normalized text that are split on their own."""
        if not (self.splits_spaces or self.splits_punctuation):
            if letters:
                yield letters
            return
        pattern = _word if self.splits_spaces else _mark
        for match in pattern.finditer("".join(letter.char for letter in letters)):
            yield letters[match.start() : match.end()]

    def whole(self) -> dict[str, Any]:
        """Return the pre-tokenizer of `tokenizer.json`."""
        metaspace = self.decoder()
        if not (self.splits_spaces or self.splits_punctuation):
            return metaspace
        first = {"type": "WhitespaceSplit"} if self.splits_spaces else PUNCTUATION_SPLIT
        return {"type": "Sequence", "pretokenizers": [first, metaspace]}

    def decoder(self) -> dict[str, Any]:
        """Return the decoder of `tokenizer.json`."""
        return {
            "type": "Metaspace",
            "replacement": self.replacement,
            "prepend_scheme": self.prepend_scheme,
            "split": self.split,
        }

    @classmethod
    def from_whole(cls, part: dict[str, Any]) -> Self:
        """Return the splitter of the pre-tokenizer of `tokenizer.json`.

        Raises:
            ValueError: it is not a Metaspace, alone or after a WhitespaceSplit or Punctuation.
        """
        parts = part["pretokenizers"] if part.get("type") == "Sequence" else [part]
        kinds = [each.get("type") for each in parts]
        splits_punctuation = kinds[0] == "Punctuation"
        if kinds[:-1] not in ([], ["WhitespaceSplit"], ["Punctuation"]) or kinds[-1] != "Metaspace":
            raise ValueError(
                "pre_tokenizer: expected Metaspace, or WhitespaceSplit or Punctuation and "
                f"Metaspace, got {sanitize(', '.join(map(str, kinds)))}"
            )
        if splits_punctuation and parts[0].get("behavior", "Isolated") != "Isolated":
            raise ValueError(f"behavior: expected Isolated, got {sanitize(parts[0]['behavior'])}")
        options = parts[-1]
        # In old files, `add_prefix_space` states the scheme.
        old = "always" if options.get("add_prefix_space", True) else "never"
        scheme, split = options.get("prepend_scheme", old), options.get("split", True)
        replacement = options["replacement"]
        if scheme not in get_args(Scheme):
            names = ", ".join(get_args(Scheme))
            raise ValueError(f"prepend_scheme: expected one of {names}, got {sanitize(scheme)}")
        if not isinstance(split, bool) or not isinstance(replacement, str) or len(replacement) != 1:
            raise ValueError("pre_tokenizer: expected a Metaspace with one letter as replacement")
        splits_spaces = kinds[0] == "WhitespaceSplit"
        return cls(splits_spaces, scheme, split, replacement, splits_punctuation)
