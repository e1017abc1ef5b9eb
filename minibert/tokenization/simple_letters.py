r"""Letters that a normalizer treats alike in every text: it makes the same of them next to others.

A letter is *simple* if no step of the normalizer looks beyond it. Then the steps are applied to it
once, and a word of simple letters is normalized by `str.translate`. A step looks at more than one
letter in three cases, so each step must turn a simple letter into text that excludes them:

- it replaces a grapheme cluster, or sorts and composes a letter and its marks (UAX 29 and 15): the
  text begins with a letter, digit, punctuation mark or symbol that joins nothing before it, and
  contains nothing that joins what follows;
- it replaces a text of several letters: two neighbours of a word do not both contain letters of it;
- it looks at white space: the text contains none, and nothing that becomes a space, or ▁.
"""

import regex

from minibert.tokenization.steps import NMT_SPACE, StepNormalizer

VISIBLE = r"\p{L}\p{N}\p{P}\p{S}"
# Symbols that are white space to a step, or join the cluster before or after them.
NEVER = r"\u2581\ufffd\p{GCB=Extend}\p{GCB=SpacingMark}\p{GCB=Prepend}"
# A vowel or a final consonant of Hangul is composed with the letter before it.
_begins = regex.compile(rf"(?V1)[[{VISIBLE}]--[{NEVER}\p{{GCB=V}}\p{{GCB=T}}]]")
_continues = regex.compile(r"(?V1)[[\p{L}\p{N}\p{P}\p{S}\p{M}]--[\u2581\ufffd\p{GCB=Prepend}]]+")
NOT_SIMPLE = "\0"
PART_OF_PATTERN = "\1"  # around a letter of a longer text to replace


class SimpleLetters(dict[int, str]):
    r"""What a normalizer makes of simple letters, by code point: a table for `str.translate`.

    >>> letters = SimpleLetters(StepNormalizer({"type": "NFKC"}), "▁")
    >>> letters.normalize("ﬁne"), letters.normalize("fine\u0301")
    ('fine', None)

    Args:
        normalizer: normalizes the text.
        replacement: the letter that replaces a space, which no letter may become.
    """

    def __init__(self, normalizer: StepNormalizer, replacement: str):
        self._normalizer, self._replacement = normalizer, replacement
        self._patterns = {char for text, _ in normalizer.replaced for char in text if len(text) > 1}

    def __missing__(self, code: int) -> str:
        """Compute and store what a letter becomes, with a mark if it is not simple."""
        stages = self._normalizer.stages(chr(code))
        is_simple = all(map(self._is_simple, stages))
        if not is_simple:
            self[code] = NOT_SIMPLE
        elif self._patterns.isdisjoint("".join(stages)):
            self[code] = stages[-1]
        else:
            self[code] = PART_OF_PATTERN + stages[-1] + PART_OF_PATTERN
        return self[code]

    def _is_simple(self, text: str) -> bool:
        return (
            _begins.match(text) is not None
            and _continues.fullmatch(text) is not None
            and self._replacement not in text
            and NMT_SPACE.search(text) is None
        )

    def normalize(self, word: str) -> str | None:
        """Return the normalized word (str), or None if not all of its letters are simple."""
        text = word.translate(self)
        if NOT_SIMPLE in text or 2 * PART_OF_PATTERN in text:
            return None
        return text.replace(PART_OF_PATTERN, "")

    def places(self, word: str) -> list[int]:
        """Return the index of the letter of a word that each normalized letter is made from."""
        return [i for i, char in enumerate(word) for _ in self.normalize(char) or ""]
