"""Folders of estimators: what is stored and restored, the command's folders, errors, failures."""

import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

import minibert
from minibert import TextClassifier, TextRegressor, TokenTagger
from minibert.cli import main
from minibert.estimators import load
from minibert.inference.features import FeatureExtractor
from minibert.models import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
)
from minibert.tasks.folders import ESTIMATOR, EstimatorFile, load_labeller
from tests.conftest import small_tokenizer
from tests.training.test_card import entries

TEXTS = ["a red fox", "the red hen", "a blue sky", "the blue sea"] * 3
COLOURS = ["red", "red", "blue", "blue"] * 3
SMALL = {"epochs": 1, "batch_size": 4}
WORDS = [text.split() for text in TEXTS]
TAGS = [["O", f"B-{colour}", "O"] for colour in COLOURS]
SEVERAL = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0]] * 3)


@pytest.fixture(scope="module", autouse=True)
def narrow_presets():
    from minibert.models.config import PRESETS

    with pytest.MonkeyPatch.context() as patch:
        tiny = {**PRESETS["tiny"], "hidden_size": 8, "intermediate_size": 8}
        patch.setattr("minibert.models.config.PRESETS", {"nano": tiny, "tiny": tiny})
        yield


@pytest.fixture(scope="module")
def classifier(narrow_presets):
    return TextClassifier(**SMALL, random_state=7).fit(TEXTS, COLOURS)


