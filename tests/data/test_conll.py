"""CoNLL files: comments, blanks that are not ASCII, columns."""

from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.data.conll import read_conll

WORD = st.sampled_from(
    ["Kiri", "#", "#topic", "10\u00a0km", "\u3000", "\u00a0", "New\u2009York", "\x85"]
)
TEXTS = st.lists(
    st.lists(st.tuples(WORD, st.sampled_from(["O", "B-A", "#"])), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)
COMMENT = st.sampled_from(
    ["# id 7", "# sent-0", "# id a\tdomain=train", "#", "# text = New York O"]
)


def read(path, lines, **options):
    path.write_text("\n".join(lines), "utf-8")
    return [(words, tags) for _, words, tags in read_conll(path, **options)]


@settings(max_examples=40)
@given(TEXTS, st.lists(COMMENT, max_size=3), st.sampled_from(["\t", " ", "\t_\t", "  _  "]))
def test_comments_before_a_text_change_nothing(tmp_path_factory, texts, comments, separator):
    path = tmp_path_factory.mktemp("conll") / "t.conll"
    texts = [[("Kiri", tag) for tag in ("O", "B-A", "#")], *texts]  # each tag occurs with a word
    lines = [[*comments, *(f"{word}{separator}{tag}" for word, tag in text), ""] for text in texts]
    expected = [tuple(map(list, zip(*text, strict=True))) for text in texts]
    assert read(path, [*chain.from_iterable(lines)]) == expected


def test_comments_are_counted_in_a_message(tmp_path, caplog):
    with caplog.at_level("INFO", "minibert"):
        read(tmp_path / "t.conll", ["# sent-0", "a O", "", "# sent-1", "b O"])
    assert "t.conll: 2 comment lines were skipped" in caplog.text


def test_a_comment_inside_a_text_is_refused(tmp_path):
    lines = ["# sent-0", "a O", "# sent-1", "b O"]
    with pytest.raises(ValueError, match=r"t\.conll, line 3: expected a word, found the comment"):
        read(tmp_path / "t.conll", lines)
    with pytest.raises(ValueError, match="line 2: expected 2 columns"):
        read(tmp_path / "t.conll", ["a O", "# a comment of words"])


def test_words_without_tags_may_start_with_a_number_sign(tmp_path):
    lines = ["# id 1", "#topic", "a", "", "#"]
    assert read(tmp_path / "t.conll", lines, tagged=False) == [
        (["#topic", "a"], None),
        (["#"], None),
    ]
