"""Words of simple letters are normalized as by the steps, letter by letter."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.tokenization.simple_letters import BETWEEN, SimpleLetters
from minibert.tokenization.steps import StepNormalizer
from tests.tokenization.spm_files import precompiled

TABLE = precompiled(
    {"…": "...", "e\u0301": "é", "\u200b": "", "¨": " \u0301", "Z": "▁", "q": "ab", "ㅏ": "x"}
)


def replace(text, content):
    return {"type": "Replace", "pattern": {"String": text}, "content": content}


STEPS = {
    "none": [],
    "table": [TABLE],
    "albert": [
        replace("``", '"'),
        replace("''", ""),
        *({"type": kind} for kind in ("NFKD", "StripAccents", "Lowercase")),
        TABLE,
    ],
    "late": [{"type": "Lowercase"}, replace("ab", "c"), replace("x", "y"), {"type": "Nmt"}],
    "NFD": [{"type": "NFD"}, TABLE],
    "NFC": [{"type": "NFC"}],
    "between": [replace(f"b{BETWEEN}a", "x"), replace("x", BETWEEN)],
    "prepend": [{"type": "Prepend", "prepend": "x"}],
    "NFKC": [{"type": "NFKC"}, {"type": "Lowercase"}],
}
ODD = "éÉe\u0301\u0300ﬁ…¨Zqㅎㅏ하각ᄒ\u1161\u11a8ﾞｶ🇩🇪👍🏽\u0600\u200b\u200dக\u0bbe▁\ufffd'`\x1f\0İΣ"
WORDS = st.text(st.sampled_from("abxy ") | st.sampled_from(ODD) | st.characters(), max_size=8)


@cache
def letters_of(steps):
    normalizer = StepNormalizer({"type": "Sequence", "normalizers": STEPS[steps]})
    return normalizer, SimpleLetters(normalizer, "▁")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*STEPS]), st.lists(WORDS, min_size=1, max_size=4))
def test_normalize_returns_the_normalized_word_or_none(steps, words):
    normalizer, letters = letters_of(steps)
    for word, found in zip(words, letters.normalize(words), strict=True):
        places = letters.places(word)
        expected = normalizer.letters(word)
        assert found in (None, "".join(letter.char for letter in expected))
        if found is not None and places is not None:
            assert places == [letter.start for letter in expected]
            assert [place + 1 for place in places] == [letter.end for letter in expected]


@pytest.mark.parametrize(
    ("steps", "word", "expected"),
    [
        ("table", "ab…", "ab..."),
        ("table", "aZ", None),  # it becomes the mark of a space
        ("table", "e\u0301", None),
        ("table", "a b", None),
        ("albert", "``É``", '"e"'),
        ("albert", "don't", "don't"),
        ("late", "bc", None),
        ("late", "xX", "yy"),
        ("NFKC", "하ﬁ", "하fi"),
        ("NFKC", "ㅎㅏ", None),  # two letters of Hangul become one
        ("NFKC", "Ab cd", None),
        ("none", f"a{BETWEEN}b", None),
        ("between", "x", None),  # it becomes a separator of words
        ("between", "yz", "yz"),
        ("none", "\ue000\U00050000", "\ue000\U00050000"),
    ],
)
def test_normalize_of_words(steps, word, expected):
    assert letters_of(steps)[1].normalize([word, "i"]) == [expected, "i"]
    assert letters_of(steps)[1].normalize([word]) == [expected]


def test_spaces_and_line_ends_are_simple_where_they_stay():
    normalizer, _ = letters_of("NFKC")
    assert SimpleLetters(normalizer).normalize(["Ab cd\n", "a\tb"]) == ["ab cd\n", None]
    normalizer, _ = letters_of("late")  # Nmt makes a space of a line end
    assert SimpleLetters(normalizer).normalize(["a b"]) == [None]
