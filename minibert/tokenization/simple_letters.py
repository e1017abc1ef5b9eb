r"""Letters whose normalized form does not depend on their neighbours.

A letter is *simple* if no step of the normalizer looks beyond it. Then the steps are applied to it
once, and a word of simple letters is normalized by `str.translate`. A step looks at more than one
letter in four cases, so each step must turn a simple letter into text that excludes them:

- it replaces a grapheme cluster, or sorts and composes a letter and its marks (UAX 29 and 15): the
  text begins with a letter, digit, punctuation mark or symbol that joins nothing before it, and
  contains nothing that joins what follows;
- it replaces a text of several letters: the text contains no letter of it; but the texts that the
  first steps replace are replaced by `str.replace`, in a word whose letters are simple for the
  others;
- it looks at white space: the text contains none, and nothing that becomes a space, or ▁;
- it puts letters before the whole text: then no letter is simple.
"""

from collections.abc import Sequence

import regex

from minibert.tokenization.steps import FORMS, NMT_SPACE, StepNormalizer

# Letters, digits, punctuation, symbols; code points for private use, and those of no character.
VISIBLE = r"\p{L}\p{N}\p{P}\p{S}\p{Co}\p{Cn}"
# Symbols that are white space to a step, or join the cluster before or after them.
NEVER = r"\u2581\ufffd\p{GCB=Extend}\p{GCB=SpacingMark}\p{GCB=Prepend}"
# A vowel or a final consonant of Hangul is composed with the letter before it.
_begins = regex.compile(rf"(?V1)[[{VISIBLE}]--[{NEVER}\p{{GCB=V}}\p{{GCB=T}}]]")
_continues = regex.compile(rf"(?V1)[[{VISIBLE}\p{{M}}]--[\u2581\ufffd\p{{GCB=Prepend}}]]+")
NOT_SIMPLE = "\0"
SPACED = {*FORMS, "NFD", "Lowercase"}  # steps that keep spaces and line ends
BETWEEN = "\x1f"  # words that are normalized together


class SimpleLetters(dict[int, str]):
    r"""The normalized forms of simple letters, by code point: a table for `str.translate`.

    >>> letters = SimpleLetters(StepNormalizer({"type": "NFKC"}), "▁")
    >>> letters.normalize(["ﬁne", "fine\u0301"])
    ['fine', None]

    Args:
        normalizer: normalizes the text.
        replacement: the letter that replaces a space, which no letter may become. None: spaces stay
            spaces; then they and line ends are simple if all steps are in `SPACED`.
    """

    def __init__(self, normalizer: StepNormalizer, replacement: str | None = None):
        first = normalizer.first_replaced
        if any(BETWEEN in old + new for old, new in first):
            first = []  # it would join words, or split one
        self._normalizer, self._first = normalizer, first
        others = normalizer.replaced[len(self._first) :]
        self._never = {replacement, *(c for text, _ in others for c in text if len(text) > 1)}
        self[ord(BETWEEN)] = BETWEEN
        if replacement is None and SPACED.issuperset(normalizer.kinds):
            self |= {ord(space): space for space in " \n"}

    def __missing__(self, code: int) -> str:
        """Compute and store the normalized form of a letter; `NOT_SIMPLE` if it is not simple."""
        stages = self._normalizer.stages(chr(code), len(self._first))
        is_simple = "Prepend" not in self._normalizer.kinds and all(map(self._is_simple, stages))
        self[code] = stages[-1] if is_simple else NOT_SIMPLE
        return self[code]

    def _is_simple(self, text: str) -> bool:
        return (
            _begins.match(text) is not None
            and _continues.fullmatch(text) is not None
            and self._never.isdisjoint(text)
            and NMT_SPACE.search(text) is None
        )

    def normalize(self, words: Sequence[str]) -> list[str | None]:
        """Return each normalized word (str), or None if not all of its letters are simple."""
        text = BETWEEN.join(words)
        if text.count(BETWEEN) != len(words) - 1:
            return [None if BETWEEN in word else self.normalize([word])[0] for word in words]
        for old, new in self._first:
            text = text.replace(old, new)
        if not text.isascii() and len(words) > 1:  # ASCII is translated much faster
            return [self.normalize([word])[0] for word in words]
        return [
            None if NOT_SIMPLE in word or not word else word
            for word in text.translate(self).split(BETWEEN)
        ]

    def places(self, word: str) -> list[int] | None:
        """Return the index in a word of the letter that each normalized letter is made from.

        Returns:
            None if not all letters are simple, or the first steps replace some of them.
        """
        if any(old in word for old, _ in self._first):
            return None
        found = self.normalize(list(word))
        return None if None in found else [i for i, text in enumerate(found) for _ in text or ""]
