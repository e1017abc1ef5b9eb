"""Labels that training did not see, and the choice of a task by the labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tasks import (
    MultiLabelTask,
    RegressionTask,
    SingleLabelTask,
    TaggingTask,
    guess_task,
)

PAIRS = st.lists(st.tuples(st.sampled_from("abxy"), st.integers(0, 1)), min_size=1, max_size=20)
SETS = st.lists(
    st.tuples(st.sets(st.sampled_from("abxy")), st.sets(st.sampled_from("ab"))), min_size=1
)


@given(PAIRS)
def test_an_unseen_class_counts_as_an_error(pairs):
    task = SingleLabelTask(["a", "b"])
    labels, predicted = [label for label, _ in pairs], [task.names[i] for _, i in pairs]
    outputs = np.eye(2)[[i for _, i in pairs]]
    metrics = task.metrics(labels, outputs)
    pairs = list(zip(labels, predicted, strict=True))
    assert metrics.accuracy == pytest.approx(np.mean([a == b for a, b in pairs]))
    each = [
        2 * pairs.count((name, name)) / (labels.count(name) + predicted.count(name))
        for name in {*labels, *predicted}
    ]
    assert metrics.macro_f1 == pytest.approx(np.mean(each))
    assert len(list(task.mistakes(labels, labels, outputs))) == sum(a != b for a, b in pairs)
    assert task.count_unseen(labels) == {n: labels.count(n) for n in "xy" if n in labels}
    words = TaggingTask(["a", "b"])
    assert words.metrics([labels], [outputs]).main == metrics.main


@given(SETS)
def test_an_unseen_label_of_several_counts_as_missed(sets):
    task = MultiLabelTask(["a", "b"])
    labels = [sorted(actual) for actual, _ in sets]
    outputs = np.array([[float(name in predicted) for name in "ab"] for _, predicted in sets])
    metrics = task.metrics(labels, outputs)
    assert metrics.actual.sum() == sum(map(len, labels))
    assert metrics.true_positives.sum() == sum(len(a & b) for a, b in sets)
    assert metrics.extra["all labels right"] == pytest.approx(np.mean([a == b for a, b in sets]))
    mistakes = list(task.mistakes(labels, labels, outputs))
    assert [mistake.severity for mistake in mistakes] == [1.0] * sum(a != b for a, b in sets)


def test_an_unseen_tag_counts_as_a_missed_entity():
    task = TaggingTask(["O", "B-A"])
    metrics = task.metrics([["B-A", "O", "B-B", "I-B"]], [np.eye(2)[[1, 0, 0, 1]]])
    assert metrics.names == ["A", "B"]
    assert (metrics.true_positives.tolist(), metrics.actual.tolist()) == ([1, 0], [1, 1])
    assert metrics.predicted.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["rude", "rude,threat", "none", "threat"], MultiLabelTask),
        (["rude", "rude, threat", None, "threat"], MultiLabelTask),
        (["1,2,3", "1", "2", "3"], MultiLabelTask),
        (["a,b", "b,c", "c,a"], MultiLabelTask),
        (["Smith, John", "Doe, Jane", "other"], SingleLabelTask),
        (["rude", None, "none"], SingleLabelTask),
        (["1", None, "2.5"], RegressionTask),
    ],
)
def test_guess_task_recognises_lists_with_commas(labels, expected):
    assert guess_task(labels, "texts") is expected


def test_guess_task_refuses_commas_that_may_be_decimal():
    with pytest.raises(ValueError, match="labels as '-3,25' may be one number or two labels"):
        guess_task(["1,5", "2", "-3,25"], "texts")


def test_parse_of_an_empty_label():
    assert MultiLabelTask.parse(None) == []
    with pytest.raises(ValueError, match="label is empty; the task multi-label reads"):
        SingleLabelTask.parse(None)
    with pytest.raises(ValueError, match="expected a number as label, got None"):
        RegressionTask.parse(None)
    for label in (None, "O"):
        with pytest.raises(ValueError, match="expected a list of tags, one for each word, got"):
            TaggingTask.parse(label)


@pytest.mark.parametrize(
    ("names", "notes"),
    [
        (["O", "B-PER", "I-PER"], []),
        (["B", "I"], []),
        (["B-PER", "I-PER"], []),
        (["O", "S-PER", "B-LOC", "E-LOC"], []),
        (["O", "L-PER", "B-PER", "U-PER"], []),
        (["O", "B-PER", "I-PER", "X"], ["entities are scored; these tags mark none and count as"]),
        (["NOUN", "VERB"], ["words are scored, not entities, because most tags do not mark"]),
        (["O", "PER"], ["words are scored, not entities"]),
        (["O", "S"], ["words are scored, not entities"]),
    ],
)
def test_scoring_notes_name_what_is_scored(names, notes):
    found = TaggingTask(names).scoring_notes()
    assert len(found) == len(notes)
    for note, start in zip(found, notes, strict=True):
        assert note.startswith(start)
        assert repr(names[-1]) in note
