"""A task of a user's own in fine_tune and in the commands; task_for, guess_task, formats."""

import json
from collections.abc import Sequence

import numpy as np
import pytest

from minibert import BertConfig, BertForMaskedLM
from minibert.cli import main
from minibert.models import BertForSequenceClassification
from minibert.tasks import (
    TASKS,
    Examples,
    MultiLabelTask,
    RegressionMetrics,
    RegressionTask,
    SingleLabelTask,
    TaggingTask,
    Task,
    guess_task,
    task_for,
)
from minibert.training import FineTuning, evaluate, fine_tune
from minibert.training.finetuning import FineTuningRun, ModelSource

LEVELS = ("low", "middle", "high")


class OrdinalTask(Task):
    """Ordered classes, learned as one number: the index of the class."""

    name = "ordinal"
    problem_type = "regression"

    @classmethod
    def from_labels(cls, labels: Sequence[str]):
        return cls([level for level in LEVELS if level in labels])

    @classmethod
    def parse(cls, label):
        if label not in LEVELS:
            raise ValueError(f"expected one of {', '.join(LEVELS)}, got {label!r}")
        return label

    def config(self):
        return {"id2label": {0: "level"}, "problem_type": self.problem_type}

    def encode_label(self, label):
        return float(self.ids[label])

    def outputs_from_logits(self, logits):
        return logits[:, 0].astype(float)

    def decode_outputs(self, outputs):
        indices = np.clip(np.round(outputs), 0, len(self.names) - 1).astype(int)
        return [self.names[i] for i in indices]

    def metrics(self, labels, outputs):
        return RegressionMetrics(np.array([self.encode_label(label) for label in labels]), outputs)


def ordinal_examples(count, seed=0):
    rng = np.random.default_rng(seed)
    labels = [LEVELS[i] for i in rng.integers(0, 3, count)]
    words = {"low": "red", "middle": "cat", "high": "big"}
    texts = [f"the {words[label]} {rng.choice(['mat', 'tree', 'dog'])}" for label in labels]
    return Examples(texts, None, labels)


def new_model(task, tokenizer):
    config = BertConfig.preset(
        "tiny",
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        max_position_embeddings=12,
        initializer_range=0.06,
        **task.config(),
    )
    return task.model_class(config)


@pytest.mark.slow
def test_fine_tune_learns_a_task_of_a_users_own(tokenizer):
    examples, test = ordinal_examples(120), ordinal_examples(40, seed=1)
    task = OrdinalTask.from_labels(examples.labels)
    model = new_model(task, tokenizer)
    settings = FineTuning(steps=150, batch_size=16, learning_rate=2e-3, evaluate_every=50)
    trained = fine_tune(model, tokenizer, task, examples, settings, held_out=test)
    assert evaluate(model, tokenizer, trained, test).main > 0.9
    outputs = trained.predict(model, tokenizer, test.texts)
    assert trained.decode_outputs(outputs) == test.labels
    assert list(trained.mistakes(test.texts, test.labels, outputs)) == []
    assert trained.predict_ids(outputs).tolist() == [task.ids[label] for label in test.labels]
    assert next(trained.format_text(test.texts, outputs)) == f"{test.labels[0]}\t{test.texts[0]}"
    row = json.loads(next(trained.format_json(test.texts, outputs)))
    assert row == {"text": test.texts[0], "label": test.labels[0]}
    assert trained.baseline(examples, test) is None
    with pytest.raises(ValueError, match="class_weight: expected a task of classes"):
        fine_tune(model, tokenizer, task, examples, FineTuning(steps=1, class_weight="balanced"))


def test_finetune_command_accepts_a_task_added_to_the_table(
    tokenizer, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(TASKS, "ordinal", OrdinalTask)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    examples = ordinal_examples(30)
    lines = [
        f"{label}\t{text}" for text, label in zip(examples.texts, examples.labels, strict=True)
    ]
    path = tmp_path / "rows.tsv"
    path.write_text("\n".join(["label\ttext", *lines, ""]), "utf-8")
    command = ["finetune", path, "--task", "ordinal", "--tokenizer", tmp_path / "tokenizer"]
    out = ["--epochs", 1, "--out", tmp_path / "out"]
    assert main([str(word) for word in [*command, *out]]) == 0
    printed = capsys.readouterr().out
    assert "ordinal: 26 texts to train on, 4 to evaluate on" in printed
    assert "TF-IDF" not in printed
    path.write_text("label\ttext\nmedium\ta cat\n", "utf-8")
    assert main([str(word) for word in [*command, "--out", tmp_path / "other"]]) == 2
    assert "line 2: expected one of low, middle, high, got 'medium'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "task",
    [
        SingleLabelTask(["x", "y"]),
        MultiLabelTask(["x", "y"]),
        RegressionTask(),
        TaggingTask(["O", "x"]),
    ],
)
def test_task_for_finds_the_task_of_a_model_and_of_its_subclasses(task, tokenizer):
    model = new_model(task, tokenizer)
    model_class = type("Renamed", (type(model),), {})
    for each in (model, model_class(model.config)):
        found = task_for(each)
        assert type(found) is type(task)
        assert found.names == task.names


