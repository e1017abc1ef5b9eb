"""`WeightedSupervised`: whole weights are copies, the gradient is right, shards change nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.gradcheck import check_objective
from minibert.gradcheck.blind import away_from_initial
from minibert.models import BertConfig, BertForSequenceClassification
from minibert.objectives.supervised import Supervised, WeightedSupervised
from minibert.tasks import Examples, MultiLabelTask, RegressionTask, SingleLabelTask, TaggingTask
from minibert.tasks.classification import balanced_class_weights
from minibert.training import FineTuning, fine_tune
from tests.conftest import small_tokenizer

TEXTS = ["the cat sat", "a dog ran under the tree", "big and red", "it was a mat", "dog"]
TASKS = {
    "classes": (SingleLabelTask(["a", "b", "c"]), ["a", "c", "b", "c", "a"]),
    "labels": (MultiLabelTask(["a", "b", "c"]), [["a"], ["a", "c"], [], ["b"], ["b"]]),
    "numbers": (RegressionTask(), [0.5, -1.0, 2.0, 0.0, 1.5]),
}
TOKENIZER = small_tokenizer()


def made(task, weights=None, class_weights=None):
    """Return an objective in float64 without dropout, for one batch of all texts."""
    config = BertConfig(
        vocab_size=len(TOKENIZER), hidden_size=6, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=7, max_position_embeddings=12, initializer_range=0.4,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **task.config(),
    )  # fmt: skip
    model = BertForSequenceClassification(config, seed=1, dtype=np.float64)
    model.class_weights = class_weights
    return model


def objective_of(kind, weights, labels=None, texts=TEXTS, class_weights=None):
    task, own = TASKS[kind]
    model = made(task, class_weights=class_weights)
    examples = Examples(texts, None, own if labels is None else labels, weights)
    cls = Supervised if weights is None else WeightedSupervised
    chosen = FineTuning(steps=1, batch_size=len(texts), shards=1)
    return cls(model, TOKENIZER, task, examples, chosen)


def loss_of(objective):
    """Return the loss and the gradient of the only step."""
    shards = objective.shards(0)
    denominator = sum(map(objective.count, shards))
    grads = objective.model.params.zeros_like()
    loss = sum(objective.loss_and_grads(shard, None, None, grads, denominator) for shard in shards)
    return loss, grads.vector


@pytest.mark.parametrize("kind", TASKS)
@settings(max_examples=8)
@given(weights=st.lists(st.integers(0, 3), min_size=5, max_size=5).filter(any))
def test_whole_weights_equal_copies_of_the_examples(kind, weights):
    kept = [i for i, weight in enumerate(weights) if weight]
    _task, labels = TASKS[kind]
    class_weights = None if kind == "numbers" else np.array([0.5, 2.0, 3.0])
    mine = objective_of(
        kind, [float(weights[i]) for i in kept], [labels[i] for i in kept],
        [TEXTS[i] for i in kept], class_weights,
    )  # fmt: skip
    copies = [i for i, weight in enumerate(weights) for _ in range(weight)]
    plain = objective_of(
        kind, None, [labels[i] for i in copies], [TEXTS[i] for i in copies], class_weights
    )
    (loss, grads), (expected, gradient) = loss_of(mine), loss_of(plain)
    assert loss == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(grads, gradient, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    "kind", ["classes", *(pytest.param(kind, marks=pytest.mark.slow) for kind in [*TASKS][1:])]
)
def test_the_gradient_agrees_with_differences_and_not_with_the_shards(kind):
    objective = objective_of(kind, [0.3, 2.0, 1.0, 0.7, 4.0])
    (whole,) = objective.shards(0)
    objective.settings = FineTuning(steps=1, batch_size=5, shards=3)
    parts = objective.shards(0)
    assert len(parts) == 3
    params = objective.model.params
    params.vector[:] = away_from_initial(params).vector
    check_objective(objective, params, whole, parts, entries=1)


@pytest.mark.parametrize("kind", TASKS)
def test_only_the_ratios_of_the_weights_matter(kind):
    weights = [0.3, 2.0, 1.0, 0.7, 4.0]
    (loss, grads), (double, twice) = (
        loss_of(objective_of(kind, [factor * each for each in weights])) for factor in (1, 2)
    )
    assert loss == pytest.approx(double, rel=1e-12)
    np.testing.assert_allclose(grads, twice, rtol=1e-9, atol=1e-13)
    assert loss != pytest.approx(loss_of(objective_of(kind, None))[0], rel=1e-3)


def test_frozen_parameters_stay_and_balanced_weights_count_the_weights():
    task, labels = TASKS["classes"]
    model = made(task)
    before = {name: array.copy() for name, array in model.params.items()}
    weights = [1.0, 2.0, 1.0, 4.0, 1.0]
    chosen = FineTuning(steps=1, batch_size=5, freeze=0, class_weight="balanced")
    fine_tune(model, TOKENIZER, task, Examples(TEXTS, None, labels, weights), chosen, threads=1)
    np.testing.assert_allclose(model.class_weights, 9 / 3 / np.array([2, 1, 6]))
    copies = [0] * 2 + [1] + [2] * 6
    np.testing.assert_allclose(balanced_class_weights(copies, 3), model.class_weights)
    moved = {name for name, array in model.params.items() if (array != before[name]).any()}
    assert moved
    assert not any("embeddings" in name for name in moved)


def test_balanced_weights_of_several_labels_are_those_of_scikit_learn():
    """Texts with a label weigh as much as those without it, in ratio to each other."""
    task, labels = MultiLabelTask(["a", "b", "c", "d"]), TASKS["labels"][1]
    weights = np.array([1.0, 2.0, 1.0, 4.0, 1.0])
    for examples in (None, weights):
        found = task.class_weights(labels, "balanced", examples)
        each = np.ones(5) if examples is None else examples
        for name, weight in zip("abc", found, strict=False):
            has = np.array([name in label for label in labels])
            assert weight * each[has].sum() == pytest.approx(each[~has].sum())
        assert found[3] == 1  # no text has it
    assert task.class_weights([["a"], ["a", "b"]], "balanced").tolist() == [1, 1, 1, 1]
    assert task.class_weights(labels, [1, 2, 3, 4]).tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="class_weight: expected 4 weights, one for each class"):
        task.class_weights(labels, [1, 2])


def test_words_with_tags_have_no_weights():
    task = TaggingTask(["O", "A"])
    examples = Examples([["the", "cat"]], None, [["O", "A"]], [2.0])
    with pytest.raises(ValueError, match="sample_weight: expected labels of texts, got tags"):
        WeightedSupervised(made(TASKS["classes"][0]), TOKENIZER, task, examples, None)
