"""The pieces, their ids, and the greedy split of words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import Vocabulary
from minibert.tokenization.vocabulary import join_pieces, pieces_of

PIECES = st.builds(
    lambda piece, continues: "##" * continues + piece,
    st.text("abc", min_size=1, max_size=4),
    st.booleans(),
)


def greedy(word, pieces):
    """Return the pieces of a word by repeated removal of the longest prefix; None if none fits."""
    out, rest = [], word
    while rest:
        prefix = "##" if out else ""
        fitting = [n for n in range(1, len(rest) + 1) if prefix + rest[:n] in pieces]
        if not fitting:
            return None
        out.append(prefix + rest[: max(fitting)])
        rest = rest[max(fitting) :]
    return out


@given(st.lists(PIECES, unique=True), st.text("abcd", max_size=12))
def test_split_word_is_greedy(pieces, word):
    vocabulary = Vocabulary(pieces)
    split = vocabulary.split_word(word)
    expected = greedy(word, pieces)
    if split is None:
        assert expected is None
        return
    found = [pieces[i] for i, _ in split]
    assert found == expected
    ends = np.cumsum([len(p.removeprefix("##")) for p in found]).tolist()
    assert [end for _, end in split] == ends


def test_split_word_may_miss_an_existing_split():
    assert Vocabulary(["ab", "a", "##bc"]).split_word("abc") is None


@given(st.lists(PIECES, unique=True), st.randoms())
def test_vocabulary_of_a_mapping_equals_that_of_the_list(pieces, random):
    items = list(enumerate(pieces))
    random.shuffle(items)
    assert Vocabulary({piece: i for i, piece in items}).pieces == pieces


def test_pieces_of_accepts_numpy_integers():
    assert pieces_of(["a", "b"], np.array([1, 0], np.int32)) == ["b", "a"]


@pytest.mark.parametrize(
    ("pieces", "error", "message"),
    [
        (
            "vocab.txt",
            TypeError,
            "^vocabulary: expected pieces, got one string; see from_pretrained$",
        ),
        (["a", 3], TypeError, r"vocabulary\[1\]: expected a string, got int"),
        (["a", "b", "a"], ValueError, "'a' occurs twice, at 0 and 2"),
        (["a", "b\n"], ValueError, r"vocabulary\[1\]: expected a line of text, got 'b\\n'"),
        ({"a": 0, "b": 2}, ValueError, "expected ids 0 to 1, .* found 2 for 'b' where 1"),
        ({"a": 1, "b": 1}, ValueError, "found 1 for 'a' where 0"),
        ({"a": -1, "b": 0}, ValueError, "found -1 for 'a' where 0"),
    ],
)
def test_vocabulary_refuses_invalid_pieces(pieces, error, message):
    with pytest.raises(error, match=message):
        Vocabulary(pieces)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([0, 2], ValueError, r"ids\[1\]: expected 0 to 1, got 2"),
        ([-1], ValueError, r"ids\[0\]: expected 0 to 1, got -1"),
        ([0.0], TypeError, r"ids\[0\]: expected an integer, got float"),
        ([[0, 1]], TypeError, r"ids\[0\]: expected an integer, got list"),
    ],
)
def test_pieces_of_refuses_invalid_ids(ids, error, message):
    with pytest.raises(error, match=message):
        pieces_of(["a", "b"], ids)


def test_join_pieces_joins_pieces_to_words():
    pieces = ["##un", "##aff", "a", "##", "b"]
    assert join_pieces(pieces) == "##unaff a b"
    assert join_pieces([]) == ""
    assert join_pieces(["a", "."]) == "a ."
    assert join_pieces(["a", "@@b", "##c"], prefix="@@") == "ab ##c"
    assert join_pieces(["a", "b"], prefix="") == "ab"


@given(st.sampled_from(["", "#", "@@"]), st.lists(PIECES, unique=True), st.text("abcd", max_size=9))
def test_split_word_works_with_any_prefix(prefix, pieces, word):
    expected = Vocabulary(pieces).split_word(word)
    renamed = [prefix + p.removeprefix("##") if p.startswith("##") else f"<{p}" for p in pieces]
    renamed = [p.removeprefix("<") if p.startswith("<") else p for p in renamed]
    if len(set(renamed)) == len(pieces) and prefix:
        assert Vocabulary(renamed, prefix).split_word(word) == expected
