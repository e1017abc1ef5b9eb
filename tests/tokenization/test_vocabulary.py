"""The pieces, their ids, and the greedy cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import Vocabulary
from minibert.tokenization.vocabulary import joined, pieces_of

PIECES = st.builds(
    lambda piece, continues: "##" * continues + piece,
    st.text("abc", min_size=1, max_size=4),
    st.booleans(),
)


def greedy(word, pieces):
    """Cut off the longest beginning, again and again, with no thought of speed."""
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
def test_the_cut_is_greedy(pieces, word):
    vocabulary = Vocabulary(pieces)
    cuts = vocabulary.cut(word)
    expected = greedy(word, pieces)
    if cuts is None:
        assert expected is None
        return
    found = [pieces[i] for i, _ in cuts]
    assert found == expected
    ends = np.cumsum([len(p.removeprefix("##")) for p in found]).tolist()
    assert [end for _, end in cuts] == ends


def test_the_greedy_way_may_miss_a_cut():
    assert Vocabulary(["ab", "a", "##bc"]).cut("abc") is None


@given(st.lists(PIECES, unique=True), st.randoms())
def test_a_mapping_means_the_same_as_the_list(pieces, random):
    items = list(enumerate(pieces))
    random.shuffle(items)
    assert Vocabulary({piece: i for i, piece in items}).pieces == pieces


def test_ids_may_be_any_integers():
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
def test_bad_pieces_are_refused(pieces, error, message):
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
def test_bad_ids_are_refused(ids, error, message):
    with pytest.raises(error, match=message):
        pieces_of(["a", "b"], ids)


def test_pieces_join_to_words():
    pieces = ["##un", "##aff", "a", "##", "b"]
    assert joined(pieces) == "##unaff a b"
    assert joined([]) == ""
    assert joined(["a", "."]) == "a ."
    assert joined(["a", "@@b", "##c"], prefix="@@") == "ab ##c"
    assert joined(["a", "b"], prefix="") == "ab"


@given(st.sampled_from(["", "#", "@@"]), st.lists(PIECES, unique=True), st.text("abcd", max_size=9))
def test_any_prefix_may_mark_what_continues(prefix, pieces, word):
    expected = Vocabulary(pieces).cut(word)
    renamed = [prefix + p.removeprefix("##") if p.startswith("##") else f"<{p}" for p in pieces]
    renamed = [p.removeprefix("<") if p.startswith("<") else p for p in renamed]
    if len(set(renamed)) == len(pieces) and prefix:
        assert Vocabulary(renamed, prefix).cut(word) == expected
