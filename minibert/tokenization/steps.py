"""The normalization steps that a `tokenizer.json` lists, applied to letters with positions.

Each step turns letters into letters. The files of XLM-RoBERTa, CamemBERT, multilingual E5,
multilingual MiniLM, ALBERT and ModernBERT consist of these steps; another one is refused by its
name. Of regular expressions, only `RUNS` are accepted, because a file could contain one that takes
forever.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, takewhile
from typing import Any

import regex

from minibert.io.text import sanitize
from minibert.tokenization.characters import OTHER_SPACE, SPACE
from minibert.tokenization.charsmap import read_charsmap, replace_clusters
from minibert.tokenization.combining import strip_combining
from minibert.tokenization.normalizer import Letter, decompose, lower
from minibert.tokenization.unicode_forms import Form, is_normal, normal_form

Step = Callable[[Iterable[Letter]], Iterable[Letter]]

# Regular expressions of files, and their meaning here.
RUNS = {
    " {2,}": r" {2,}",
    r"\s{2,}|[\n\r\t]": rf"[{SPACE}{OTHER_SPACE}]{{2,}}|[\n\r\t]",
    r"[\n\r\t]": r"[\n\r\t]",
    r"\n": r"\n",
}
# SentencePiece's step for machine translation: dropped, and replaced by a space.
NMT_DROPPED = regex.compile(r"[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]")
NMT_SPACE = regex.compile(r"[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]")
# Limits of what a file can make of a text.
LONGEST_CONTENT = 100  # letters that a step puts in place of a match
FORMS: tuple[Form, ...] = ("NFC", "NFKC", "NFKD")  # NFD is BERT's, in `normalizer`
# Letters after any step, for each of a text and one more: of a short text, and of a long one.
GROWTH, LONG_GROWTH, SHORT = 100, 4, 1000

_space = regex.compile(f"[{SPACE}{OTHER_SPACE}]")


@dataclass(frozen=True)
class StepNormalizer:
    r"""Normalizer that applies the steps of a `tokenizer.json`, one after the other.

    >>> whole = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "Nmt"}]}
    >>> StepNormalizer(whole).normalize("A\tb")
    'a b'

    Args:
        whole: the part "normalizer" of the file; None for no steps.

    Attributes:
        table: the replacements of the step "Precompiled", if there is one; see `charsmap`.
        replaced: the texts that steps of type "Replace" look for, and their contents; not
            regular expressions, which match white space only.
        kinds: the types of the steps, in order.

    Raises:
        ValueError: a step is unknown or damaged.
    """

    whole: Mapping[str, Any] | None = field(default=None, repr=False)
    table: Mapping[str, str] = field(default_factory=dict, init=False, repr=False)
    replaced: list[tuple[str, str]] = field(default_factory=list, init=False, repr=False)
    kinds: list[Any] = field(default_factory=list, init=False, repr=False)
    _steps: list[Step] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        for part in _flat(self.whole):
            kind = part.get("type")
            if kind not in READERS:
                known = ", ".join(READERS)
                raise ValueError(f"normalizer: expected {known}, got {sanitize(kind)}")
            self._steps.append(READERS[kind](part, self))
            self.kinds.append(kind)

    @property
    def strips_left(self) -> bool:
        """Whether a step drops the white space at the beginning of a text."""
        return any(bool(part.get("strip_left")) for part in _flat(self.whole))

    def keeps(self, text: str) -> bool:
        """Return whether a text is in all forms that the steps are; False for other steps."""
        return all(kind in FORMS and is_normal(text, kind) for kind in self.kinds)

    def letters(self, text: str) -> list[Letter]:
        """Return the letters of the normalized text, each with its position in the text.

        Raises:
            ValueError: the steps, which a file states, make the text many times longer.
        """
        letters = [Letter(char, i, i + 1) for i, char in enumerate(text)]
        most = GROWTH * (min(len(text), SHORT) + 1) + LONG_GROWTH * max(len(text) - SHORT, 0)
        for step in self._steps:
            letters = list(islice(step(letters), most + 1))
            if len(letters) > most:
                raise ValueError(
                    f"normalizer: expected at most {most:,} letters for {len(text):,} of the text, "
                    "got more"
                )
        return letters

    @property
    def first_replaced(self) -> list[tuple[str, str]]:
        """The texts that the first steps replace, before all other steps, and their contents."""
        parts = takewhile(lambda part: part["type"] == "Replace", _flat(self.whole))
        first = takewhile(lambda part: "String" in part["pattern"], parts)
        return self.replaced[: len(list(first))]

    def stages(self, text: str, done: int = 0) -> list[str]:
        """Return a text to which `done` steps were applied, and the result of each further step."""
        found = [[Letter(char, i, i + 1) for i, char in enumerate(text)]]
        for step in self._steps[done:]:
            found.append(list(step(found[-1])))
        return ["".join(letter.char for letter in letters) for letters in found]

    def normalize(self, text: str) -> str:
        """Return the normalized text (str)."""
        return "".join(letter.char for letter in self.letters(text))


def replace_text(letters: Iterable[Letter], pattern: Any, content: str) -> Iterator[Letter]:
    """Replace the matches of a pattern, at the position of the last letter of each match."""
    given = list(letters)
    done = 0
    for match in pattern.finditer("".join(letter.char for letter in given)):
        yield from given[done : match.start()]
        done = match.end()
        for char in content:
            yield given[done - 1]._replace(char=char)
    yield from given[done:]


def strip_spaces(letters: Iterable[Letter], left: bool, right: bool) -> Sequence[Letter]:
    """Drop the white space at the beginning and at the end of a text."""
    given = list(letters)
    while right and given and _space.match(given[-1].char):
        given.pop()
    start = 0
    while left and start < len(given) and _space.match(given[start].char):
        start += 1
    return given[start:]


def prepend_text(letters: Iterable[Letter], text: str) -> Sequence[Letter]:
    """Put letters before a text that is not empty, at the position of its first letter."""
    given = list(letters)
    return [given[0]._replace(char=char) for char in text] + given if given else given


def clean_for_translation(letters: Iterable[Letter]) -> Iterator[Letter]:
    """Drop control characters, and replace white space and format characters by spaces (Nmt)."""
    for letter in letters:
        if not NMT_DROPPED.match(letter.char):
            yield letter._replace(char=" ") if NMT_SPACE.match(letter.char) else letter


def _flat(part: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of a part of a file, those of sequences one by one."""
    if part is None:
        return
    if part.get("type") != "Sequence":
        yield part
        return
    for inner in part["normalizers"]:
        yield from _flat(inner)


