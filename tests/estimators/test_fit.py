"""What `fit` and `score` do with weights, class weights, epochs, held-out examples and tags."""

import copy
import pickle

import numpy as np
import pytest

from minibert import TextClassifier, TextRegressor, TokenTagger
from minibert.tasks import Task
from minibert.training import TrainingHistory

TEXTS = ["a red fox", "the red hen", "a blue sky", "the blue sea"] * 3
COLOURS = np.array(["red", "red", "blue", "blue"] * 3)
SMALL = {"epochs": 2, "batch_size": 4}
NUMBERS = np.arange(12.0)


@pytest.fixture(autouse=True)
def narrow_presets(monkeypatch):
    from minibert.models.config import PRESETS

    tiny = {**PRESETS["tiny"], "hidden_size": 8, "intermediate_size": 8}
    monkeypatch.setattr("minibert.models.config.PRESETS", {"nano": tiny, "tiny": tiny})


def probabilities(weights, y=COLOURS, texts=TEXTS, **params):
    made = TextClassifier(**{**SMALL, **params}).fit(texts, y, sample_weight=weights)
    return made.predict_proba(TEXTS)


def test_equal_weights_change_nothing_and_weight_0_removes_an_example():
    plain = probabilities(None)
    for weights in ([0.3] * 12, 5, np.ones(12), {"w": [2.0] * 12}):
        np.testing.assert_array_equal(probabilities(weights), plain)
    kept = np.arange(12) >= 4
    removed = probabilities(None, COLOURS[kept], TEXTS[4:])
    np.testing.assert_array_equal(probabilities(kept * 1.0), removed)
    np.testing.assert_array_equal(probabilities(kept), removed)
    assert np.abs(removed - plain).max() > 1e-4
    held_out = probabilities(kept * 1.0, early_stopping=True)
    np.testing.assert_array_equal(
        held_out, probabilities(None, COLOURS[kept], TEXTS[4:], early_stopping=True)
    )


def test_a_number_of_weight_0_does_not_decide_the_unit_of_a_regressor():
    texts, numbers, weights = [*TEXTS, "a hen"], [*NUMBERS, 1e6], [*[1.0] * 12, 0.0]
    found, plain = (
        TextRegressor(**SMALL).fit(*given).predict(TEXTS)
        for given in ((texts, numbers, weights), (TEXTS, NUMBERS))
    )
    np.testing.assert_array_equal(found, plain)


def test_weights_move_the_predictions():
    """One of four equal texts has another class: 1/4, or 1/2 if it weighs as much as the others."""
    texts, y = ["a fox"] * 8, ["fox"] * 6 + ["hen"] * 2
    options = {"epochs": 40, "batch_size": 8, "learning_rate": 1e-2}
    weights = [1.0] * 6 + [3.0] * 2
    found = [
        TextClassifier(**options).fit(texts, y, each).predict_proba(texts[:1])[0, 1]
        for each in (None, weights)
    ]
    assert found == pytest.approx([0.25, 0.5], abs=0.06)
    numbers = [0.0] * 6 + [4.0] * 2
    found = [
        TextRegressor(**options).fit(texts, numbers, each).predict(texts[:1])[0]
        for each in (None, weights)
    ]
    assert found == pytest.approx([1.0, 2.0], abs=0.3)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0] * 11, r"sample_weight: expected 12 numbers, one for each text, got the shape \(11,"),
        (np.ones((12, 2)), r"sample_weight: expected 12 numbers, one for each text, got the shape"),
        ([1.0] * 11 + [-1.0], "sample_weight: expected finite numbers of 0 or more"),
        ([1.0] * 11 + [np.nan], "sample_weight: expected finite numbers of 0 or more"),
        (["x"] * 12, "sample_weight: expected numbers, got"),
        ([0.0] * 12, "sample_weight: expected a weight above 0, got zero everywhere"),
    ],
)
@pytest.mark.parametrize("kind", [TextClassifier, TextRegressor])
def test_invalid_weights_are_named(kind, weights, message):
    with pytest.raises(ValueError, match=message):
        kind(**SMALL).fit(TEXTS, COLOURS if kind is TextClassifier else NUMBERS, weights)


