"""Model cards: their content, and cards that were edited."""

import errno
import logging
import os
import platform
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import minibert
from examples.pre_norm import pre_norm
from minibert import BertForMaskedLM, BertForSequenceClassification
from minibert.tasks import Examples, SingleLabelTask
from minibert.tasks.metrics import ClassificationMetrics
from minibert.testing.cases.examples import CONFIG
from minibert.training import FineTuning, Settings
from minibert.training.card import Card, describe_files, is_generated, write_card
from minibert.training.defaults import Recipe
from minibert.training.finetuning import FineTuningRun
from tests.conftest import small_tokenizer
from tests.models.relatives import made

SETTINGS = Settings(steps=1200, learning_rate=2e-3, seed=7, tokenizer="abc", data="3-def", keep=9)
DATA = {"training text": "corpus.txt: 90 documents, 1,234 tokens"}
SCORES = {"this model": "loss 3.210, accuracy 40.0%", "unigram baseline": "loss 6.100"}


def card(model=None, **changes):
    made = Card(model or BertForMaskedLM(CONFIG), SETTINGS, DATA, SCORES, {"optimizer": "AdamW"})
    return replace(made, **changes)


def entries(text):
    """Return the rows of all tables of a card (dict)."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {name: value for name, value in rows if name != "---"}


def test_the_card_of_an_albert_states_how_many_layers_have_parameters():
    model = made("albert", dtype=np.float32)
    assert "`AlbertForMaskedLM`: 3 layers with the parameters of 2, hidden size" in card(
        model
    ).text("a")
    assert "`BertForMaskedLM`: 2 layers, hidden size" in card().text("a")


def test_a_card_states_data_recipe_seed_versions_and_scores():
    text = card().text("runs/my model")
    assert text == card().text("elsewhere/my model")
    header, body = text.removeprefix("---\n").split("\n---\n")
    assert header.splitlines() == [
        "library_name: minibert", "pipeline_tag: fill-mask", "tags:", "- bert",
    ]  # fmt: skip
    found = entries(body)
    expected = {
        **DATA, **SCORES, "checksum of the data": "`3-def`", "checksum of the tokenizer": "`abc`",
        "steps": "1200", "learning rate": "0.002", "batch size": "32", "seed": "7",
        "optimizer": "AdamW", "warmup": "0.1", "clip": "1",
        "dropout of hidden states": f"{CONFIG.hidden_dropout_prob:g}",
    }  # fmt: skip
    assert found | expected == found
    assert not {"keep", "save every", "evaluate every"} & {*found}  # no number depends on them
    assert f"minibert {minibert.__version__}, NumPy {np.__version__}, " in body
    assert f"Python {platform.python_version()}." in body
    assert "\n# my model\n" in body
    assert "minibert fill-mask 'my model' " in body
    assert 'BertForMaskedLM.from_pretrained("my model")' in body
    assert "`transformers` opens the folder, too." in body
    assert not re.search(r"20\d\d-\d\d", body)


def test_a_card_of_finetuning_names_the_trivial_baseline_and_the_others():
    settings = FineTuning(steps=5, freeze=1, patience=None, evaluate_every=3)
    metrics, other = (
        ClassificationMetrics(["a", "b"], np.array(table))
        for table in ([[3, 1], [0, 2]], [[4, 0], [2, 0]])
    )
    run = FineTuningRun(
        SingleLabelTask(["a", "b"]), Examples(["x", "y", "z"], None, ["a", "b", "b"]),
        BertForSequenceClassification(CONFIG), small_tokenizer(), Recipe(9, 4, 1e-3, 1.0), settings,
    )  # fmt: skip
    lines = [{"step": 3, "held_out_score": 0.5}, {"step": 5, "loss": 1.0},
             {"step": 5, "held_out_score": 0.25}]  # fmt: skip
    made = Card.of_finetuning(
        run, {}, start="some/model", lines=lines, metrics=metrics, others={"TF-IDF": other}
    )
    found = entries(made.text("x"))
    assert found["this model"] == str(metrics)
    assert found["always the commonest class"] == "66.7%"
    assert found["TF-IDF"] == str(other)
    assert (found["task"], found["freeze"], found["evaluate every"]) == ("classification", "1", "3")
    assert "patience" not in found
    assert (found["start"], found["epochs"]) == ("some/model", "4")
    assert found["2 classes"] == "b 2, a 1"
    assert found["steps taken"] == "5; the weights are those of step 3, the best evaluation"
    assert "pipeline_tag: text-classification" in made.text("x")
    assert "minibert predict x " in made.text("x")


def test_names_stay_in_their_cells_and_lines():
    text = card(data={"a|b": "x\ny.txt: 3 texts"}).text("a\nb")
    assert "| a\\|b | x\\ny.txt: 3 texts |" in text
    assert "\n# a\\nb\n" in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<none>", r"\<none>"),
        ("*a* [b](c) ~~d~~", r"\*a\* \[b](c) \~\~d\~\~"),
        ("__init__ held_out.txt _x", r"\_\_init\_\_ held_out.txt \_x"),
        (r"C:\x a\|b \* \\", r"C:\x a\\\|b \\\* \\" "\\"),
        ("3-5% (a+b): `c` #1 --- é", "3-5% (a+b): `c` #1 --- é"),
    ],
)
def test_names_of_classes_and_files_are_no_markup(name, shown):
    text = card(data={name: f"{name} 3"}).text(f"runs/{name.replace('/', '')}")
    assert f"| {shown} | {shown} 3 |" in text
    assert f"\n# {shown}\n" in text


class Mine(BertForMaskedLM):
    """A class that minibert doesn't export."""