def _read_precompiled(part: Mapping[str, Any], normalizer: StepNormalizer) -> Step:
    try:
        data = base64.b64decode(part["precompiled_charsmap"] or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise ValueError("precompiled_charsmap: expected base64") from None
    table = read_charsmap(data)
    dict.update(normalizer.table, table)
    return partial(replace_clusters, replacements=table)


def _read_replace(part: Mapping[str, Any], normalizer: StepNormalizer) -> Step:
    pattern, content = part["pattern"], part["content"]
    ((kind, text),) = pattern.items()
    if kind == "Regex" and text not in RUNS:
        known = " or ".join(map(repr, RUNS))
        raise ValueError(f"Replace: expected the regular expression {known}, got {sanitize(text)}")
    if kind not in ("Regex", "String") or not text or not isinstance(content, str):
        raise ValueError("Replace: expected a pattern and its content")
    if len(content) > LONGEST_CONTENT:
        raise ValueError(
            f"Replace: expected a content of at most {LONGEST_CONTENT} letters, got {len(content)}"
        )
    if kind == "String":
        normalizer.replaced.append((text, content))
    compiled = regex.compile(RUNS[text] if kind == "Regex" else regex.escape(text))
    return partial(replace_text, pattern=compiled, content=content)


def _read_strip(part: Mapping[str, Any], normalizer: StepNormalizer) -> Step:
    return partial(strip_spaces, left=bool(part["strip_left"]), right=bool(part["strip_right"]))


def _read_form(form: Form, part: Mapping[str, Any], normalizer: StepNormalizer) -> Step:
    return partial(normal_form, form=form)


def _read_prepend(part: Mapping[str, Any], normalizer: StepNormalizer) -> Step:
    text = part["prepend"]
    if not isinstance(text, str) or len(text) > LONGEST_CONTENT:
        raise ValueError(f"Prepend: expected a text of at most {LONGEST_CONTENT} letters")
    return partial(prepend_text, text=text)


READERS: dict[str, Callable[[Mapping[str, Any], StepNormalizer], Step]] = {
    "Precompiled": _read_precompiled,
    "Replace": _read_replace,
    "Strip": _read_strip,
    "Nmt": lambda part, normalizer: clean_for_translation,
    "Prepend": _read_prepend,
    "NFD": lambda part, normalizer: decompose,
    **{form: partial(_read_form, form) for form in FORMS},
    "Lowercase": lambda part, normalizer: lower,
    "StripAccents": lambda part, normalizer: strip_combining,
}