def test_task_for_refuses_a_model_without_a_task(tokenizer):
    model = BertForMaskedLM(BertConfig.preset("tiny", vocab_size=tokenizer.vocab_size))
    with pytest.raises(ValueError, match="a classifier or a tagger, got BertForMaskedLM"):
        task_for(model)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["a", "b"], SingleLabelTask),
        (["1", "2"], SingleLabelTask),
        (["1", "2.5"], RegressionTask),
        ([["a"], []], MultiLabelTask),
    ],
)
def test_guess_task_reads_the_labels(labels, expected):
    assert guess_task(labels, "texts") is expected
    assert guess_task(labels, "words") is TaggingTask


def test_parse_returns_the_label_of_each_task():
    assert SingleLabelTask.parse("cat") == "cat"
    assert MultiLabelTask.parse("cat, dog,") == ["cat", "dog"]
    assert MultiLabelTask.parse(["cat"]) == ["cat"]
    assert RegressionTask.parse("1.5") == 1.5
    for bad in ("many", ["1"], "nan", "1e300"):
        with pytest.raises(ValueError, match=r"expected a (finite )?number as label"):
            RegressionTask.parse(bad)
    with pytest.raises(ValueError, match="expected one label, got 2"):
        SingleLabelTask.parse(["a", "b"])


def test_format_text_and_format_json_of_each_task():
    texts = ['"a"  cat']
    task = SingleLabelTask(["cat", "dog"])
    outputs = np.array([[0.25, 0.75]])
    assert list(task.format_text(texts, outputs)) == ['dog\t0.750\t"""a"" cat"']
    (line,) = task.format_json(texts, outputs)
    assert json.loads(line) == {
        "text": texts[0], "label": "dog", "probabilities": {"cat": 0.25, "dog": 0.75}
    }  # fmt: skip
    several = MultiLabelTask(["cat", "dog"])
    assert list(several.format_text(["a"], np.array([[0.9, 0.6]]))) == ["cat,dog\t0.900 0.600\ta"]
    number = RegressionTask()
    assert list(number.format_text(["a"], np.array([2.0]))) == ["2\ta"]
    assert list(number.format_json(["a"], np.array([2.0]))) == ['{"text": "a", "label": 2.0}']
    tagging = TaggingTask(["O", "B-A"])
    tagged = [np.array([[1.0, 0.0], [0.0, 1.0]])]
    assert list(tagging.format_text([["a", "cat"]], tagged)) == ["a\tO", "cat\tB-A", ""]
    (line,) = tagging.format_json([["a", "cat"]], tagged)
    entity = {"entity_group": "A", "word": "cat", "start": 2, "end": 5, "score": 1.0}
    fields = {"text": "a cat", "words": ["a", "cat"], "tags": ["O", "B-A"], "entities": [entity]}
    assert json.loads(line) == fields
    (line,) = tagging.format_json([["a", "cat"]], tagged, lines=["a \t'cat'"])
    assert json.loads(line)["text"] == "a \t'cat'"
    assert json.loads(line)["entities"] == [{**entity, "start": 4, "end": 7}]


def test_entities_have_the_mean_probability_of_their_words():
    task = TaggingTask(["O", "B-A", "I-A"])
    outputs = [np.array([[0.1, 0.6, 0.3], [0.2, 0.0, 0.8], [0.0, 1.0, 0.0], [0.9, 0.1, 0.0]])]
    (line,) = task.format_json([["New", "York", "Bob", "x"]], outputs, lines=["New York, Bob x"])
    assert json.loads(line)["entities"] == [
        {"entity_group": "A", "word": "New York", "start": 0, "end": 8, "score": 0.7},
        {"entity_group": "A", "word": "Bob", "start": 10, "end": 13, "score": 1.0},
    ]


def test_format_prints_the_most_probable_classes_and_second_texts():
    outputs = np.array([[0.125, 0.625, 0.25]])
    for task in (SingleLabelTask(["a", "b", "c"]), MultiLabelTask(["a", "b", "c"])):
        (line,) = task.format_text(["one"], outputs, ["two\tthree"], top=2)
        assert line == "b\t0.625\tc\t0.250\tone\ttwo three"
        (line,) = task.format_json(["one"], outputs, ["two"], top=9)
        label = "b" if isinstance(task, SingleLabelTask) else ["b"]
        top = [("b", 0.625), ("c", 0.25), ("a", 0.125)]
        assert json.loads(line) == {
            "text": "one", "pair": "two", "label": label,
            "top": [{"label": name, "score": score} for name, score in top],
        }  # fmt: skip
        with pytest.raises(ValueError, match="top: expected at least 1, got 0"):
            task.most_probable(outputs, 0)
    tagged = [np.array([[1.0, 0.0]])]
    for task, given in ((RegressionTask(), np.ones(1)), (TaggingTask(["O", "B"]), tagged)):
        for method in (task.format_text, task.format_json):
            with pytest.raises(ValueError, match="top: expected a model that classifies texts"):
                list(method([["one"]], given, top=1))


