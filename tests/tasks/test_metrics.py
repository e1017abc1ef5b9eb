"""Scores against their definitions, and against scikit-learn's and SciPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tasks.entities import count_entities, entities
from minibert.tasks.metrics import NumberScores, count, count_labels

ANSWERS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)
NUMBERS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=30)
SETS = st.lists(st.tuples(*[st.lists(st.booleans(), min_size=3, max_size=3)] * 2), min_size=1)
TAGS = st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"])


@given(ANSWERS)
def test_scores_of_one_label_follow_their_definitions(answers):
    true, said = (np.array(side) for side in zip(*answers, strict=True))
    scores = count(["a", "b", "c", "d"], true, said)
    assert scores.confusion.sum() == len(answers)
    assert scores.accuracy == pytest.approx(np.mean(true == said))
    assert scores.majority == pytest.approx(max(np.mean(true == c) for c in range(4)))
    f1 = []
    for c in range(4):
        right = np.sum((true == c) & (said == c))
        if np.any((true == c) | (said == c)):
            f1.append(2 * right / (np.sum(true == c) + np.sum(said == c)))
    assert scores.macro_f1 == scores.main == pytest.approx(np.mean(f1))


@given(SETS)
def test_scores_of_several_labels_follow_their_definitions(rows):
    true, said = (np.array(side) for side in zip(*rows, strict=True))
    scores = count_labels(["a", "b", "c"], true, said)
    right = np.sum(true & said)
    assert scores.precision == pytest.approx(right / max(said.sum(), 1))
    assert scores.recall == pytest.approx(right / max(true.sum(), 1))
    if scores.precision + scores.recall:
        harmonic = 2 / (1 / scores.precision + 1 / scores.recall) if right else 0
        assert scores.micro_f1 == pytest.approx(harmonic)
    assert scores.extra["all labels right"] == pytest.approx(np.mean([a == b for a, b in rows]))


@given(NUMBERS)
def test_scores_of_numbers_follow_their_definitions(pairs):
    true, said = (np.array(side, float) for side in zip(*pairs, strict=True))
    scores = NumberScores(true, said)
    assert scores.mae == pytest.approx(np.mean(abs(true - said)))
    if np.ptp(true):
        assert scores.r2 == pytest.approx(1 - np.mean((true - said) ** 2) / np.var(true))
    if np.ptp(true) and np.ptp(said):
        assert scores.pearson == pytest.approx(np.corrcoef(true, said)[0, 1])
        assert scores.spearman == pytest.approx(
            np.corrcoef(*[[np.mean(np.flatnonzero(np.sort(side) == x)) for x in side]
                          for side in (true, said)])[0, 1])  # fmt: skip
    else:
        assert scores.pearson == 0


def slow_entities(tags):
    """Word by word: an entity ends where the next word doesn't continue it."""
    found, current = [], None
    for i, tag in enumerate([*tags, "O"]):
        continues = tag.startswith("I-") and current is not None and current[0] == tag[2:]
        if current is not None and not continues:
            found.append((*current, i))
            current = None
        if tag != "O" and current is None:
            current = (tag[2:], i)
    return found


@given(st.lists(TAGS, max_size=12))
def test_entities_are_those_found_word_by_word(tags):
    assert entities(tags) == slow_entities(tags)


@given(st.lists(st.lists(st.tuples(TAGS, TAGS), max_size=8), min_size=1, max_size=5))
def test_an_entity_is_right_if_its_kind_and_its_place_are(texts):
    true = [[a for a, _ in text] for text in texts]
    said = [[b for _, b in text] for text in texts]
    scores = count_entities(true, said)
    both = [(set(slow_entities(a)), set(slow_entities(b))) for a, b in zip(true, said, strict=True)]
    assert scores.right.sum() == sum(len(a & b) for a, b in both)
    assert scores.said.sum() == sum(len(b) for _, b in both)
    assert scores.true.sum() == sum(len(a) for a, _ in both)
    assert count_entities(true, true).right.sum() == scores.true.sum()


def test_what_is_neither_there_nor_said_is_not_in_the_mean():
    true, said = np.array([[1, 0, 0], [1, 1, 0]]) == 1, np.array([[1, 0, 0], [1, 0, 0]]) == 1
    assert count_labels(["x", "y", "z"], true, said).macro_f1 == 0.5
    assert count(["x", "y", "z"], np.array([0, 0, 1]), np.array([0, 0, 1])).macro_f1 == 1


def test_yardsticks_are_of_what_is_true():
    words = count_entities([["O", "B-A", "O"], ["B-A"]], [["O", "O", "B-A"], ["B-A"]])
    assert words.extra == {"word accuracy": 0.5}
    assert words.yardstick() == "never an entity: word accuracy 50.0%"
    true = np.array([[1, 0], [0, 0], [0, 0], [1, 1]]) == 1
    said = np.array([[1, 0], [0, 1], [1, 1], [0, 0]]) == 1
    labels = count_labels(["x", "y"], true, said)
    assert labels.yardstick() == "never a label: all labels right 50.0%"
    classes = count(["x", "y"], np.array([0, 0, 0, 1, 1]), np.array([1, 1, 1, 1, 1]))
    assert classes.yardstick() == "always the commonest class: 60.0%"
    numbers = NumberScores(np.array([0.0, 0.0, 0.0, 8.0]), np.ones(4))
    assert numbers.yardstick() == "always the median: mean error 2"


@pytest.mark.parametrize("scores", [
    count(["x", "yy"], np.array([0, 1, 1]), np.array([0, 0, 1])),
    count_labels(["x", "yy"], np.eye(2) > 0, np.ones((2, 2)) > 0),
    count_entities([["B-A", "O"]], [["B-A", "B-A"]]),
    NumberScores(np.arange(5.0), np.arange(5.0) + 1),
])  # fmt: skip
def test_every_kind_of_scores_can_be_printed(scores):
    assert scores.main in scores.figures().values()
    assert str(scores)
    assert scores.yardstick()
    lines = scores.table().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) > 1


@pytest.mark.parity
@given(ANSWERS, SETS, NUMBERS)
def test_scores_are_scikit_learns(answers, sets, pairs):
    from scipy.stats import spearmanr
    from sklearn import metrics

    true, said = (np.array(side) for side in zip(*answers, strict=True))
    f1 = metrics.f1_score(true, said, average="macro", zero_division=0)
    assert count(list("abcd"), true, said).macro_f1 == pytest.approx(f1)
    true, said = (np.array(side) for side in zip(*sets, strict=True))
    f1 = metrics.f1_score(true, said, average="micro", zero_division=0)
    assert count_labels(list("abc"), true, said).micro_f1 == pytest.approx(f1)
    true, said = (np.array(side, float) for side in zip(*pairs, strict=True))
    scores = NumberScores(true, said)
    assert scores.r2 == pytest.approx(metrics.r2_score(true, said))
    if np.ptp(true) and np.ptp(said):
        assert scores.spearman == pytest.approx(spearmanr(true, said).statistic)
