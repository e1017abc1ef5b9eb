"""Normalizer: words, letters and chunks of a text, and the character tables."""

import re
import sys
import unicodedata
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import Normalizer, characters

TEXTS = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("aAß. ,Σσς\t\n\r\x0b\x1c\x85\xa0\u2028\u3000\u0301éİ中々\ufffd\x00[]"),
    )
)
NORMALIZERS = st.builds(
    Normalizer, st.booleans(), st.sampled_from([True, False, None]), st.booleans(), st.booleans()
)


def in_class(letter, name):
    return re.match(f"[{name}]", letter) is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", ["hello", ",", "world", "!"]),
        ("a\tb\nc\rd\xa0e\u3000f\u2028g", list("abcdefg")),
        ("a\x0bb\x0cc\x1cd\x85e", ["abcde"]),  # control characters, not white space
        ("a\x00b\ufffdc\u200bd\xade\ue000f\ud800g", ["abcdefg"]),
        ("a\u0378b", ["a\u0378b"]),  # unassigned, kept
        ("$+<=>^`|~", list("$+<=>^`|~")),
        ("a€b", ["a€b"]),  # a symbol outside ASCII is a letter
        ("“a”—b…", ["“", "a", "”", "—", "b", "…"]),
        ("Ångström naïve", ["angstrom", "naive"]),
        ("ΟΔΟΣ Σ", ["οδοσ", "σ"]),  # without a final ς
        ("İstanbul", ["istanbul"]),
        ("你好abc世", ["你", "好", "abc", "世"]),
        ("ひらがな カタカナ", ["ひらかな", "カタカナ"]),
        ("\U0002b820x", ["\U0002b820x"]),  # Hugging Face's gap
        ("", []),
        (" \n\u200b ", []),
    ],
)
def test_words_of_examples(text, expected):
    assert Normalizer().words(text) == expected


def test_words_depend_on_each_option():
    assert Normalizer(do_lower_case=False).words("Été 北京") == ["Été", "北", "京"]
    assert Normalizer(do_lower_case=False, strip_accents=True).words("Été") == ["Ete"]
    assert Normalizer(strip_accents=False).words("Été İ") == ["été", "i\u0307"]
    assert Normalizer(tokenize_chinese_chars=False).words("北京") == ["北京"]
    kept = Normalizer(clean_text=False).words("a\u200bb\x1cc\x0bd\x85e\u3000f")
    assert kept == ["a\u200bb\x1cc", "d", "e", "f"]


def test_character_class_matches_its_code_points():
    written = characters.character_class("41-43 1F600")
    assert re.findall(f"[{written}]", "@ABCD-UX\U0001f600") == [*"ABC", "\U0001f600"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "categories", "others"),
    [
        (characters.SPACE, ["Zs", "Zl", "Zp"], "\t\n\r"),
        (characters.DROPPED, ["Cc", "Cf", "Cs", "Co"], "\ufffd"),
        (characters.PUNCTUATION, ["P"], "$+<=>^`|~\u166d\U000111c9"),
        (characters.MARK, ["Mn"], "\u1734"),
    ],
)
def test_character_tables_have_their_unicode_categories(name, categories, others):
    """The parity tests compare the tables with `tokenizers`; this test with `unicodedata`."""
    pattern = re.compile(f"[{name}]")
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    found = pattern.findall(every)
    outsiders = [c for c in found if not unicodedata.category(c).startswith(tuple(categories))]
    assert sorted(outsiders) == sorted(others)
    # No character with this category since Unicode 3.2 is missing, except line ends and tabs.
    old = unicodedata.ucd_3_2_0
    for c in set(every) - set(found) - set("\t\n\r"):
        category = old.category(c)
        assert not category.startswith(tuple(categories)) or unicodedata.category(c) != category