def test_the_card_of_a_class_of_the_caller_imports_it_from_its_module():
    text = card(Mine(CONFIG)).text("x")
    assert f"from {__name__} import Mine\nfrom minibert import AutoTokenizer\n" in text
    assert 'model = Mine.from_pretrained("x")' in text


def test_a_card_of_a_model_with_parts_of_a_caller_names_them():
    text = card(BertForMaskedLM(CONFIG, block=pre_norm)).text("x")
    assert 'from_pretrained("x", block=pre_norm)' in text
    assert "transformers" not in text
    assert "minibert fill-mask" not in text


def test_files_are_listed_without_folders():
    assert describe_files(["/home/me/a.txt"]) == "a.txt"
    many = describe_files(f"x/{i}.txt" for i in range(9))
    assert many == "0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more files"


def test_a_card_is_written_again_unless_it_was_edited(tmp_path, caplog):
    first, second = card().text("x"), card(scores={"this model": "loss 1"}).text("x")
    assert is_generated(first)
    assert is_generated(second)
    write_card(tmp_path, first)
    write_card(tmp_path, second)
    path = tmp_path / "README.md"
    assert path.read_text("utf-8") == second
    for edited in (second.replace("loss 1", "loss 0"), second + "More.\n", "Mine.\n", ""):
        path.write_text(edited, "utf-8")
        assert not is_generated(edited)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            write_card(tmp_path, first)
        assert path.read_text("utf-8") == edited
        assert (tmp_path / "README.new.md").read_text("utf-8") == first
        assert "README.md was edited and stays unchanged" in caplog.text
    path.write_bytes(b"\xff")
    write_card(tmp_path, second)
    assert path.read_bytes() == b"\xff"


def test_the_error_of_a_former_card_that_cannot_be_read_names_it(tmp_path, monkeypatch):
    path = tmp_path / "README.md"
    path.write_text("Mine.", "utf-8")

    def broken(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "read_text", broken)
    with pytest.raises(OSError, match="Input/output error") as caught:
        write_card(tmp_path, "new")
    assert caught.value.filename == str(path)


def test_no_card_is_written_over_two_edited_ones(tmp_path, caplog):
    names = "README.md", "README.new.md"
    for name in names:
        (tmp_path / name).write_text("Mine.\n", "utf-8")
    with caplog.at_level(logging.WARNING):
        write_card(tmp_path, card().text("x"))
    assert {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()} == dict.fromkeys(
        names, "Mine.\n"
    )
    assert "README.new.md were edited and stay unchanged; no card is written" in caplog.text


@pytest.mark.parametrize("name", ["README.md", "README.new.md"])
def test_a_failed_write_leaves_the_old_card(tmp_path, monkeypatch, name):
    """The disk is full after half of the text."""
    old, original = card(scores={"this model": "loss 1"}).text("x"), Path.write_text
    (tmp_path / "README.md").write_text("Mine.\n" if name == "README.new.md" else old, "utf-8")
    (tmp_path / name).write_text(old, "utf-8")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def write_half(self, text, *args, **options):
        original(self, text[: len(text) // 2], *args, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", write_half)
        with pytest.raises(OSError, match=name):
            write_card(tmp_path, card().text("x"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_card_shows_the_mask_of_the_tokenizer_and_a_reader_of_every_tokenizer():
    text = card(mask_token="<mask>").text("x")
    assert "minibert fill-mask x 'A <mask> of words.'\n" in text
    assert 'tokenizer = AutoTokenizer.from_pretrained("x")' in text
    assert "[MASK]" not in text
    assert "minibert fill-mask x 'A [MASK] of words.'\n" in card().text("x")


@pytest.mark.parametrize("kind", ["BertForNextSentencePrediction", "BertForMultipleChoice"])
def test_a_card_of_a_model_without_a_command_has_the_code(kind):
    text = card(getattr(minibert, kind)(CONFIG)).text("x")
    assert f"from minibert import AutoTokenizer, {kind}" in text
    assert "```sh" not in text
