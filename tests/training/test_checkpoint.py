"""Checkpoints: a run continues from the newest whole one, also after a power loss."""

import json
import logging
import sys
from dataclasses import replace

import pytest

from minibert import BertForMaskedLM
from minibert.training import AdamW
from minibert.training.checkpoint import (
    STATE,
    checkpoints,
    damage_of,
    is_resumable,
    read_state,
    restore_optimizer,
    resume_point,
    save_checkpoint,
    versions,
)
from tests.faults.crashes import Disk, write_state
from tests.faults.targets import CONFIG, SETTINGS
from tests.faults.targets import tokenizer as make_tokenizer

FILES = ["model.safetensors", "optimizer.safetensors", "config.json", "vocab.txt", STATE]


def save(run, *steps, keep=3):
    """Write checkpoints of a model whose weights are the number of the step."""
    model = BertForMaskedLM(CONFIG)
    optimizer = AdamW(model.params)
    for step in steps:
        model.params.vector[:] = optimizer.first[:] = optimizer.step = step
        save_checkpoint(run, model, make_tokenizer(), optimizer, replace(SETTINGS, keep=keep))
        yield step


def check_whole(checkpoint, step):
    """Load a checkpoint and check that all of it is of the step."""
    model = BertForMaskedLM.from_pretrained(checkpoint, strict=True)
    optimizer = AdamW(model.params)
    restore_optimizer(checkpoint, optimizer)
    assert (model.params.vector == step).all()
    assert (optimizer.first == step).all()
    assert optimizer.step == step == read_state(checkpoint)["step"]
    assert damage_of(checkpoint) is None


@pytest.fixture
def run(tmp_path):
    assert [*save(tmp_path / "run", 1, 2, 3)] == [1, 2, 3]
    assert len(checkpoints(tmp_path / "run")) == 3
    return tmp_path / "run"


def damage(path, kind):
    content = path.read_bytes()
    if kind == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"empty": b"", "cut": content[:-1], "flipped": flipped}[kind])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["missing", "empty", "cut", "flipped"])
def test_a_run_continues_from_the_newest_whole_checkpoint(run, caplog, name, kind):
    damage(run / "checkpoint-3" / name, kind)
    caplog.set_level(logging.WARNING, "minibert")
    point = resume_point(run)
    if name == STATE and kind in ("cut", "flipped"):  # its last byte is a line end
        assert point.name in ("checkpoint-2", "checkpoint-3")
        return
    assert point == run / "checkpoint-2"
    check_whole(point, 2)
    if name == STATE and kind == "missing":  # as after a kill, it was never complete
        assert caplog.text == ""
        return
    assert len(caplog.messages) == 1
    assert f"{run / 'checkpoint-3'} is damaged: " in caplog.text
    assert name in caplog.text
    assert caplog.messages[0].endswith(f"; continuing from {run / 'checkpoint-2'}")


def test_several_damaged_checkpoints_are_named_and_the_whole_one_is_kept(run, caplog):
    for step in (2, 3):
        damage(run / f"checkpoint-{step}" / "model.safetensors", "flipped")
    caplog.set_level(logging.WARNING, "minibert")
    assert resume_point(run) == run / "checkpoint-1"
    assert [message.split(" is damaged")[0] for message in caplog.messages] == [
        f"warning: {run / 'checkpoint-3'}", f"warning: {run / 'checkpoint-2'}"
    ]  # fmt: skip
    assert [*save(run, 2, keep=1)] == [2]
    check_whole(run / "checkpoint-2", 2)
    assert [path.name for path in checkpoints(run)] == ["checkpoint-2", "checkpoint-3"]
    assert resume_point(run) == run / "checkpoint-2"
    assert [*save(run, 3, keep=1)] == [3]
    check_whole(run / "checkpoint-3", 3)
    assert [path.name for path in checkpoints(run)] == ["checkpoint-3"]


def test_without_a_whole_checkpoint_the_newest_one_is_read_and_refused(run):
    for path in checkpoints(run):
        damage(path / "model.safetensors", "cut")
    assert resume_point(run) == run / "checkpoint-3"
    with pytest.raises(ValueError, match=r"checkpoint-3.model\.safetensors"):
        check_whole(resume_point(run), 3)


