"""The fast way gives what the plain way gives, and forgets in time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import AddedToken, WordPieceTokenizer
from minibert.tokenization import fast as module
from minibert.tokenization.fast import Remembered
from minibert.tokenization.matching import Matcher
from minibert.tokenization.normalizer import Normalizer
from minibert.tokenization.vocabulary import Vocabulary
from tests.tokenization.test_normalizer import NORMALIZERS, TEXTS

LETTERS = [c for c in "aAß.,Σσς[]éi中x€" for c in (c, f"##{c}")]
PIECES = ["?", "[A]", "the", "##ss", *LETTERS]
ADDED = [
    AddedToken("[A]", normalized=False, special=True),
    AddedToken("Σ", rstrip=True, lstrip=True, normalized=False),
    AddedToken("xx", single_word=True, normalized=False),
    AddedToken("a a"),
    AddedToken("É"),
]
MATCHERS = st.builds(
    lambda normalizer, longest: Matcher(Vocabulary(PIECES), normalizer, 0, longest),
    NORMALIZERS,
    st.sampled_from([2, 100]),
)
WRITTEN = st.lists(TEXTS | st.sampled_from(["[A]", " ", "xx", "a a", "the", "  É"])).map("".join)


@given(MATCHERS, st.lists(st.sampled_from(ADDED)), st.lists(WRITTEN, max_size=3), st.booleans())
def test_both_ways_give_the_same(matcher, added, texts, keep_special):
    matcher.add(added)
    for text in texts * 2:  # cold, then warm
        plain = matcher.plain_rows(text, keep_special)
        rows = matcher.rows(text, keep_special)
        assert rows.dtype == np.int32
        assert rows[:, :3].tolist() == [[i, start, end] for i, start, end, _ in plain]
        assert rows[:, 3].tolist() == (np.cumsum([row[3] for row in plain]) - 1).tolist()
        ids = matcher.ids(text, keep_special)
        assert ids.dtype == np.int32
        assert ids.tolist() == [row[0] for row in plain]


def test_special_tokens_are_sought_unless_they_are_not_wanted():
    matcher = Matcher(Vocabulary(PIECES), Normalizer(), 0, 9)
    for added in ADDED[0], AddedToken("a a", special=True):
        matcher.add([added])
        text = added.content
        for keep_special, expected in (
            ((), [matcher.vocab[text]]),
            ((False,), matcher.fast.ids(text).tolist()),
        ):
            assert [row[0] for row in matcher.plain_rows(text, *keep_special)] == expected
            assert matcher.rows(text, *keep_special)[:, 0].tolist() == expected
            assert matcher.ids(text, *keep_special).tolist() == expected


def test_letters_that_become_several_stand_where_they_stood():
    matcher = Matcher(Vocabulary(PIECES), Normalizer(strip_accents=False), 0, 9)
    assert matcher.rows("İ.a")[:, 1:3].tolist() == [[0, 1], [1, 2], [2, 3]]
    stripped = Matcher(Vocabulary(PIECES), Normalizer(), 0, 9)
    assert stripped.rows("한.a")[:, 1:3].tolist() == [[0, 1], [1, 2], [2, 3]]  # three letters each


@given(MATCHERS, WRITTEN)
def test_offsets_go_forward_and_cover_the_text_that_counts(matcher, text):
    rows = matcher.rows(text)
    assert (rows[:, 1] < rows[:, 2]).all()
    assert (np.diff(rows[:, 1]) >= 0).all()
    assert not len(rows) or (rows[0, 3] == 0 and set(np.diff(rows[:, 3])) <= {0, 1})
    for i, start, end, _ in rows.tolist():
        if matcher.normalizer == Normalizer(False, False, False) and i != matcher.unk_id:
            kept = matcher.normalizer.normalize(text[start:end])
            assert kept.replace(" ", "") == PIECES[i].removeprefix("##")


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 10)
    asked = []

    def function(text):
        asked.append(text)
        return text.encode()

    remembered = Remembered(function)
    for i in range(25):
        assert remembered[str(i)] == str(i).encode()
        assert len(remembered) <= 10
    assert remembered["24"] == b"24"
    assert asked == [str(i) for i in range(25)]
    for length, kept in (module.REMEMBERED_LENGTH, True), (module.REMEMBERED_LENGTH + 1, False):
        assert remembered["x" * length] == b"x" * length
        assert ("x" * length in remembered) is kept


@pytest.mark.parametrize("limit", [1, 3])
def test_forgetting_changes_nothing(monkeypatch, limit):
    texts = ["a the x. [A] ß, a", "x. x. the the, a", "中a. a.x x,a"] * 2
    expected = [Matcher(Vocabulary(PIECES), Normalizer(), 0, 9).rows(text) for text in texts]
    monkeypatch.setattr(module, "REMEMBERED", limit)
    matcher = Matcher(Vocabulary(PIECES), Normalizer(), 0, 9)
    for text, rows in zip(texts, expected, strict=True):
        assert (matcher.rows(text) == rows).all()
        assert (matcher.ids(text) == rows[:, 0]).all()


@pytest.mark.parametrize(
    "text", ["x" * 10**7, "\u0301\u0323" * 10**6, "中" * 10**6, "\x00" * 10**6, "\ud800 a" * 10**5]
)
def test_monsters_are_no_trouble(text):
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "中"])
    expected = {"x": [1], "\u0301": [], "中": [6] * 10**6, "\x00": [], "\ud800": [5] * 10**5}
    assert tokenizer.ids_of(text).tolist() == expected[text[0]]