def test_normalize_lowers_capitals_of_later_unicode_versions():
    small = Normalizer(strip_accents=False).normalize("\ua7cb\ua7cc\ua7dc\U00010d50\U00016eb8")
    assert small == "\u0264\ua7cd\u019b\U00010d70\U00016ed3"


def test_letters_and_normalize_sort_marks():
    normalizer = Normalizer(do_lower_case=False, strip_accents=True)
    # Two spacing marks of classes 226 and 216 are kept and sorted; U+0301 between them is dropped.
    letters = normalizer.letters("a\U0001d16d\u0301\U0001d165")
    assert [tuple(letter) for letter in letters] == [
        ("a", 0, 1),
        ("\U0001d165", 1, 2),
        ("\U0001d16d", 2, 3),
    ]
    # A dropped mark of class 1 between them makes no difference.
    assert normalizer.normalize("a\U0001d16d\u0338\U0001d165") == "a\U0001d165\U0001d16d"
    # A mark of Unicode 14 is not reordered.
    assert normalizer.normalize("a\u302e\u1715\u302f") == "a\u302e\u1715\u302f"


def test_located_chunks_split_at_control_characters_unless_dropped():
    text = "a\x0bb  c"
    assert Normalizer().located_chunks(text) == (["a\x0bb", "c"], [0, 5])
    kept = Normalizer(clean_text=False)
    assert kept.located_chunks(text) == (["a", "b", "c"], [0, 2, 5])


@given(TEXTS, NORMALIZERS)
def test_words_equal_the_words_of_the_chunks(text, normalizer):
    chunks, starts = normalizer.located_chunks(text)
    assert chunks == normalizer.chunks(text)
    assert [text[start : start + len(c)] for c, start in zip(chunks, starts, strict=True)] == chunks
    assert normalizer.words(text) == [word for c in chunks for word in normalizer.words(c)]


@given(TEXTS, NORMALIZERS)
def test_letters_and_located_words_equal_normalize_and_words(text, normalizer):
    letters = normalizer.letters(text)
    assert "".join(letter.char for letter in letters) == normalizer.normalize(text)
    words = normalizer.located_words(text)
    assert [word.text for word in words] == normalizer.words(text)
    for word in words:
        assert len(word.text) == len(word.starts) == len(word.ends)
        assert min(word.starts) >= 0
        assert max(word.ends) <= len(text)


@given(st.text(st.characters(max_codepoint=0x24F)), st.booleans())
def test_letters_have_the_positions_of_their_sources(text, lower):
    for char, start, end in Normalizer(do_lower_case=lower).letters(text):
        assert char in Normalizer(do_lower_case=lower).normalize(text[start:end])


@given(TEXTS, NORMALIZERS)
def test_words_contain_no_space_or_inner_punctuation(text, normalizer):
    for word in normalizer.words(text):
        assert word
        for letter in word:
            assert not in_class(letter, characters.SPACE)
            assert not normalizer.clean_text or not in_class(letter, characters.DROPPED)
            punctuation = in_class(letter, characters.PUNCTUATION)
            assert not punctuation or len(word) == 1


@given(st.text(st.characters(max_codepoint=0x24F)), NORMALIZERS)
def test_words_are_idempotent(text, normalizer):
    words = normalizer.words(text)
    assert normalizer.words(" ".join(words)) == words


@given(st.text(st.characters(max_codepoint=127)), NORMALIZERS)
def test_words_of_ascii_equal_those_of_the_general_path(text, normalizer):
    assert normalizer.words(text + " ☃")[:-1] == normalizer.words(text)


@pytest.mark.slow
def test_words_are_equal_on_all_python_versions():
    """The checksum is equal on Python 3.11 (Unicode 14), 3.12 (15.0) and 3.13 (15.1)."""
    words = Normalizer(strip_accents=True).words
    found = (words(f"x{c}\u302e{c}y {c}") for c in map(chr, range(sys.maxunicode + 1)))
    text = "\n".join(" ".join(each) for each in found)
    assert zlib.crc32(text.encode()) == 4036426227
