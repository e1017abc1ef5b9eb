"""Evidence of pieces and of their letters for the classes of texts."""

import math
from itertools import combinations

import numpy as np
import pytest

from minibert import WordPieceTokenizer
from minibert.training import evidence
from minibert.training.evidence import class_evidence, letter_evidence

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "nation",
    "##ation",
    "##at",
    "mäh",
    "a",
    "x",
]


@pytest.fixture
def tokenizer():
    """A tokenizer whose pieces share letters."""
    return WordPieceTokenizer(PIECES)


def substrings(piece):
    """All substrings of one to four letters."""
    letters = piece.removeprefix("##")
    ends = combinations(range(len(letters) + 1), 2)
    return {letters[i:j] for i, j in ends if j - i <= 4}


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification"])
def test_evidence_is_the_logarithm_of_a_ratio_of_odds(problem):
    rng = np.random.default_rng(0)
    texts = [rng.choice(9, rng.integers(0, 6), replace=False) for _ in range(40)]
    targets = (
        np.eye(3)[rng.integers(0, 3, 40)] if problem[0] == "s" else rng.integers(0, 2, (40, 3))
    )
    M = class_evidence(texts, targets, 11, problem)
    for w in range(11):
        has = [w in ids for ids in texts]
        n = sum(has)
        for c in range(3):
            prior = (targets[:, c].sum() + 1) / 42
            posterior = (targets[has, c].sum() + 10 * prior) / (n + 10)
            ratio = posterior / (1 - posterior) / (prior / (1 - prior))
            expected = math.log(ratio) * (1 + math.log(41 / (n + 1)))
            assert M[w, c] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(M[9:], 0, atol=1e-12)  # no text contains these


def test_evidence_of_a_regression_is_a_shrunk_mean():
    numbers = np.array([[1.0], [2.0], [-3.0]])
    M = class_evidence([np.array([0]), np.array([0, 1]), np.array([1])], numbers, 3, "regression")
    idf = 1 + np.log(4 / 3)
    np.testing.assert_allclose(M[:, 0], [3 / 12 * idf, -1 / 12 * idf, 0], atol=1e-12)


@pytest.mark.parametrize("problem", ["single_label_classification", "regression"])
def test_evidence_of_letters_is_the_mean_over_the_substrings_of_a_piece(tokenizer, problem):
    texts = [np.array(ids, int) for ids in ([5, 8], [6, 9], [6], [7, 8, 9], [], [5])]
    rng = np.random.default_rng(1)
    targets = np.eye(2)[[0, 1, 1, 0, 1, 0]] if problem[0] == "s" else rng.normal(size=(6, 1))
    L = letter_evidence(texts, targets, tokenizer, problem)
    grams = sorted(set().union(*map(substrings, PIECES[5:10])))
    held = [
        np.array([i for i, gram in enumerate(grams)
                  if any(gram in substrings(PIECES[piece]) for piece in ids)], int)
        for ids in texts
    ]  # fmt: skip
    M = class_evidence(held, targets, len(grams), problem)
    assert L.shape == (len(PIECES), targets.shape[1])
    for piece in range(5, 10):
        n = sum(piece in ids for ids in texts)
        mean = M[[grams.index(gram) for gram in substrings(PIECES[piece])]].mean(axis=0)
        np.testing.assert_allclose(L[piece], 10 / (n + 10) * mean, atol=1e-12)
    assert not L[[*range(5), 10]].any()  # no text contains these


def test_a_rare_piece_speaks_for_the_class_of_its_letters(tokenizer):
    """Its own count says the contrary, and a frequent piece keeps what its counts say."""
    texts = [np.array(ids) for ids in [[5]] * 20 + [[8]] * 20 + [[6]]]
    targets = np.eye(2)[[0] * 20 + [1] * 20 + [1]]
    own = class_evidence(texts, targets, len(PIECES))
    both = own + letter_evidence(texts, targets, tokenizer)
    assert own[6].argmax() == 1
    assert both[6].argmax() == 0  # ##ation, whose letters are those of nation
    assert (both[[5, 8]].argmax(axis=1) == [0, 1]).all()


def test_a_piece_of_the_prefix_alone_has_finite_evidence():
    tokenizer = WordPieceTokenizer([*PIECES, "##"])
    L = letter_evidence([np.array([11]), np.array([5])], np.eye(2), tokenizer)
    assert L[11, 0] > 0 > L[11, 1]


def test_texts_without_pieces_give_no_evidence(tokenizer):
    assert not letter_evidence([np.zeros(0, int)] * 2, np.eye(2), tokenizer).any()


def test_more_letters_are_of_no_use_to_short_pieces(tokenizer, monkeypatch):
    texts, targets = [np.array([7]), np.array([9])], np.eye(2)
    before = letter_evidence(texts, targets, tokenizer)
    monkeypatch.setattr(evidence, "MAX_LETTERS", 2)
    np.testing.assert_array_equal(before, letter_evidence(texts, targets, tokenizer))
    monkeypatch.setattr(evidence, "MAX_LETTERS", 1)
    assert (before != letter_evidence(texts, targets, tokenizer)).any()