def test_scores_are_weighted():
    classifier = TextClassifier(**SMALL).fit(TEXTS, COLOURS)
    right = classifier.predict(TEXTS) == COLOURS
    wrong = np.where(COLOURS == "red", "blue", "red")
    weights = np.arange(12.0)
    assert classifier.score(TEXTS, COLOURS, weights) == pytest.approx(right @ weights / 66)
    assert classifier.score(TEXTS, wrong, sample_weight=weights) == pytest.approx(
        ~right @ weights / 66
    )
    regressor = TextRegressor(**SMALL).fit(TEXTS, NUMBERS)
    copies = [i for i in range(12) for _ in range(i)]
    expected = regressor.score([TEXTS[i] for i in copies], NUMBERS[copies])
    assert regressor.score(TEXTS, NUMBERS, weights) == pytest.approx(expected)
    assert regressor.score(TEXTS, NUMBERS, np.ones(12)) == regressor.score(TEXTS, NUMBERS)


def test_class_weights_may_be_a_list_in_the_order_of_the_classes():
    lists = [
        TextClassifier(**SMALL, class_weight=weight).fit(TEXTS, COLOURS).model_.class_weights
        for weight in ([1.0, 3.0], np.array([1, 3]), (1, 3), {"red": 3})
    ]
    assert [found.tolist() for found in lists] == [[1.0, 3.0]] * 4  # blue, red
    for bad, message in (
        ([1.0], r"class_weight: expected 2 weights, one for each of the classes \['blue', 'red'\]"),
        ([1.0, -1.0], "class_weight: expected 'balanced', or numbers"),
        ("even", "class_weight: expected 'balanced', or numbers from 0 on, got 'even'"),
    ):
        with pytest.raises(ValueError, match=message):
            TextClassifier(**SMALL, class_weight=bad).fit(TEXTS, COLOURS)


def test_the_tagger_has_its_tags_in_the_order_of_the_probabilities():
    words = [text.split() for text in TEXTS]
    tags = [["O", f"B-{colour}", "A"] for colour in COLOURS]
    tagger = TokenTagger(**SMALL).fit(words, tags)
    assert tagger.classes_.tolist() == ["O", "A", "B-blue", "B-red"]
    for own, found in zip(tagger.predict_proba(words), tagger.predict(words), strict=True):
        assert tagger.classes_[own.argmax(axis=-1)].tolist() == found


def test_thresholds_are_chosen_on_held_out_examples_only():
    y = np.array([[1, 0], [1, 1], [1, 0], [0, 0]] * 3)
    plain = TextClassifier(**SMALL).fit(TEXTS, y)
    assert plain.thresholds_.tolist() == [0.5, 0.5]
    chosen = TextClassifier(**SMALL, early_stopping=True).fit(TEXTS, y)
    assert chosen.thresholds_.shape == (2,)
    expected = chosen.predict_proba(TEXTS) > chosen.thresholds_
    np.testing.assert_array_equal(chosen.predict(TEXTS), expected)


@pytest.mark.parametrize(
    ("kind", "y", "labels"),
    [
        (TextClassifier, ["x", "x", "y", "y"], ["x", "x", "y", "y"]),
        (TextClassifier, [[1, 0], [1, 1], [1, 0], [0, 0]], [["0"], ["0", "1"], ["0"], []]),
        (TextRegressor, [1.0, 2.0, 5.0, 9.0], [1.0, 2.0, 5.0, 9.0]),
    ],
)
def test_the_card_and_the_thresholds_are_of_the_best_evaluation(kind, y, labels, monkeypatch):
    calls, predict = [], Task.predict

    def counted(task, model, tokenizer, texts, *more, **options):
        calls.append(list(texts))
        return predict(task, model, tokenizer, texts, *more, **options)

    monkeypatch.setattr(Task, "predict", counted)
    made = kind(epochs=6, batch_size=5, early_stopping=True).fit(TEXTS, np.array(y * 3))
    evaluated = [line for line in made.history_.lines if "held_out_score" in line]
    assert len(calls) == len(evaluated) > 1  # nothing is predicted after the training
    held_out = calls[-1]
    again = made.task_.predict(made.model_, made.tokenizer_, held_out)
    own = [labels[TEXTS.index(text)] for text in held_out]
    assert made._card.scores["this model"] == str(made.task_.metrics(own, again))