@pytest.mark.parametrize("name", FILES[:2])
def test_a_flipped_bit_of_the_only_checkpoint_is_refused(tmp_path, name):
    assert [*save(tmp_path, 1)] == [1]
    check_whole(resume_point(tmp_path), 1)
    damage(tmp_path / "checkpoint-1" / name, "flipped")
    optimizer = AdamW(BertForMaskedLM(CONFIG).params)
    with pytest.raises(ValueError, match=rf"checkpoint-1: is damaged: {name} is not the file"):
        restore_optimizer(resume_point(tmp_path), optimizer)


@pytest.mark.parametrize("kind", ["missing", "empty", "cut", None])
@pytest.mark.parametrize("name", FILES[:2])
def test_checkpoints_of_earlier_versions_are_checked_by_their_arrays(run, name, kind):
    path = run / "checkpoint-3" / STATE
    state = json.loads(path.read_text("utf-8"))
    assert state["files"].keys() == {each.name for each in path.parent.iterdir()} - {STATE}
    del state["files"]
    path.write_text(json.dumps(state), "utf-8")
    if kind:
        damage(run / "checkpoint-3" / name, kind)
    assert resume_point(run) == run / f"checkpoint-{2 if kind else 3}"


@pytest.mark.parametrize("files", [{"../run.json": [0, 0]}, {"vocab.txt": 3}, {"": [0, 0]}])
def test_a_list_of_files_that_is_damaged_is_found(run, files):
    path = run / "checkpoint-3" / STATE
    state = json.loads(path.read_text("utf-8")) | {"files": files}
    path.write_text(json.dumps(state), "utf-8")
    assert damage_of(run / "checkpoint-3")
    assert resume_point(run) == run / "checkpoint-2"


def test_other_versions_than_those_of_the_checkpoint_are_named(run, caplog):
    caplog.set_level(logging.WARNING, "minibert")
    check_whole(run / "checkpoint-3", 3)
    assert caplog.messages == []
    path = run / "checkpoint-3" / STATE
    state = json.loads(path.read_text("utf-8"))
    assert state["versions"] == versions()
    assert state["versions"].keys() == {"minibert", "NumPy", "BLAS"}
    path.write_text(json.dumps(state | {"versions": versions() | {"BLAS": "a\nb"}}), "utf-8")
    check_whole(run / "checkpoint-3", 3)
    (message,) = caplog.messages
    assert rf"checkpoint-3 was written with BLAS a\nb, now it is {versions()['BLAS']}; " in message
    for other in (None, ["NumPy"]):  # of earlier versions, or damaged
        path.write_text(json.dumps(state | {"versions": other}), "utf-8")
        check_whole(run / "checkpoint-3", 3)
    assert len(caplog.messages) == 1


def test_a_run_is_resumable_with_a_checkpoint_or_when_it_is_finished(run, tmp_path):
    assert is_resumable(run)
    assert not is_resumable(tmp_path / "other")
    assert resume_point(tmp_path / "other") is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / STATE).write_text("{}")
    assert is_resumable(tmp_path / "other")
    assert resume_point(tmp_path / "other") == tmp_path / "other"


@pytest.mark.skipif(sys.platform != "linux", reason="files are listed by /proc")
@pytest.mark.parametrize("keep", [1, 2])
def test_a_run_survives_a_power_loss_at_any_flush(tmp_path, keep):
    """After a checkpoint has been written, no power loss goes back behind it."""
    (tmp_path / "at").mkdir()
    disk, done = Disk(tmp_path / "at"), []
    with pytest.MonkeyPatch.context() as patch, disk.watched(patch):
        for step in save(tmp_path / "at" / "run", 1, 2, keep=keep):
            disk.record()
            done += [(state, step) for state in disk.last]
    states = [(state, 0) for state in disk.states] + done
    assert len(states) > 20
    seen = set()
    for number, (state, least) in enumerate(states):
        write_state(state, tmp_path / f"state-{number}")
        point = resume_point(tmp_path / f"state-{number}" / "run")
        found = 0 if point is None else int(point.name.removeprefix("checkpoint-"))
        assert found >= least
        if point:
            check_whole(point, found)
        seen.add(found)
    assert seen == {0, 1, 2}
