"""Metrics of vectors against their definitions, and against sentence-transformers and SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tasks import vector_metrics
from minibert.tasks.vector_metrics import RetrievalMetrics, SimilarityMetrics

SIZES = st.tuples(st.integers(2, 12), st.integers(1, 5), st.integers(0, 9))


def rows_and_vectors(count, width, seed, columns=2):
    """Return rows of different texts, and a function that returns the random vector of each."""
    vectors = np.random.default_rng(seed).normal(size=(count * columns, width))
    rows = [[str(i * columns + j) for j in range(columns)] for i in range(count)]
    return rows, lambda texts: vectors[[int(text) for text in texts]]


@given(SIZES)
def test_retrieval_metrics_follow_their_definitions(sizes):
    rows, encode = rows_and_vectors(*sizes)
    metrics = RetrievalMetrics.of_rows(rows, encode)
    a, b = (encode([row[i] for row in rows]) for i in range(2))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    places = []
    for i, row in enumerate(a @ b.T):
        order = sorted(range(len(rows)), key=lambda j: (-row[j], j == i))
        places.append(order.index(i) + 1)
    if sizes[1] > 1:  # vectors of one number are all parallel
        assert metrics.ranks.tolist() == places
    assert metrics.recall(1) == metrics.main == np.mean(metrics.ranks == 1)
    assert metrics.mrr == pytest.approx(np.mean(1 / metrics.ranks))
    assert 0 <= metrics.recall(1) <= metrics.mrr <= 1
    assert metrics.recall(1) <= metrics.recall(5) <= metrics.recall(metrics.candidates) == 1
    assert metrics.nearer is None


@given(SIZES, st.floats(0.1, 10), st.randoms(use_true_random=False))
def test_retrieval_metrics_ignore_lengths_and_the_order_of_rows(sizes, scale, random):
    rows, encode = rows_and_vectors(*sizes)
    metrics = RetrievalMetrics.of_rows(rows, encode)
    order = random.sample(range(len(rows)), len(rows))
    other = RetrievalMetrics.of_rows([rows[i] for i in order], lambda texts: encode(texts) * scale)
    if sizes[1] > 1:
        assert other.ranks.tolist() == metrics.ranks[order].tolist()


def test_equal_vectors_find_nothing():
    metrics = RetrievalMetrics.of_rows([["a", "b"], ["c", "d"]], lambda t: np.ones((len(t), 3)))
    assert metrics.ranks.tolist() == [2, 2]
    assert (metrics.recall(1), metrics.recall(5)) == (0, 1)
    zeros = RetrievalMetrics.of_rows([["a", "b"], ["c", "d"]], lambda t: np.zeros((len(t), 3)))
    assert zeros.recall(1) == 0
    broken = RetrievalMetrics.of_rows(
        [["a", "b"], ["c", "d"]], lambda t: np.full((len(t), 3), np.nan)
    )
    assert broken.recall(1) == 0


def test_other_right_partners_of_an_anchor_are_not_wrong():
    place = {"a": [1, 0], "b": [1, 0.1], "c": [1, 0.2], "d": [0, 1], "e": [0.1, 1], "a2": [1, 0.15]}
    encode = lambda texts: np.array([place[text] for text in texts], float)  # noqa: E731
    rows = [["a", "b"], ["a", "c"], ["d", "e"]]
    assert RetrievalMetrics.of_rows(rows, encode).ranks.tolist() == [1, 1, 1]
    # Of another anchor, the nearest text is wrong; an anchor is not its own wrong partner.
    assert RetrievalMetrics.of_rows([*rows, ["a2", "e"]], encode).ranks.tolist() == [1, 1, 1, 3]
    assert RetrievalMetrics.of_rows([["a", "b"], ["c", "a"]], encode).ranks.tolist() == [1, 2]


def test_negative_texts_are_candidates_too():
    rows, encode = rows_and_vectors(9, 3, seed=1, columns=3)
    metrics = RetrievalMetrics.of_rows(rows, encode)
    assert metrics.candidates == 18
    pairs = RetrievalMetrics.of_rows([row[:2] for row in rows], encode)
    assert (metrics.ranks >= pairs.ranks).all()
    assert (metrics.ranks > pairs.ranks).any()
    a, p, n = (encode([row[i] for row in rows]) for i in range(3))
    p, n = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (p, n))
    assert metrics.nearer == pytest.approx(np.mean((a * p).sum(1) > (a * n).sum(1)))
    assert "triplets right" in str(metrics)
    assert metrics.figures()["triplets"] == metrics.nearer


def test_many_rows_are_compared_in_blocks(monkeypatch):
    rows, encode = rows_and_vectors(20, 4, seed=2)
    whole = RetrievalMetrics.of_rows(rows, encode)
    monkeypatch.setattr(vector_metrics, "NUMBERS", 60)  # three rows of 20
    assert RetrievalMetrics.of_rows(rows, encode).ranks.tolist() == whole.ranks.tolist()


def test_similarity_metrics_compare_cosines_with_scores():
    rows, encode = rows_and_vectors(12, 4, seed=3)
    a, b = (encode([row[i] for row in rows]) for i in range(2))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    metrics = SimilarityMetrics.of_rows(rows, list(cosines**3), encode)  # monotone
    assert metrics.main == metrics.figures()["spearman"] == pytest.approx(1)
    assert metrics.pearson < 1
    assert SimilarityMetrics.of_rows(rows, list(-cosines), encode).spearman == pytest.approx(-1)
    constant = SimilarityMetrics.of_rows(rows, list(cosines), lambda t: np.ones((len(t), 2)))
    assert constant.main == 0


@pytest.mark.parity
@given(SIZES)
def test_spearman_equals_that_of_scipy(sizes):
    from scipy.stats import spearmanr

    rows, encode = rows_and_vectors(sizes[0] + 1, sizes[1] + 1, sizes[2])
    scores = np.random.default_rng(sizes[2]).integers(0, 4, len(rows)) / 4  # with ties
    metrics = SimilarityMetrics.of_rows(rows, scores.tolist(), encode)
    if np.ptp(scores):
        expected = spearmanr(scores, metrics.predicted).statistic
        assert metrics.spearman == pytest.approx(expected)
