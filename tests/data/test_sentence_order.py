"""Pairs of segments in two orders: both are the text, cut after a sentence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.data.sentence_order import middle_of, sentence_ends, sentence_order_pairs
from minibert.tokenization import ByteLevelBPETokenizer, UnigramTokenizer
from tests.conftest import small_tokenizer
from tests.data.test_next_sentence import texts_of


class Specials:
    pad_token_id, cls_token_id, sep_token_id = 0, 2, 3
    vocab = {".": 7, "▁?": 8, "a": 9}  # noqa: RUF012


@given(st.integers(4, 15), st.integers(1, 9), st.integers(0, 2**32))
def test_pairs_are_the_text_in_either_order(length, count, seed):
    rng = np.random.default_rng(seed)
    sequences = np.arange(count)[:, None] * 100 + np.arange(length) + 10
    sequences[rng.random(sequences.shape) < 0.15] = 3
    sequences[rng.random(sequences.shape) < 0.2] = 7
    sequences[:, 0], sequences[:, -1] = 2, 3
    indices = rng.integers(0, count, 20)
    ids, types, labels = sentence_order_pairs(
        sequences, indices, Specials, np.random.default_rng(seed)
    )
    for pair, segments, label, index in zip(ids, types, labels, indices, strict=True):
        first_end, second_end = np.flatnonzero(pair == 3)
        assert pair[0] == 2
        assert (pair[second_end + 1 :] == 0).all()
        place = np.arange(length)
        assert (segments == ((place > first_end) & (place <= second_end))).all()
        parts = [pair[1:first_end].tolist(), pair[first_end + 1 : second_end].tolist()]
        first, second = parts[::-1] if label else parts
        texts = texts_of(sequences[index])
        longest = max(map(len, texts), default=0)
        own = [text[: length - 3] for text in texts if len(text) == longest]
        assert first + second in own
        if not second:
            assert len(first) <= 1
            assert label == 0
        elif 7 in (first + second)[:-1]:
            assert first[-1] == 7
        else:
            assert 0 <= len(first) - len(second) <= 1


def test_half_of_the_pairs_are_swapped_and_equal_generators_agree():
    sequences = np.tile([2, *range(10, 20), 3], (400, 1))
    runs = [
        sentence_order_pairs(sequences, np.arange(400), Specials, np.random.default_rng(4))
        for _ in range(2)
    ]
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)
    ids, _, labels = runs[0]
    assert 160 < labels.sum() < 240
    for label, first in ((0, [2, 10, 11, 12, 13, 14]), (1, [2, 15, 16, 17, 18, 3])):
        assert (ids[labels == label, :6] == first).all()


def test_a_text_of_one_token_has_no_order():
    ids, types, labels = sentence_order_pairs(
        np.tile([2, 9, 3, 0, 0], (30, 1)), np.arange(30), Specials, np.random.default_rng(0)
    )
    assert (ids == [2, 9, 3, 3, 0]).all()
    assert (types == [0, 0, 0, 1, 0]).all()
    assert not labels.any()


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([0, 0, 0, 0], 2), ([0, 0, 0], 2), ([0, 0, 0, 1], 2), ([1, 0, 0, 0], 1), ([1, 0, 1, 1], 1),
        ([0, 0, 1, 0, 0, 0, 0, 0], 3), ([0], 1), ([1], 1), ([], 0),
    ],
)  # fmt: skip
def test_a_text_is_cut_after_the_sentence_whose_end_is_nearest_to_its_middle(ends, expected):
    assert middle_of(np.array(ends, bool)) == expected


def test_ends_of_sentences_are_found_in_the_vocabulary_of_each_kind_of_tokenizer():
    assert sentence_ends(Specials).tolist() == [7, 8]
    words = small_tokenizer()
    found = words.convert_ids_to_tokens(sentence_ends(words).tolist())
    assert set(found) <= {".", "!", "?"}
    assert found
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)]
    unigram = UnigramTokenizer([*pieces, ("!", -2.0), ("▁.", -2.0), ("<mask>", 0.0)])
    assert sorted(sentence_ends(unigram).tolist()) == [5, 6]
    letters = ByteLevelBPETokenizer.train(["so it is. is it? no."] * 9, 262)
    ends = letters.convert_ids_to_tokens(sentence_ends(letters).tolist())
    assert {".", "?"} <= set(ends)
