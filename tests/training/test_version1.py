"""Runs that version 1 (commit 2d6587d) stored are read and resumed.

`version1/` holds a corpus, labelled texts, and two runs of its command line, without dropout, with
their checkpoints after 3 of 6 steps and their whole histories. The size "tiny" was one block of 8
units, as in `small_presets`.
"""

import json
import shutil
from pathlib import Path

import pytest

from minibert import BertForMaskedLM
from minibert.cli import main
from minibert.optim import AdamW
from minibert.training import checkpoint as module
from minibert.training.checkpoint import checkpoints, read_state, restore_optimizer, save_checkpoint
from minibert.training.history import read_history
from minibert.training.loop import Settings

STORED = Path(__file__).parent / "version1"
SIZES = {
    "num_hidden_layers": 1,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 12,
}
COMMANDS = {
    "pretraining": ["pretrain", "corpus.txt", "--tokenizer", "pretraining/checkpoint-3",
                    "--batch-size", "4", "--shards", "2", "--steps", "6"],
    "finetuning": ["finetune", "labelled.tsv", "--dev", "labelled.tsv",
                   "--tokenizer", "finetuning/checkpoint-3", "--batch-size", "5", "--epochs", "3",
                   "--patience", "9"],
}  # fmt: skip
COMMON = ["--size", "tiny", "--length", "12", "--dropout", "0", "--save-every", "3",
          "--evaluate-every", "2", "--resume", "--keep-checkpoints"]  # fmt: skip


@pytest.fixture
def small_presets(monkeypatch):
    from minibert.models import config

    monkeypatch.setattr(config, "PRESETS", {**config.PRESETS, "tiny": SIZES})


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """The stored runs, in the current folder."""
    shutil.copytree(STORED, tmp_path / "runs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.mark.parametrize("name", COMMANDS)
def test_resume_ends_a_run_of_version_1_and_warns_once(name, runs, small_presets, capsys):
    assert main([*COMMANDS[name], *COMMON, "--out", name]) == 0
    printed = capsys.readouterr()
    said = (printed.out + printed.err).splitlines()
    warned = [line for line in said if "a checkpoint of version 1" in line]
    assert len(warned) == 1
    assert "last digits will differ" in warned[0]
    found, stored = (read_history(folder) for folder in (runs / name, STORED / name))
    assert [line.keys() for line in found] == [line.keys() for line in stored]
    for line, right in zip(found, stored, strict=True):
        for field in ("loss", "norm", "held_out_loss", "held_out_accuracy"):
            if field in line:
                assert line[field] == pytest.approx(right[field], rel=1e-4)
    assert checkpoints(runs / name)[-1].name == "checkpoint-6"
    assert (runs / name / "model.safetensors").is_file()


def test_read_state_gives_a_field_that_version_1_lacked_its_value(runs, monkeypatch):
    state = read_state(runs / "pretraining" / "checkpoint-3")
    assert {name: state[name] for name in ("step", "format", "optimizer")} == {
        "step": 3, "format": 1, "optimizer": "AdamW"}  # fmt: skip
    monkeypatch.setitem(module.SETTINGS_BEFORE_3, "field_of_a_later_version", 7)
    monkeypatch.setitem(module.SETTINGS_BEFORE_3, "clip", 99.0)
    settings = read_state(runs / "pretraining" / "checkpoint-3")["settings"]
    assert settings["field_of_a_later_version"] == 7
    assert settings["clip"] == 1.0  # stored


def test_new_states_have_a_format_and_warn_of_nothing(tmp_path, runs, tokenizer, caplog):
    old = runs / "pretraining" / "checkpoint-3"
    model = BertForMaskedLM.from_pretrained(old)
    optimizer = AdamW(model.params)
    restore_optimizer(old, optimizer)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert optimizer.step == 3
    assert optimizer.first.any()
    assert optimizer.second.any()
    caplog.clear()
    folder = save_checkpoint(tmp_path, model, tokenizer, optimizer, Settings(steps=6))
    again = AdamW(model.params)
    restore_optimizer(folder, again)
    assert not caplog.records
    assert (again.first == optimizer.first).all()
    assert (again.second == optimizer.second).all()
    assert json.loads((folder / "trainer_state.json").read_text())["format"] == module.FORMAT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, r"trainer_state\.json: format: expected 1 to \d+, got 99"),
        ({"format": "new"}, r"trainer_state\.json: format: expected"),
        ({"format": True}, r"trainer_state\.json: format: expected"),
        ({"optimizer": 7}, r"trainer_state\.json: optimizer: expected the name"),
        ({"optimizer": "Lion"}, r"optimizer: the run in .*pretraining has Lion, got AdamW"),
    ],
)
def test_restore_optimizer_refuses_another_format_or_optimizer(runs, change, message):
    folder = runs / "pretraining" / "checkpoint-3"
    path = folder / "trainer_state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    optimizer = AdamW(BertForMaskedLM.from_pretrained(folder).params)
    with pytest.raises(ValueError, match=message) as caught:
        restore_optimizer(folder, optimizer)
    assert "\n" not in str(caught.value)
    assert not optimizer.first.any()
    assert optimizer.step == 0