# history_


def test_the_history_has_an_entry_for_each_epoch():
    plain = TextRegressor(epochs=3, batch_size=5).fit(TEXTS, NUMBERS).history_
    assert [epoch["epoch"] for epoch in plain] == [1, 2, 3]
    assert [epoch["step"] for epoch in plain] == [3, 6, 9]  # 12 texts, 5 in a batch
    losses = [line["loss"] for line in plain.lines]
    for i, epoch in enumerate(plain):
        assert epoch["loss"] == pytest.approx(np.mean(losses[3 * i : 3 * i + 3]))
        assert {*epoch} == {"epoch", "step", "loss"}
    stopped = TextClassifier("tiny", epochs=9, batch_size=5, early_stopping=True, max_length=8,
                             learning_rate=1e-9).fit(TEXTS, COLOURS).history_  # fmt: skip
    scores = [epoch["held_out_score"] for epoch in stopped]
    # The scores are all equal, and the last of equal ones is kept: it does not stop.
    assert len(stopped) == 9
    assert len({*scores}) == 1
    assert {"held_out_accuracy", "held_out_macro_f1"} <= {*stopped[0]}


def test_a_history_is_a_sequence_of_dicts():
    lines = [{"step": 0, "held_out_score": 0.1}]
    lines += [{"step": step, "loss": 1 / step, "rate": 0.1} for step in range(1, 6)]
    lines.insert(4, {"step": 3, "held_out_score": 0.5})
    lines.append({"step": 5, "held_out_score": 0.75})
    history = TrainingHistory(lines, 2)
    assert [dict(epoch) for epoch in history] == [
        {"epoch": 1, "step": 2, "loss": 0.75, "held_out_score": 0.1},
        {"epoch": 2, "step": 4, "loss": pytest.approx(7 / 24), "held_out_score": 0.5},
        {"epoch": 3, "step": 5, "loss": 0.2, "held_out_score": 0.75},
    ]
    assert history[-1] == history[1:][1]
    assert history == pickle.loads(pickle.dumps(history)) == copy.deepcopy(history)
    assert repr(history) == (
        "TrainingHistory(3 epochs, loss 0.75 to 0.2, held-out score 0.1 to 0.75)"
    )
    assert repr(TrainingHistory([], 1)) == "TrainingHistory(0 epochs)"
    with pytest.raises(ValueError, match="steps_per_epoch: expected at least 1, got 0"):
        TrainingHistory([], 0)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (
            np.arange(10_001),
            "y: expected at most 10,000 classes, got 10,001, for which a confusion",
        ),
        (np.zeros((2, 10_001), int), "y: expected at most 10,000 labels, got 10,001, for which a"),
    ],
)
def test_too_many_classes_are_refused_before_training(y, message):
    with pytest.raises(ValueError, match=message):
        TextClassifier("tiny").fit([f"text {i}" for i in range(len(y))], y)


def test_class_weights_of_several_labels_are_by_column():
    y = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0], [1, 1, 0]] * 3)
    for weight, expected in (
        ("balanced", [1 / 3, 1, 3]), ({2: 5.0}, [1, 1, 5]), ([1, 2, 3], [1, 2, 3]),
    ):  # fmt: skip
        made = TextClassifier(**SMALL, class_weight=weight).fit(TEXTS, y)
        np.testing.assert_allclose(made.model_.class_weights, expected)
    with pytest.raises(ValueError, match="class_weight: there is no class 3 in y"):
        TextClassifier(**SMALL, class_weight={3: 2}).fit(TEXTS, y)
