"""Metrics against their definitions, and against scikit-learn and SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tasks.baselines import compare
from minibert.tasks.entities import entity_metrics, find_entities, marks_entities
from minibert.tasks.metrics import ClassificationMetrics, F1Metrics, RegressionMetrics

CLASSES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)
NUMBERS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=30)
SETS = st.lists(st.tuples(*[st.lists(st.booleans(), min_size=3, max_size=3)] * 2), min_size=1)
TAGS = st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"])


@given(CLASSES)
def test_classification_metrics_follow_their_definitions(pairs):
    actual, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    metrics = ClassificationMetrics.from_ids(["a", "b", "c", "d"], actual, predicted)
    assert metrics.confusion.sum() == len(pairs)
    assert metrics.accuracy == pytest.approx(np.mean(actual == predicted))
    majority = max(np.mean(actual == c) for c in range(4))
    assert metrics.majority_accuracy == pytest.approx(majority)
    f1 = []
    for c in range(4):
        correct = np.sum((actual == c) & (predicted == c))
        if np.any((actual == c) | (predicted == c)):
            f1.append(2 * correct / (np.sum(actual == c) + np.sum(predicted == c)))
    assert metrics.macro_f1 == metrics.main == pytest.approx(np.mean(f1))


@given(SETS)
def test_multi_label_f1_metrics_follow_their_definitions(rows):
    actual, predicted = (np.array(side) for side in zip(*rows, strict=True))
    metrics = F1Metrics.from_indicators(["a", "b", "c"], actual, predicted)
    correct = np.sum(actual & predicted)
    assert metrics.precision == pytest.approx(correct / max(predicted.sum(), 1))
    assert metrics.recall == pytest.approx(correct / max(actual.sum(), 1))
    if metrics.precision + metrics.recall:
        harmonic = 2 / (1 / metrics.precision + 1 / metrics.recall) if correct else 0
        assert metrics.micro_f1 == pytest.approx(harmonic)
    assert metrics.extra["all labels right"] == pytest.approx(np.mean([a == b for a, b in rows]))


@given(NUMBERS)
def test_regression_metrics_follow_their_definitions(pairs):
    actual, predicted = (np.array(side, float) for side in zip(*pairs, strict=True))
    metrics = RegressionMetrics(actual, predicted)
    assert metrics.mae == pytest.approx(np.mean(abs(actual - predicted)))
    if np.ptp(actual):
        r2 = 1 - np.mean((actual - predicted) ** 2) / np.var(actual)
        assert metrics.r2 == pytest.approx(r2)
    if np.ptp(actual) and np.ptp(predicted):
        assert metrics.pearson == pytest.approx(np.corrcoef(actual, predicted)[0, 1])
        ranks = [
            [np.mean(np.flatnonzero(np.sort(side) == x)) for x in side]
            for side in (actual, predicted)
        ]
        assert metrics.spearman == pytest.approx(np.corrcoef(*ranks)[0, 1])
    else:
        assert metrics.pearson == 0


def slow_entities(tags):
    """Find entities word by word: an entity ends where the next word does not continue it."""
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
def test_find_entities_equals_a_search_word_by_word(tags):
    assert find_entities(tags) == slow_entities(tags)


# Each scheme's tags for an entity of a number of words.
SCHEMES = {
    "IOB1": lambda n: ["I"] * n,
    "IOB2": lambda n: ["B", *["I"] * (n - 1)],
    "IOBES": lambda n: ["S"] if n == 1 else ["B", *["I"] * (n - 2), "E"],
    "BILOU": lambda n: ["U"] if n == 1 else ["B", *["I"] * (n - 2), "L"],
    "BMES": lambda n: ["S"] if n == 1 else ["B", *["M"] * (n - 2), "E"],
    "BMEWO": lambda n: ["W"] if n == 1 else ["B", *["M"] * (n - 2), "E"],
}
PARTS = st.lists(st.tuples(st.sampled_from(["O", "A", "B-C", "_"]), st.integers(1, 4)), max_size=6)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(PARTS)
def test_find_entities_returns_the_entities_that_a_scheme_encodes(scheme, parts):
    tags, expected, previous = [], [], None
    for kind, length in parts:
        start = len(tags)
        if kind == "O":
            tags += ["O"] * length
        else:
            marks = SCHEMES[scheme](length)
            if scheme == "IOB1" and previous == kind:
                marks[0] = "B"
            tags += marks if kind == "_" else [f"{mark}-{kind}" for mark in marks]
            expected.append((kind, start, start + length))
        previous = kind
    assert find_entities(tags) == expected
    assert marks_entities(tags) == any("-" in tag or tag in "BI" for tag in {*tags} - {"O"})


@given(st.lists(TAGS, max_size=8), st.sampled_from(["X", "o", "PER", "", "B_A"]))
def test_find_entities_reads_a_stray_tag_as_outside(tags, stray):
    strayed = [stray if tag == "O" else tag for tag in tags]
    assert find_entities(strayed) == find_entities(tags)


def test_find_entities_counts_as_seqeval_does():
    """An E- or S- tag ends an entity; any other tag than I- or E- of its kind begins another."""
    tags = "B-A E-A E-A I-A S-A I-A B-A S-A I-B E-A O E-A".split()
    expected = [(0, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 10), (11, 12)]
    assert [entity[1:] for entity in find_entities(tags)] == expected


@given(st.lists(st.lists(st.tuples(TAGS, TAGS), max_size=8), min_size=1, max_size=5))
def test_entity_metrics_compare_kind_start_and_end(texts):
    actual = [[a for a, _ in text] for text in texts]
    predicted = [[b for _, b in text] for text in texts]
    metrics = entity_metrics(actual, predicted)
    sets = zip(map(slow_entities, actual), map(slow_entities, predicted), strict=True)
    both = [(set(a), set(b)) for a, b in sets]
    assert metrics.true_positives.sum() == sum(len(a & b) for a, b in both)
    assert metrics.predicted.sum() == sum(len(b) for _, b in both)
    assert metrics.actual.sum() == sum(len(a) for a, _ in both)
    assert entity_metrics(actual, actual).true_positives.sum() == metrics.actual.sum()


def test_macro_f1_is_scikit_learns_for_names_without_label_and_prediction():
    """`f1_score` leaves out an absent class, but a label is a column, whose F1 is then 0."""
    actual = np.array([[1, 0, 0], [1, 1, 0]]) == 1
    predicted = np.array([[1, 0, 0], [1, 0, 0]]) == 1
    names = ["x", "y", "z"]
    assert F1Metrics.from_indicators(names, actual, predicted).macro_f1 == pytest.approx(1 / 3)
    ids = np.array([0, 0, 1])
    assert ClassificationMetrics.from_ids(names, ids, ids).macro_f1 == 1


def test_trivial_baselines_depend_on_the_labels_only():
    words = entity_metrics([["O", "B-A", "O"], ["B-A"]], [["O", "O", "B-A"], ["B-A"]])
    assert words.extra == {"word accuracy": 0.5}
    assert words.trivial_baseline() == "never an entity: word accuracy 50.0%"
    actual = np.array([[1, 0], [0, 0], [0, 0], [1, 1]]) == 1
    predicted = np.array([[1, 0], [0, 1], [1, 1], [0, 0]]) == 1
    labels = F1Metrics.from_indicators(["x", "y"], actual, predicted)
    assert labels.trivial_baseline() == "never a label: all labels right 50.0%"
    classes = ClassificationMetrics.from_ids(["x", "y"], np.array([0, 0, 0, 1, 1]), np.ones(5, int))
    assert classes.trivial_baseline() == "always the commonest class: 60.0%"
    numbers = RegressionMetrics(np.array([0.0, 0.0, 0.0, 8.0]), np.ones(4))
    assert numbers.trivial_baseline() == "always the median: mean error 2"


@pytest.mark.parametrize("metrics", [
    ClassificationMetrics.from_ids(["x", "yy"], np.array([0, 1, 1]), np.array([0, 0, 1])),
    F1Metrics.from_indicators(["x", "yy"], np.eye(2) > 0, np.ones((2, 2)) > 0),
    entity_metrics([["B-A", "O"]], [["B-A", "B-A"]]),
    RegressionMetrics(np.arange(5.0), np.arange(5.0) + 1),
])  # fmt: skip
def test_metrics_are_formatted_as_text_and_aligned_table(metrics):
    assert metrics.main in metrics.figures().values()
    assert str(metrics)
    assert metrics.trivial_baseline()
    lines = metrics.table().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) > 1


@pytest.mark.parametrize("classes", [2, 20, 21, 77])
def test_a_table_of_many_classes_has_a_row_for_each_and_no_column(classes):
    names = [f"c{i}" for i in range(classes)]
    actual, predicted = np.random.default_rng(0).integers(0, classes, (2, 50))
    metrics = ClassificationMetrics.from_ids(names, actual, predicted)
    header, *rows = metrics.table().splitlines()
    assert [row.split()[0] for row in rows] == names
    if classes <= 20:
        assert header.split()[1:] == names
    else:
        assert header.split() == ["right", "said", "true", "F1"]
        for c, row in enumerate(rows):
            places = (actual == c) & (predicted == c), predicted == c, actual == c
            assert row.split()[1:4] == [str(np.sum(place)) for place in places]


def share(right):
    """Return metrics whose F1 is the share of 50 correct predictions."""
    return F1Metrics(["x"], np.array([right]), np.array([50]), np.array([50]), {}, "")


@given(st.integers(0, 50), st.integers(0, 50))
def test_compare_names_the_better_one_and_the_difference(model, baseline):
    found = compare(share(model), share(baseline), 1250)
    better, other = ("BERT", "the baseline") if model > baseline else ("the baseline", "BERT")
    if model == baseline:
        expected = "BERT and the baseline are equally good, and the baseline is cheaper"
    else:
        expected = f"{better} is better than {other} by {2 * abs(model - baseline)}.0 points"
    assert found == f"{expected}: F1 on 1,250 texts"


def test_compare_names_the_metric_of_numbers():
    actual = np.arange(5.0)
    pair = [RegressionMetrics(actual, actual + error) for error in (1.0, 0.5)]
    assert compare(*pair, 5) == "the baseline is better than BERT by 0.375: R² on 5 texts"


@pytest.mark.parity
@given(CLASSES, SETS, NUMBERS)
def test_metrics_equal_those_of_scikit_learn(classes, sets, numbers):
    from scipy.stats import spearmanr
    from sklearn.metrics import f1_score, r2_score

    actual, predicted = (np.array(side) for side in zip(*classes, strict=True))
    expected = f1_score(actual, predicted, average="macro", zero_division=0)
    metrics = ClassificationMetrics.from_ids(list("abcd"), actual, predicted)
    assert metrics.macro_f1 == pytest.approx(expected)
    actual, predicted = (np.array(side) for side in zip(*sets, strict=True))
    expected = f1_score(actual, predicted, average="micro", zero_division=0)
    metrics = F1Metrics.from_indicators(list("abc"), actual, predicted)
    assert metrics.micro_f1 == pytest.approx(expected)
    expected = f1_score(actual, predicted, average="macro", zero_division=0)
    assert metrics.macro_f1 == pytest.approx(expected)
    actual, predicted = (np.array(side, float) for side in zip(*numbers, strict=True))
    metrics = RegressionMetrics(actual, predicted)
    assert metrics.r2 == pytest.approx(r2_score(actual, predicted))
    if np.ptp(actual) and np.ptp(predicted):
        assert metrics.spearman == pytest.approx(spearmanr(actual, predicted).statistic)
