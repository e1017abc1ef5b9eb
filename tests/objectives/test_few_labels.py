"""Vectors from labels: balanced batches, the fitted classifier, and what makes no pairs."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from minibert import BertConfig, BertForSequenceClassification
from minibert.objectives.few_labels import (
    SMOOTHING,
    LabelledVectors,
    smoothed_counts,
    why_no_pairs,
)
from minibert.tasks import Examples, MultiLabelTask, RegressionTask, SingleLabelTask, TaggingTask

WORDS = {"pet": "cat dog", "place": "mat tree", "way": "ran sat"}


@pytest.fixture
def examples():
    """Nine texts of `pet`, five of `place`, one of `way`."""
    rng = np.random.default_rng(0)
    labels = ["pet"] * 9 + ["place"] * 5 + ["way"]
    texts = [
        f"the {rng.choice(WORDS[label].split())} on a {'big ' * (i % 3)}{'red ' * (i % 2)}one"
        for i, label in enumerate(labels)
    ]
    return Examples(texts, None, labels)


def objective(examples, tokenizer, batch_size=8, **options):
    task = SingleLabelTask.from_labels(examples.labels)
    config = BertConfig.preset(
        "tiny", vocab_size=tokenizer.vocab_size, hidden_size=32, max_position_embeddings=16,
        **task.config(),
    )  # fmt: skip
    settings = SimpleNamespace(steps=10, batch_size=batch_size, shards=2, seed=3)
    model = BertForSequenceClassification(config)
    return LabelledVectors(model, tokenizer, task, examples, settings, **options)


def test_an_epoch_contains_each_text_once_and_each_batch_its_share_of_each_class(
    examples, tokenizer
):
    found = objective(examples, tokenizer)
    batches = [found.indices(step) for step in range(4)]
    for epoch in (batches[:2], batches[2:]):
        assert sorted(np.concatenate(epoch).tolist()) == list(range(15))
    for batch in batches:
        counts = Counter(examples.labels[i] for i in batch)
        assert 4 <= counts["pet"] <= 5
        assert 2 <= counts["place"] <= 3
    assert batches[0].tolist() != batches[2].tolist()


def test_a_rare_class_has_pairs_although_there_are_more_batches(tokenizer):
    labels = ["way"] * 8 + ["pet"] * 24 + ["place"] * 24
    texts = [f"the {WORDS[label].split()[i % 2]} on a one" for i, label in enumerate(labels)]
    found = objective(Examples(texts, None, labels), tokenizer, batch_size=7)  # 8 batches
    pairs = 0
    for step in range(8):
        counts = Counter(labels[i] for i in found.indices(step))
        assert counts["pet"] >= 2
        pairs += counts["way"] >= 2
    assert pairs == 4


def test_batches_without_room_for_all_classes_contain_pairs(examples, tokenizer):
    found = objective(examples, tokenizer, batch_size=4)
    batches = [found.indices(step) for step in range(4)]
    assert sorted(np.concatenate(batches).tolist()) == list(range(15))
    for batch in batches:
        counts = Counter(examples.labels[i] for i in batch)
        assert sum(count > 1 for count in counts.values()) >= 1


def test_batches_of_one_text_are_refused(examples, tokenizer):
    with pytest.raises(ValueError, match="batch_size: expected at least 2"):
        objective(examples, tokenizer, batch_size=1)


def test_the_fitted_classifier_predicts_the_texts_it_has_seen(examples, tokenizer):
    found = objective(examples, tokenizer)
    before = found.task.metrics(
        examples.labels, found.task.predict(found.model, tokenizer, examples.texts)
    ).main
    found.fit_classifier()
    after = found.task.metrics(
        examples.labels, found.task.predict(found.model, tokenizer, examples.texts)
    ).main
    assert after > max(before, 0.6)


def test_few_texts_count_as_if_each_class_had_more():
    ids = np.array([0] * 3 + [1] * 2)
    counts = smoothed_counts(np.ones(5), ids)
    of_classes = np.bincount(ids, counts)
    assert of_classes.sum() == pytest.approx(5)
    assert of_classes[0] / of_classes[1] == pytest.approx((3 + SMOOTHING) / (2 + SMOOTHING))
    weighted = smoothed_counts(np.array([1.0, 0.0, 3.0, 0.0, 0.0]), ids)
    np.testing.assert_allclose(weighted, [1, 0, 3, 0, 0])


def test_without_evidence_the_classifier_has_the_shares_of_the_classes_by_their_weights(tokenizer):
    sizes = {"pet": 8, "place": 4, "way": 2}
    examples = Examples(
        ["cat", "dog"] * 7, None, [label for label, size in sizes.items() for _ in range(size)]
    )
    counts = np.array(list(sizes.values()), float)
    stated = np.array([1.0, 1.0, 50.0])
    for weights, expected in ((None, counts + SMOOTHING), (stated, counts * stated)):
        found = objective(examples, tokenizer, weights=weights)
        found.fit_classifier()
        p = found.task.predict(found.model, tokenizer, ["cat"])[0]
        np.testing.assert_allclose(p, expected / expected.sum(), rtol=1e-4)


@pytest.mark.parametrize(
    ("task", "examples", "reason"),
    [
        (MultiLabelTask(["a", "b"]), Examples(["x", "y"], None, [["a"], ["b"]]), "for multi-label"),
        (RegressionTask.from_labels([1.0, 2.0]), Examples(["x", "y"], None, [1.0, 2.0]), "for reg"),
        (TaggingTask(["A", "B"]), Examples([["x"], ["y"]], None, [["A"], ["B"]]), "for tagging"),
        (SingleLabelTask(["a", "b"]), Examples(["x", "y"], ["z", "z"], ["a", "a"]), "are pairs"),
        (SingleLabelTask(["a", "b"]), Examples(["x", "y"], None, ["a", "b"]), "no two texts"),
        (SingleLabelTask(["a", "b"]), Examples(["x", "y"], None, ["a", "a"]), None),
    ],
)
def test_why_no_pairs_names_the_reason(task, examples, reason):
    found = why_no_pairs(task, examples)
    assert found is None if reason is None else reason in found
