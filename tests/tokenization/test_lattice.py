"""The best split of a word into pieces, against all splits."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization.lattice import UNKNOWN_PENALTY, Lattice

PIECES = ["a", "b", "ab", "ba", "aab", "abab", "bbb", "c", "cab"]
SCORES = st.lists(st.integers(-9, -1), min_size=len(PIECES), max_size=len(PIECES))


def splits(word):
    """Yield all splits of a word."""
    if not word:
        yield []
    for end in range(1, len(word) + 1):
        for rest in splits(word[end:]):
            yield [word[:end], *rest]


@given(SCORES, st.text("abcd", max_size=8), st.sets(st.sampled_from(PIECES), min_size=1))
def test_split_word_has_the_highest_score_of_all_splits(scores, word, kept):
    scores = {p: float(s) for p, s in zip(PIECES, scores, strict=True) if p in kept}
    unknown = min(scores.values()) - UNKNOWN_PENALTY
    known = {**dict.fromkeys("abcd", unknown), **scores}
    totals = [
        sum(known[p] for p in split) for split in splits(word) if all(p in known for p in split)
    ]
    ids = {piece: i for i, piece in enumerate(scores)}
    tokens = Lattice(scores, ids, unk_id=99).split_word(word)
    ends = [0, *(end for _, end in tokens)]
    assert ends[-1] == len(word)
    texts = [word[start:end] for start, end in pairwise(ends)]
    for (i, _), text in zip(tokens, texts, strict=True):
        assert i == ids.get(text, 99)
    assert all(a != 99 or b != 99 for (a, _), (b, _) in pairwise(tokens))
    total = sum(known[t] if t in scores else unknown * len(t) for t in texts)
    assert total == max(totals, default=0)


def test_split_word_prefers_the_longest_last_piece_of_equal_splits():
    scores = {"a": -1.0, "b": -1.0, "c": -1.0, "ab": -1.5, "bc": -1.5}
    ids = {piece: i for i, piece in enumerate(scores)}
    assert Lattice(scores, ids, 9).split_word("abc") == [(0, 1), (4, 3)]


@pytest.mark.parametrize(
    ("missing", "expected"),
    [((), [(0, 1), (1, 2), (2, 2), (0, 3)]), (("<0xC3>",), [(0, 1), (9, 2), (0, 3)])],
)
def test_byte_fallback_needs_all_bytes(missing, expected):
    pieces = [p for p in ["a", "<0xC3>", "<0xA9>"] if p not in missing]
    ids = {"a": 0, "<0xC3>": 1, "<0xA9>": 2}
    lattice = Lattice(
        dict.fromkeys(pieces, -1.0), {p: ids[p] for p in pieces}, 9, byte_fallback=True
    )
    assert lattice.split_word("aéa") == expected


def test_a_run_of_unknown_letters_that_is_a_piece_is_that_piece():
    """As in `tokenizers`: the joined run is looked up, whatever its score."""
    lattice = Lattice({"x": 50.0, "uv": 50.0}, {"x": 0, "uv": 1}, 9)
    assert lattice.split_word("xuv") == [(0, 1), (1, 3)]


def test_the_penalty_depends_on_the_lowest_score():
    scores = {"x": -1.0, "xu": -25.0}
    ids = {"x": 0, "xu": 1}
    assert Lattice(scores, ids, 9).split_word("xu") == [(1, 2)]  # -25, and -1 - 35
    assert Lattice(scores, ids, 9, lowest=-1.0).split_word("xu") == [(0, 1), (9, 2)]  # -1 - 11