def test_at_threshold_changes_which_labels_are_predicted():
    task = MultiLabelTask(["a", "b"])
    outputs = np.array([[0.4, 0.6]])
    assert task.decode_outputs(outputs) == [["b"]]
    assert task.at_threshold(0.3).decode_outputs(outputs) == [["a", "b"]]
    assert task.at_threshold(0.6).decode_outputs(outputs) == [[]]
    counted = task.at_threshold(0.3).metrics([["a", "c"]], outputs)
    assert dict(zip(counted.names, counted.predicted.tolist(), strict=True)) == {
        "a": 1, "b": 1, "c": 0,
    }  # fmt: skip
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="threshold: expected a number from 0 to 1"):
            task.at_threshold(wrong)
    for other in (SingleLabelTask(["a", "b"]), RegressionTask(), TaggingTask(["O", "B"])):
        with pytest.raises(ValueError, match="threshold: expected a model that gives a text"):
            other.at_threshold(0.5)


def test_a_regression_s_activation_is_that_of_a_cross_encoder():
    task = RegressionTask().with_activation(np.exp)
    assert task.outputs_from_logits(np.log([[2.0], [4.0]])).tolist() == pytest.approx([2, 4])
    assert SingleLabelTask(["a", "b"]).with_activation(np.exp).names == ["a", "b"]


def test_describe_logits_and_select_score_of_each_task():
    task = SingleLabelTask(["cat", "dog"])
    ((place, named),) = task.describe_logits([], np.log([0.25, 0.75]))
    assert place == "the text"
    assert [name for name, _ in named] == ["dog", "cat"]
    assert [share for _, share in named] == pytest.approx([0.75, 0.25])
    name, gradient = task.select_score(np.log([0.25, 0.75]), None)
    assert (name, gradient.tolist()) == ("'dog'", [0, 1])
    assert task.select_score(np.zeros(2), "cat")[1].tolist() == [1, 0]
    with pytest.raises(ValueError, match="label: expected one of cat, dog, got 'cow'"):
        task.select_score(np.zeros(2), "cow")
    assert RegressionTask().describe_logits([], np.array([2.5])) == [("the text", [("2.5", 1.0)])]

    tagging = TaggingTask(["O", "B-A"])
    logits = np.array([[9.0, 0.0], [0.0, 4.0], [4.0, 0.0], [9.0, 0.0]])
    described = tagging.describe_logits(["[CLS]", "cat", "s", "[SEP]"], logits)
    assert [(place, names[0][0]) for place, names in described] == [("cat", "B-A"), ("s", "O")]
    _, gradient = tagging.select_score(logits, None)
    assert gradient.tolist() == [[0, 0], [0, 1], [1, 0], [0, 0]]
    _, gradient = tagging.select_score(logits, "B-A")
    assert gradient.tolist() == [[0, 0], [0, 1], [0, 1], [0, 0]]


def test_examples_split_separates_the_chosen_indices():
    rest, chosen = Examples(list("abcd"), list("efgh"), [0, 1, 2, 3]).split([3, 1])
    assert (rest.texts, rest.pairs, rest.labels) == (["a", "c"], ["e", "g"], [0, 2])
    assert (chosen.texts, chosen.pairs, chosen.labels) == (["b", "d"], ["f", "h"], [1, 3])


def test_run_start_builds_model_recipe_and_settings(tokenizer, tmp_path):
    examples = ordinal_examples(40)
    task = SingleLabelTask.from_labels(examples.labels)
    tokenizer.save_pretrained(tmp_path)
    source = ModelSource(tokenizer=tmp_path, max_length=16, config={"hidden_act": "relu"})
    run = FineTuningRun.start(
        task, examples, source, seed=3, evaluate_at_most=2, settings={"steps": 7, "seed": 5}
    )
    assert isinstance(run.model, BertForSequenceClassification)
    config = run.model.config
    assert (config.hidden_act, config.max_position_embeddings) == ("relu", 16)
    assert config.id2label == dict(enumerate(task.names))
    assert (run.recipe.batch_size, run.recipe.epochs, run.recipe.layer_decay) == (32, 100, 1.0)
    settings = run.settings
    assert (settings.steps, settings.evaluate_every, settings.seed) == (7, 2, 3)
    assert settings.data == examples.checksum()
    again = FineTuningRun.start(task, examples, source, seed=3, overrides=run.recipe)
    assert again.settings.steps == 2 * 100  # 40 texts are 2 batches of 32
    assert (again.model.params.vector == run.model.params.vector).all()


def test_the_baseline_of_texts_without_words_is_the_most_frequent_class():
    pytest.importorskip("sklearn")
    examples = Examples(["a", "b", "! ?", "c"], None, ["x", "y", "y", "y"])
    name, metrics = SingleLabelTask(["x", "y"]).baseline(examples, examples)
    assert "TF-IDF" in name
    assert metrics.accuracy == 0.75
