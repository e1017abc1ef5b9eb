"""From text to words."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import Normalizer
from minibert.tokenization.normalizer import chunks

TEXTS = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("aAß. ,Σσς\t\n\r\x0b\x1c\x85\xa0\u2028\u3000\u0301éİ中々\ufffd\x00[]"),
    )
)
NORMALIZERS = st.builds(
    Normalizer, st.booleans(), st.sampled_from([True, False, None]), st.booleans()
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", ["hello", ",", "world", "!"]),
        ("a\tb\nc\rd\xa0e\u3000f\u2028g", list("abcdefg")),
        ("a\x0bb\x0cc\x1cd\x85e", ["abcde"]),  # control characters, not white space
        ("a\x00b\ufffdc\u200bd\xade\ue000f\ud800g", ["abcdefg"]),
        ("a\u0378b", ["a\u0378b"]),  # not assigned, and kept
        ("$+<=>^`|~", list("$+<=>^`|~")),
        ("a€b", ["a€b"]),  # a symbol outside ASCII is a letter like any other
        ("“a”—b…", ["“", "a", "”", "—", "b", "…"]),
        ("Ångström naïve", ["angstrom", "naive"]),
        ("ΟΔΟΣ Σ", ["οδοσ", "σ"]),  # no final ς
        ("İstanbul", ["istanbul"]),
        ("你好abc世", ["你", "好", "abc", "世"]),
        ("ひらがな カタカナ", ["ひらかな", "カタカナ"]),
        ("\U0002b820x", ["\U0002b820x"]),  # Hugging Face's gap
        ("", []),
        (" \n\u200b ", []),
    ],
)
def test_words(text, expected):
    assert Normalizer().words(text) == expected


def test_each_option_does_what_it_says():
    assert Normalizer(do_lower_case=False).words("Été 北京") == ["Été", "北", "京"]
    assert Normalizer(do_lower_case=False, strip_accents=True).words("Été") == ["Ete"]
    assert Normalizer(strip_accents=False).words("Été İ") == ["été", "i\u0307"]
    assert Normalizer(tokenize_chinese_chars=False).words("北京") == ["北京"]


@given(TEXTS, NORMALIZERS)
def test_the_words_are_those_of_the_chunks(text, normalizer):
    words = [word for chunk in chunks(text) for word in normalizer.words(chunk)]
    assert normalizer.words(text) == words


@given(TEXTS, NORMALIZERS)
def test_words_are_clean(text, normalizer):
    for word in normalizer.words(text):
        assert word
        for letter in word:
            assert not letter.isspace()
            assert unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co")
            punctuation = unicodedata.category(letter)[0] == "P" or (
                letter.isascii() and not letter.isalnum()
            )
            assert not punctuation or len(word) == 1


@given(st.text(st.characters(max_codepoint=0x24F)), NORMALIZERS)
def test_normalising_again_changes_nothing(text, normalizer):
    words = normalizer.words(text)
    assert normalizer.words(" ".join(words)) == words


@given(st.text(st.characters(max_codepoint=127)), NORMALIZERS)
def test_plain_ascii_takes_no_other_road_than_the_rest(text, normalizer):
    assert normalizer.words(text + " ☃")[:-1] == normalizer.words(text)
