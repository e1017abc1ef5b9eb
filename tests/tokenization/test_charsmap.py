"""SentencePiece's normalizer table: reading it, damaged ones, and replacing clusters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.tokenization.charsmap import read_charsmap, replace_clusters
from minibert.tokenization.normalizer import Letter
from tests.tokenization.spm_files import build_charsmap, one_line

TABLE = {
    "…": "...",
    "ﬁ": "fi",
    "e\u0301": "é",
    "a\u0302\u0301": "ấ",
    "x": "",
    "\t": " ",
    "é\u0302\u0301": "long",  # 6 bytes: never looked up
}
DATA = build_charsmap(TABLE)
LETTERS = st.text("aexﬁ…é\u0301\u0302\t \r\n\u200d\u0600각👍")


def letters_of(text):
    return [Letter(char, i, i + 1) for i, char in enumerate(text)]


def replaced(text, table=TABLE):
    return [tuple(letter) for letter in replace_clusters(letters_of(text), table)]


@given(st.dictionaries(st.text("aé€𝄞\u0301", min_size=1, max_size=5), st.text("aé€", max_size=3)))
@settings(max_examples=20)
def test_read_charsmap_returns_texts_of_at_most_five_bytes(table):
    expected = {text: value for text, value in table.items() if len(text.encode()) <= 5}
    assert read_charsmap(build_charsmap(table)) == expected


def test_read_charsmap_of_an_empty_table():
    assert read_charsmap(b"") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ﬁe\u0301", [("f", 0, 1), ("i", 0, 1), ("é", 1, 2)]),
        ("axb", [("a", 0, 1), ("b", 2, 3)]),
        ("x\u0301b", [("b", 2, 3)]),  # the shortest beginning replaces the whole cluster
        ("…xxb", [(".", 0, 1), (".", 0, 1), (".", 1, 2), ("b", 3, 4)]),
        ("ﬁ\u0301", [("f", 0, 1), ("i", 1, 2)]),
        ("…\u0301\u0301", [(".", 0, 1)] * 3 + [("\u0301", 1, 2), ("\u0301", 2, 3)]),  # 7 bytes
    ],
)
def test_replace_clusters_positions(text, expected):
    assert replaced(text) == expected


@given(LETTERS)
def test_replace_clusters_without_a_table_changes_nothing(text):
    assert replaced(text, {}) == [tuple(letter) for letter in letters_of(text)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\1", "expected a trie of 1 bytes"),
        (b"\xff\xff\xff\x7f" + b"\0" * 8, "expected a trie of 2147483647 bytes, got 12"),
        (b"\3\0\0\0" + b"\0" * 8, "expected a trie of 3 bytes"),
        (build_charsmap({"a": "b"})[:-2], "expected a position in the strings, got 0"),
        (build_charsmap({"a": "b"})[:-2] + b"\xff\0", "expected UTF-8"),
    ],
)
def test_read_charsmap_refuses_damaged_tables(data, message):
    with pytest.raises(ValueError, match=message):
        read_charsmap(data)


def test_read_charsmap_refuses_replacements_without_an_end():
    """Each of many texts would be replaced by all that follows, of any length."""
    data = build_charsmap({"a": "b" * 100})
    assert read_charsmap(data) == read_charsmap(data[:-1]) == {"a": "b" * 100}
    for more in b"b", b"b" * 1000, b"b\0":
        with pytest.raises(ValueError, match="replacements of at most 100 bytes, with a NUL"):
            read_charsmap(data[:-1] + more)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(0, 255), st.integers(0, len(DATA)))
def test_read_charsmap_of_damaged_bytes_returns_or_refuses(position, byte, size):
    data = bytearray(DATA)
    data[position] = byte
    for damaged in bytes(data), bytes(data[:size]):
        with one_line("charsmap: "):
            assert all(len(text.encode()) <= 5 for text in read_charsmap(damaged))


def test_read_charsmap_refuses_a_trie_without_end():
    """Every unit leads back to the same block, so that each node has 255 children."""
    units = [c | (256 ^ (256 + c)) << 10 if i else 256 << 10 for i in range(2) for c in range(256)]
    units = [(256 << 10) if i == 0 else unit for i, unit in enumerate(units)]
    for c in range(256):
        units[256 + c] = c | c << 10
    trie = b"".join(unit.to_bytes(4, "little") for unit in units)
    data = len(trie).to_bytes(4, "little") + trie
    with pytest.raises(ValueError, match="expected at most 65,536 nodes"):
        read_charsmap(data)
