"""Next-sentence pairs: halves of one text, or of two, and labels that say which."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minibert.data.next_sentence import next_sentence_pairs


class Specials:
    pad_token_id, cls_token_id, sep_token_id = 0, 2, 3


def texts_of(row):
    """The stretches between special tokens of a packed row."""
    out, current = [], []
    for token in row[1:].tolist():
        if token in (0, 2, 3):
            out.append(current)
            current = []
        else:
            current.append(token)
    return [*out, current]


@given(st.integers(4, 15), st.integers(1, 9), st.integers(0, 2**32))
def test_pairs_are_framed_and_labelled(length, count, seed):
    rng = np.random.default_rng(seed)
    # Each row's tokens are numbered from a base of its own, so that a text tells where it is from.
    rows = np.arange(count)[:, None] * 100 + np.arange(length) + 5
    rows[rng.random(rows.shape) < 0.15] = 3
    rows[:, 0], rows[:, -1] = 2, 3
    numbers = rng.integers(0, count, 20)
    ids, types, labels = next_sentence_pairs(rows, numbers, Specials, np.random.default_rng(seed))
    assert ids.shape == types.shape == (20, length)
    for row, kind, label, number in zip(ids, types, labels, numbers, strict=True):
        first_end, second_end = np.flatnonzero(row == 3)
        assert row[0] == 2
        assert (row[second_end + 1 :] == 0).all()
        assert (kind == ((np.arange(length) > first_end) & (np.arange(length) <= second_end))).all()
        first, second = row[1:first_end].tolist(), row[first_end + 1 : second_end].tolist()
        own = max(texts_of(rows[number]), key=len)
        assert len(max([*texts_of(rows[number]), []], key=len)) == len(own)
        if label == 0:
            assert second
            whole = [first + second == text[: length - 3] for text in texts_of(rows[number])]
            assert any(whole)
            assert abs(len(first) - len(second)) <= 1
        else:
            assert any(second == t[len(t) // 2 :][: len(second)]
                       for r in rows for t in [max(texts_of(r), key=len)])  # fmt: skip


def test_half_of_the_pairs_follow():
    rows = np.arange(200)[:, None] * 50 + np.arange(20) + 5
    rows[:, 0], rows[:, -1] = 2, 3
    ids, types, labels = next_sentence_pairs(
        rows, np.arange(200), Specials, np.random.default_rng(0)
    )
    assert 70 < labels.sum() < 130
    text = ids > 3
    first, second = (np.where(text & (types == side), ids, 0).max(axis=1) // 50 for side in (0, 1))
    assert (first == np.arange(200)).all()
    assert (second == first)[labels == 0].all()
    assert (second != first)[labels == 1].mean() > 0.9  # by chance it may be the row itself
    assert len(set(second[labels == 1].tolist())) > 50


def test_what_does_not_follow_comes_from_anywhere():
    """And not from the batch alone, whose rows would stand in for the corpus."""
    rows = np.arange(200)[:, None] * 50 + np.arange(20) + 5
    rows[:, 0], rows[:, -1] = 2, 3
    ids, _, labels = next_sentence_pairs(rows, np.arange(10), Specials, np.random.default_rng(1))
    assert (ids[labels == 1].max(axis=1) >= 500).sum() >= labels.sum() - 2 > 0