LABELS = {
    "strings": np.array(["red", "blue"]),
    "objects": np.array(["red", "blue"], object),
    "integers": np.array([7, -3]),
    "small integers": np.array([7, -3], np.int8),
    "booleans": np.array([True, False]),
    "floats": np.array([1.0, 1e10], np.float32),
    "objects of int": np.array([10**20, 3], object),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_keep_their_type(kind, tmp_path):
    y = LABELS[kind][[0, 0, 1, 1] * 3]
    made = TextClassifier(**SMALL).fit(TEXTS, y)
    made.save_pretrained(tmp_path / "out")
    again = TextClassifier.from_pretrained(tmp_path / "out")
    assert again.classes_.dtype == made.classes_.dtype == y.dtype
    assert again.classes_.tolist() == made.classes_.tolist()
    assert [*map(type, again.predict(TEXTS))] == [*map(type, made.predict(TEXTS))]
    np.testing.assert_array_equal(again.predict_proba(TEXTS), made.predict_proba(TEXTS))
    assert again.n_classes_ == 2


def test_every_estimator_is_restored(classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = {
        "classifier": classifier,
        "labels": TextClassifier(**SMALL, early_stopping=True).fit(TEXTS, SEVERAL),
        "regressor": TextRegressor(**SMALL).fit(TEXTS, np.arange(12) * 100.0),
        "tagger": TokenTagger(**SMALL).fit(WORDS, TAGS),
    }
    for name, estimator in made.items():
        estimator.save_pretrained(name)
        again = load(name)
        X = WORDS if name == "tagger" else TEXTS
        assert type(again) is type(estimator)
        np.testing.assert_array_equal(again.predict(X), estimator.predict(X))
        assert again.get_params() == estimator.get_params()
        assert again.history_ == estimator.history_
        assert again.random_state_ == estimator.random_state_
        assert {**vars(again)}.keys() == {**vars(estimator)}.keys()
    assert load("labels").classes_.tolist() == [0, 1, 2]
    assert load("tagger").classes_.tolist() == ["O", "B-blue", "B-red"]
    changed = made["labels"]
    changed.task_.thresholds[:] = [0.1, 0.25, 0.875]
    changed.save_pretrained("labels")  # over the former one
    assert load("labels").thresholds_.tolist() == [0.1, 0.25, 0.875]
    np.testing.assert_array_equal(
        load("labels").predict(TEXTS), load("labels").predict_proba(TEXTS) > [0.1, 0.25, 0.875]
    )
    assert load_labeller("labels")[0].thresholds.tolist() == [0.1, 0.25, 0.875]  # of the command
    with pytest.raises(AttributeError, match="thresholds_: expected a model that gives a text"):
        _ = classifier.thresholds_
    assert not hasattr(TextClassifier(), "thresholds_")


def test_parameters_keep_keys_and_paths_and_leave_generators_out(tmp_path):
    made = TextClassifier(
        **SMALL, class_weight={7: 2.0}, random_state=np.random.default_rng(3), threads=np.int64(1)
    ).fit(TEXTS, np.where(np.array(COLOURS) == "red", 7, 1))
    made.save_pretrained(tmp_path / "out")
    again = TextClassifier.from_pretrained(tmp_path / "out", verbose=True)
    params = again.get_params()
    assert params["class_weight"] == {7: 2.0}
    assert (params["threads"], params["verbose"], params["random_state"]) == (1, True, 0)
    assert again.random_state_ == made.random_state_
    refit = TextClassifier(tmp_path / "out", **SMALL).fit(TEXTS, COLOURS)
    refit.save_pretrained(tmp_path / "second")
    found = TextClassifier.from_pretrained(tmp_path / "second")
    assert found.model == os.fspath(tmp_path / "out")


def test_labels_that_json_cannot_store_are_refused_and_nothing_is_written(classifier, tmp_path):
    y = np.array(["2020-01-01", "2021-01-01"], "datetime64[D]")[[0, 0, 1, 1] * 3]
    made = TextClassifier(**SMALL).fit(TEXTS, y)
    classifier.save_pretrained(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(TypeError, match=r"^classes_: expected strings, .* got date$"):
        made.save_pretrained(tmp_path)
    assert contents(tmp_path) == before
    with pytest.raises(ValueError, match="this TextClassifier is not fitted yet"):
        TextClassifier().save_pretrained(tmp_path)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_card_of_an_estimator_states_its_run(tmp_path, monkeypatch, caplog):
    made = TextClassifier(**SMALL, early_stopping=True, random_state=3).fit(TEXTS, COLOURS)
    folder = tmp_path / "out"
    made.save_pretrained(folder)
    found = entries((folder / "README.md").read_text())
    assert found["training texts"] == "10 texts"
    assert found["held-out texts"].endswith("2 texts, which choose the best weights")
    assert found["2 classes"] == "red 5, blue 5"
    assert (found["task"], found["start"], found["seed"]) == ("classification", "new weights", "3")
    assert (found["epochs"], found["steps"], found["batch size"]) == ("1", "3", "4")
    assert found["steps taken"].startswith("3; the weights are those of step ")
    score = made.history_[0]["held_out_accuracy"]
    assert f"accuracy {score:.1%}" in found["this model"]
    monkeypatch.chdir(tmp_path)
    again = TextClassifier("out", **SMALL).fit(TEXTS, COLOURS)
    again.save_pretrained(folder)
    text = (folder / "README.md").read_text()
    found = entries(text)
    assert (found["training texts"], found["start"]) == ("12 texts", "out")
    assert "## Scores" not in text
    (folder / "README.md").write_text("edited")
    again.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "edited"
    assert (folder / "README.new.md").read_text() == text
    assert "was edited and stays unchanged" in caplog.text
    TextClassifier.from_pretrained(folder).save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other" / "README.md").exists()  # nothing is known of its run


@pytest.mark.parametrize("failing", ["tokenizer", "model", "history", "estimator", "card"])
def test_a_failed_write_leaves_the_old_folder(failing, classifier, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    classifier.save_pretrained(folder)
    before = contents(folder)

    def fail(*args, **options):
        raise OSError(28, "No space left on device")

    target = {
        "tokenizer": (type(classifier.tokenizer_), "save_pretrained"),
        "model": (type(classifier.model_), "save_pretrained"),
        "history": (minibert.estimators.base, "write_history"),
        "estimator": (EstimatorFile, "save"),
        "card": (minibert.estimators.base, "write_card"),
    }[failing]
    other = TextClassifier(**SMALL, random_state=8).fit(TEXTS, COLOURS)
    monkeypatch.setattr(*target, fail)
    with pytest.raises(OSError, match="No space left on device"):
        other.save_pretrained(folder)
    with pytest.raises(OSError, match="No space left on device"):
        other.save_pretrained(tmp_path / "new")
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_kill_between_the_renames_is_noticed(classifier, tmp_path, caplog):
    """The weights and config.json are of the new save, estimator.json of the old one."""
    classifier.save_pretrained(tmp_path / "old")
    y = [7, 7, 1, 1] * 3
    TextClassifier(**SMALL).fit(TEXTS, y).save_pretrained(tmp_path / "new")
    shutil.copy(tmp_path / "old" / ESTIMATOR, tmp_path / "new" / ESTIMATOR)
    found = TextClassifier.from_pretrained(tmp_path / "new")
    assert f"{ESTIMATOR}: it belongs to another save of the model and is ignored" in caplog.text
    assert found.classes_.tolist() == ["1", "7"]
    assert not hasattr(found, "history_")
    (tmp_path / "new" / ESTIMATOR).unlink()  # as in a folder of another program
    assert TextClassifier.from_pretrained(tmp_path / "new").get_params()["epochs"] is None


def change(folder, **fields):
    path = folder / ESTIMATOR
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": 2}, "format: expected 1, got 2"),
        ({"classes": {"dtype": "<i8", "values": ["x", "y"]}}, "classes: expected a dtype and val"),
        ({"classes": {"dtype": "<M8[D]", "values": ["a"]}}, "classes: expected a dtype and values"),
        ({"classes": {"dtype": "(", "values": ["a"]}}, "classes: expected a dtype and values"),
        ({"classes": {"dtype": "<U999999999", "values": ["a"]}}, "classes: expected a dtype and"),
        ({"classes": {"dtype": "|i1", "values": [300, 1]}}, "classes: expected a dtype and values"),
        ({"classes": []}, "classes: expected a dtype and values"),
        ({"classes": {"dtype": "<U4", "values": ["blue", "gray"]}}, "classes: expected the class "
         "names of config.json, blue, red, got blue, gray"),
        ({"parameters": 5}, "parameters: expected an object, got 5"),
        ({"parameters": {"class_weight": {"keys": 1}}}, "class_weight: expected lists of keys"),
        ({"seed": "x"}, "seed: expected an integer, got 'x'"),
        ({"steps_per_epoch": 0.5}, "steps_per_epoch: expected an integer, got 0.5"),
    ],
)  # fmt: skip
def test_a_faulty_file_is_named(fields, message, classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    change(tmp_path, **fields)
    start = re.escape(f"{tmp_path / ESTIMATOR}: {message}")
    with pytest.raises(ValueError, match=f"^{start}") as caught:
        TextClassifier.from_pretrained(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_faulty_thresholds_are_named(tmp_path):
    TextClassifier(**SMALL).fit(TEXTS, SEVERAL).save_pretrained(tmp_path)
    for thresholds in ([0.5], [0.5, 2, 0.5], "xyz", [None] * 3):
        change(tmp_path, thresholds=thresholds)
        with pytest.raises(ValueError, match=ESTIMATOR):
            TextClassifier.from_pretrained(tmp_path)


def test_a_folder_of_another_estimator_is_refused_by_name(classifier, tmp_path):
    classifier.save_pretrained(tmp_path)
    message = (
        f"{tmp_path}: expected a folder of TokenTagger, got a classifier; use "
        "TextClassifier.from_pretrained"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        TokenTagger.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="expected a folder of TextRegressor, got a classifier;"):
        TextRegressor.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="tiny: expected a model that labels texts or words, got"):
        TextClassifier.from_pretrained("tiny")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        TextClassifier.from_pretrained(tmp_path / "nowhere")


# The command's folders.


def finetune(tmp_path, rows, *options):
    """Run the command on labelled texts; return its folder."""
    lines = ["text\tlabel", *("\t".join(row) for row in rows)]
    (tmp_path / "data.tsv").write_text("\n".join(lines) + "\n")
    main(["finetune", str(tmp_path / "data.tsv"), "--out", str(tmp_path / "out"), "--epochs", "1",
          "--batch-size", "4", "--size", "tiny", *options])  # fmt: skip
    return tmp_path / "out"


def test_folders_of_the_command_and_of_python_have_the_same_files(classifier, tmp_path, capsys):
    folder = finetune(tmp_path, zip(TEXTS, COLOURS, strict=True), "--class-weight", "red=3")
    classifier.save_pretrained(tmp_path / "python")
    of_the_run = {"curves.svg", "trainer_state.json"}  # of held-out texts, --resume
    names = {path.name for path in folder.iterdir()}
    assert names - of_the_run == {*contents(tmp_path / "python")}
    found = TextClassifier.from_pretrained(folder)
    assert found.classes_.tolist() == ["blue", "red"]
    params = found.get_params()
    assert (params["epochs"], params["batch_size"], params["size"]) == (1, 4, "tiny")
    assert params["class_weight"] == {"red": 3.0}
    assert params["early_stopping"] is True
    assert found.random_state_ == 0
    assert [epoch["epoch"] for epoch in found.history_] == [1]
    assert 0 <= found.history_[0]["held_out_score"] <= 1
    stored = json.loads((folder / "trainer_state.json").read_text())
    assert stored["settings"]["class_weight"] == [1.0, 3.0]
    capsys.readouterr()
    for path, estimator in ((folder, found), (tmp_path / "python", classifier)):
        main(["predict", str(path), *TEXTS[:3]])
        labels = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
        assert labels == estimator.predict(TEXTS[:3]).tolist()


def test_the_command_chooses_thresholds_that_its_folder_keeps(tmp_path, capsys):
    # One of four equal texts has b: its probability is below one half, also of those that have it.
    rows = [("a red fox", "a,b")] * 3 + [("a red fox", "a")] * 9 + [("the sea", "")] * 4
    options = ["--task", "multi-label", "--dev", str(tmp_path / "data.tsv"), "--epochs", "20"]
    folder = finetune(tmp_path, rows, *options)
    printed = capsys.readouterr().out
    found = TextClassifier.from_pretrained(folder)
    assert found.classes_.tolist() == ["a", "b"]
    assert 0 < found.thresholds_[1] < 0.5
    assert found.predict(["a red fox"])[0, 1] == 1
    # The finished run is measured with them again.
    resumed = finetune(tmp_path, rows, *options, "--resume")
    scores = [line for line in printed.splitlines() if "F1" in line and ";" in line]
    assert scores
    assert all(line in capsys.readouterr().out for line in scores[-1:])
    assert resumed == folder


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("red", "expected balanced, or CLASS=NUMBER with commas between, got 'red'"),
        ("red=x", "expected balanced, or CLASS=NUMBER"),
        ("=2", "expected balanced, or CLASS=NUMBER"),
        ("grey=2", "class_weight: expected some of blue, red, got 'grey'"),
        ("red=-1", "class_weight: expected 'balanced', or numbers"),
    ],
)
def test_invalid_class_weights_of_the_command_are_refused(value, message, tmp_path, capsys):
    with suppress(SystemExit):
        finetune(tmp_path, zip(TEXTS, COLOURS, strict=True), "--class-weight", value)
    assert message in capsys.readouterr().err


@pytest.mark.parity
def test_transformers_opens_the_folder(classifier, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    classifier.save_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert model.config.id2label == {0: "blue", 1: "red"}
    with torch.no_grad():
        logits = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    expected = torch.softmax(logits, -1).numpy()
    np.testing.assert_allclose(classifier.predict_proba(TEXTS), expected, atol=1e-5)


# load


def test_load_opens_bodies_and_names_what_it_does_not_open(tmp_path):
    tiny = load("tiny", pooling="max")
    assert isinstance(tiny, FeatureExtractor)
    assert tiny.pooling == "max"
    assert minibert.load is load
    tokenizer = small_tokenizer()
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=4, num_hidden_layers=1,
                        num_attention_heads=2, intermediate_size=6)  # fmt: skip
    for kind, message in (
        (BertForMaskedLM, None),
        (BertForMultipleChoice, "got BertForMultipleChoice; AutoModelForMultipleChoice.from_pr"),
    ):
        folder = tmp_path / kind.__name__
        tokenizer.save_pretrained(folder)
        kind(config).save_pretrained(folder)
        if message is None:
            assert isinstance(load(folder), FeatureExtractor)
            continue
        with pytest.raises(ValueError, match=message):
            load(folder)
    tokenizer.save_pretrained(tmp_path / "answers")
    BertForQuestionAnswering(config).save_pretrained(tmp_path / "answers")
    found = load(tmp_path / "answers", max_length=12)
    assert isinstance(found, minibert.QuestionAnswerer)
    assert found.max_length == 12
    config = replace(config, id2label={0: "score"})
    minibert.CrossEncoder(BertForSequenceClassification(config), tokenizer).save_pretrained(
        tmp_path / "pairs"
    )
    assert isinstance(load(tmp_path / "pairs"), minibert.CrossEncoder)
