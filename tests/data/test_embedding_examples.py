"""Examples for sentence vectors: what is refused, and pairs from labels."""

from collections import Counter

import numpy as np
import pytest

from minibert.data.embedding_examples import EmbeddingExamples, pairs_from_labels

PAIRS = [["a cat", "a kitten"], ["red", "crimson"], ["big", "large"]]


def test_the_default_loss_fits_the_rows():
    assert EmbeddingExamples(PAIRS).default_loss == "ranking"
    assert EmbeddingExamples([["a", "b", "c"]]).default_loss == "ranking"
    assert EmbeddingExamples(PAIRS, scores=[0, -1, 1]).default_loss == "cosine"
    assert EmbeddingExamples([["a"], ["b"]], labels=["x", "x"]).default_loss == "contrastive"


def test_arrays_are_taken_as_lists_are():
    rows = np.array(PAIRS)
    assert EmbeddingExamples(rows, scores=np.array([0.0, 1.0, 0.5])).default_loss == "cosine"
    assert EmbeddingExamples(rows, labels=np.array([0, 0, 1])).default_loss == "ranking"
    with pytest.raises(ValueError, match=r"rows\[1\]: expected different texts, got 'c' twice"):
        EmbeddingExamples(np.array([["a", "b"], ["c", "c"]]))


def test_select_keeps_scores_and_labels():
    examples = EmbeddingExamples(PAIRS, [0.1, 0.2, 0.3], ["x", "y", "z"])
    chosen = examples.select([2, 0])
    assert (chosen.rows, chosen.scores, chosen.labels) == (
        [PAIRS[2], PAIRS[0]], [0.3, 0.1], ["z", "x"]
    )  # fmt: skip
    assert len(chosen) == 2
    assert len({examples.checksum(), chosen.checksum(), EmbeddingExamples(PAIRS).checksum()}) == 3


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "rows: expected at least one, got none"),
        ([["a", "b"], ["c"]], {}, r"rows\[1\]: expected 2 texts as in rows\[0\], got 1"),
        ([[], []], {}, r"rows\[0\]: expected 1 texts as in rows\[0\], got 0"),
        ([["a", "b"], ["c", "c"]], {}, r"rows\[1\]: expected different texts, got 'c' twice"),
        ([["a", "b", "b"]], {}, r"rows\[0\]: expected different texts, got 'b' twice"),
        (PAIRS, {"scores": [1]}, "scores: expected 3, one per row, got 1"),
        (PAIRS, {"labels": [1]}, "labels: expected 3, one per row, got 1"),
        (PAIRS, {"scores": [1, 0, 4.5]}, r"scores\[2\]: expected -1 to 1, got 4.5"),
        (PAIRS, {"scores": [1, float("nan"), 0]}, r"scores\[1\]: expected -1 to 1, got nan"),
        ([["a", "b", "c"]], {"scores": [1]}, "scores: expected rows of 2 texts, got 3"),
        ([["a"], ["b"]], {}, "rows: expected 2 texts or more without labels, got 1"),
        ([["a"], ["b"]], {"labels": [0, 1]}, "labels: expected two equal ones at least, got 2 dif"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, options, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingExamples(rows, **options)


@pytest.mark.parametrize("rows", [["ab", "cd"], [["a", 1]], [["a", None]]])
def test_rows_of_other_things_than_texts_are_refused(rows):
    with pytest.raises(TypeError, match=r"rows\[0\]: expected a list of texts, got "):
        EmbeddingExamples(rows)


def test_pairs_of_equal_texts_may_have_a_score():
    assert len(EmbeddingExamples([["a", "a"]], scores=[1.0])) == 1


TEXTS, LABELS = [f"text {i}" for i in range(7)], ["x", "y", "x", "z", "y", "x", "y"]


def test_pairs_from_labels_have_as_many_of_each_kind_as_there_are_iterations():
    examples = pairs_from_labels(TEXTS, LABELS, iterations=3)
    label_of = dict(zip(TEXTS, LABELS, strict=True))
    firsts = Counter()
    for (first, second), score in zip(examples.rows, examples.scores, strict=True):
        assert first != second
        assert score == float(label_of[first] == label_of[second])
        firsts[first, score] += 1
    # The label z occurs once, so its text has no partner of its own label.
    expected = {(text, score): 3 for text in TEXTS for score in (0.0, 1.0)}
    del expected[TEXTS[3], 1.0]
    assert firsts == expected


def test_pairs_from_labels_depend_on_the_seed_alone():
    rows = [pairs_from_labels(TEXTS, LABELS, 2, seed).rows for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


@pytest.mark.parametrize("labels", [["x"] * 7, []])
def test_pairs_from_labels_refuse_one_label(labels):
    with pytest.raises(ValueError, match="labels: expected "):
        pairs_from_labels(TEXTS, labels)
