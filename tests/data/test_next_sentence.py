"""Next-sentence pairs: halves of one text or of two texts, and their labels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minibert.data.next_sentence import next_sentence_pairs


class Specials:
    pad_token_id, cls_token_id, sep_token_id = 0, 2, 3


def texts_of(sequence):
    """Return the runs of ids between special tokens of a packed sequence."""
    out, current = [], []
    for token in sequence[1:].tolist():
        if token in (0, 2, 3):
            out.append(current)
            current = []
        else:
            current.append(token)
    return [*out, current]


@given(st.integers(4, 15), st.integers(1, 9), st.integers(0, 2**32))
def test_next_sentence_pairs_are_framed_and_labelled(length, count, seed):
    rng = np.random.default_rng(seed)
    # Each sequence has ids in another range, so the ids of a text identify its sequence.
    sequences = np.arange(count)[:, None] * 100 + np.arange(length) + 5
    sequences[rng.random(sequences.shape) < 0.15] = 3
    sequences[:, 0], sequences[:, -1] = 2, 3
    indices = rng.integers(0, count, 20)
    ids, types, labels = next_sentence_pairs(
        sequences, indices, Specials, np.random.default_rng(seed)
    )
    assert ids.shape == types.shape == (20, length)
    for pair, segments, label, index in zip(ids, types, labels, indices, strict=True):
        first_end, second_end = np.flatnonzero(pair == 3)
        assert pair[0] == 2
        assert (pair[second_end + 1 :] == 0).all()
        assert (
            segments == ((np.arange(length) > first_end) & (np.arange(length) <= second_end))
        ).all()
        first, second = pair[1:first_end].tolist(), pair[first_end + 1 : second_end].tolist()
        own = max(texts_of(sequences[index]), key=len)
        assert len(max([*texts_of(sequences[index]), []], key=len)) == len(own)
        if label == 0:
            assert second
            whole = [first + second == text[: length - 3] for text in texts_of(sequences[index])]
            assert any(whole)
            assert abs(len(first) - len(second)) <= 1
        else:
            assert any(second == t[len(t) // 2 :][: len(second)]
                       for s in sequences for t in [max(texts_of(s), key=len)])  # fmt: skip


def test_next_sentence_pairs_follow_in_half_of_the_cases():
    sequences = np.arange(200)[:, None] * 50 + np.arange(20) + 5
    sequences[:, 0], sequences[:, -1] = 2, 3
    ids, types, labels = next_sentence_pairs(
        sequences, np.arange(200), Specials, np.random.default_rng(0)
    )
    assert 70 < labels.sum() < 130
    text = ids > 3
    first, second = (np.where(text & (types == side), ids, 0).max(axis=1) // 50 for side in (0, 1))
    assert (first == np.arange(200)).all()
    assert (second == first)[labels == 0].all()
    assert (second != first)[labels == 1].mean() > 0.9  # the random sequence may be the same one
    assert len(set(second[labels == 1].tolist())) > 50


def test_next_sentence_pairs_draw_random_texts_from_the_corpus():
    """The random B is drawn from the corpus, not from the batch alone."""
    sequences = np.arange(200)[:, None] * 50 + np.arange(20) + 5
    sequences[:, 0], sequences[:, -1] = 2, 3
    ids, _, labels = next_sentence_pairs(
        sequences, np.arange(10), Specials, np.random.default_rng(1)
    )
    assert (ids[labels == 1].max(axis=1) >= 500).sum() >= labels.sum() - 2 > 0
