"""Thresholds of several labels: the best F1, ties, unseen labels, files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minibert.tasks import MultiLabelTask
from minibert.tasks.classification import best_threshold
from minibert.tasks.metrics import f1

SHARES = hnp.arrays(float, st.integers(1, 12), elements=st.integers(1, 19).map(lambda n: n / 20))


@given(SHARES, st.data())
def test_no_threshold_is_better_than_the_best_one(shares, data):
    actual = data.draw(hnp.arrays(bool, len(shares)))

    def score(threshold):
        predicted = shares > threshold
        return f1((predicted & actual).sum(), predicted.sum(), actual.sum())

    best = best_threshold(actual, shares)
    others = [*shares, *(shares - 0.01), *(shares + 0.01), 0.5]
    if actual.any():
        assert score(best) >= max(map(score, others)) - 1e-12
    if score(0.5) == max(map(score, others)):
        assert best == 0.5


def test_a_threshold_is_in_the_middle_of_a_gap():
    actual = np.array([True, True, False, False])
    assert best_threshold(actual, np.array([0.4, 0.3, 0.1, 0.2])) == pytest.approx(0.25)
    assert best_threshold(actual, np.array([0.9, 0.8, 0.7, 0.6])) == pytest.approx(0.75)
    assert best_threshold(np.zeros(3, bool), np.array([0.9, 0.8, 0.7])) == 0.5  # nothing to find


def test_tuned_thresholds_decide_predictions_and_metrics():
    task = MultiLabelTask(["big", "red"])
    labels = [["big"], ["big", "red"], ["unseen"], []]
    outputs = np.array([[0.4, 0.2], [0.3, 0.9], [0.1, 0.6], [0.2, 0.1]])
    tuned = task.tuned(labels, outputs)
    np.testing.assert_allclose(tuned.thresholds, [0.25, 0.75])
    assert task.thresholds.tolist() == [0.5, 0.5]
    assert tuned.decode_outputs(outputs) == [["big"], ["big", "red"], [], []]
    wide = tuned.widened(labels)
    assert wide.names == ["big", "red", "unseen"]
    np.testing.assert_allclose(wide.thresholds, [0.25, 0.75, 0.5])
    # Three labels are found and right, the unseen one is missed.
    assert tuned.metrics(labels, outputs).recall == 0.75
    assert tuned.metrics(labels, outputs).precision == 1.0
    for bad in ([0.5], [0.5, 2.0], [0.5, float("nan")]):
        with pytest.raises(ValueError, match="thresholds: expected 2 probabilities, one for each"):
            MultiLabelTask(["big", "red"], bad)
