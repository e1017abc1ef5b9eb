"""Finished runs: they keep no checkpoint unless asked, and `--resume` recognizes them."""

import json
import shutil

import pytest

from minibert.training import checkpoint
from minibert.training.history import read_history
from tests.cli.helpers import assert_refused, finetune_arguments, pretrain_arguments, run

COMMANDS = {"pretrain": pretrain_arguments, "finetune": finetune_arguments}


def folders(run_folder):
    return sorted(path.name for path in run_folder.rglob("*") if path.is_dir())


def finished(workspace, name):
    """Return the folder of a finished run without checkpoints, and the arguments that made it."""
    more = ["--seeds", 2, "--epochs", 1] if name == "finetune" else []
    out = workspace / f"finished-{name}"
    arguments = COMMANDS[name](workspace, out, *more)
    if not out.exists():
        assert run(arguments) == 0
    return out, arguments


@pytest.mark.parametrize("name", COMMANDS)
def test_a_finished_run_keeps_no_checkpoint_and_resume_trains_nothing(
    workspace, capsys, monkeypatch, name
):
    out, arguments = finished(workspace, name)
    seeds = ["seed-0", "seed-1"] if name == "finetune" else []
    assert folders(out) == seeds
    weights = (out / "model.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("minibert.training.loop.Engine.step", lambda *_: 1 / 0)
        capsys.readouterr()
        assert run([*arguments, "--resume"]) == 0
    assert "this run is finished; nothing is left to train" in capsys.readouterr().out
    assert (out / "model.safetensors").read_bytes() == weights
    assert_refused(
        capsys, [*arguments, "--resume", "--learning-rate", 0.5], "learning_rate: the run in"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_resume_starts_a_run_where_nothing_is_saved(workspace, tmp_path, capsys, name):
    """In no folder, an empty one, and one of a run that was killed before its first checkpoint."""
    out = tmp_path / "out"
    arguments = [*COMMANDS[name](workspace, out), "--resume"]
    out.mkdir()
    (out / "notes.txt").write_text("mine", "utf-8")
    assert_refused(capsys, arguments, f"{out}: exists already")
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    (out / "notes.txt").unlink()
    for folder in (out, out / "seed-0"):
        (folder / ".checkpoint-3.77-ab.tmp").mkdir(parents=True)
        (folder / "best-2").mkdir()
        (folder / "history.jsonl").write_text('{"step": 0, "held_out_loss": 7}\n', "utf-8")
    assert run(arguments) == 0
    assert read_history(out)[0]["step"] == 1
    assert not list(out.rglob("*.tmp"))
    assert checkpoint.is_resumable(out)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("shards", ["x", 0, None])
def test_resume_names_a_broken_number_of_shards(workspace, tmp_path, capsys, name, shards):
    out, arguments = finished(workspace, name)
    shutil.copytree(out, tmp_path / "out")
    for path in (tmp_path / "out").rglob(checkpoint.STATE):
        state = json.loads(path.read_text("utf-8"))
        state["settings"]["shards"] = shards
        path.write_text(json.dumps(state), "utf-8")
    assert_refused(capsys, [*arguments, "--resume", "--out", tmp_path / "out"], "shards: ")


@pytest.mark.slow
def test_finetune_trains_one_more_seed_of_a_finished_run(workspace, tmp_path, capsys):
    out, arguments = finished(workspace, "finetune")
    shutil.copytree(out, tmp_path / "out")
    more = [*arguments, "--seeds", 3, "--resume", "--out", tmp_path / "out"]
    capsys.readouterr()
    assert run(more) == 0
    printed = capsys.readouterr().out
    assert printed.count("this run is finished") == 2
    assert "3 seeds:" in printed
    assert folders(tmp_path / "out") == ["seed-0", "seed-1", "seed-2"]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_keep_checkpoints_keeps_the_newest_ones(workspace, name):
    more = ["--keep-checkpoints", "--save-every", 1, "--keep", 3]
    out = workspace / f"kept-{name}"
    assert run(COMMANDS[name](workspace, out, *more)) == 0
    assert len(checkpoint.checkpoints(out)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("call", [0, 1, 2])
def test_a_run_that_is_killed_while_its_checkpoints_are_removed_can_be_resumed(
    workspace, tmp_path, monkeypatch, call
):
    """Two checkpoints and the best weights, of another step, are removed one after the other."""
    out, right, calls = tmp_path / "out", checkpoint.atomic_remove, []
    more = ["--save-every", 2, "--evaluate-every", 2, "--learning-rate", 1e-9]
    arguments = finetune_arguments(workspace, out, *more)

    def killed(folder):
        calls.append(folder)
        if len(calls) == call + 1:
            raise KeyboardInterrupt
        right(folder)

    def finish(path):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "atomic_remove", killed)
            checkpoint.finish_run(path)

    with monkeypatch.context() as patch:
        patch.setattr("minibert.cli.finetune.finish_run", finish)
        assert run(arguments) == 130
    weights = (out / "model.safetensors").read_bytes()
    assert run([*arguments, "--resume"]) == 0
    assert (out / "model.safetensors").read_bytes() == weights
    assert not checkpoint.checkpoints(out)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_resume_falls_back_to_a_whole_checkpoint_and_gives_the_same_bits(
    workspace, tmp_path, capsys, name
):
    every = ["--keep-checkpoints", "--save-every", 2 if name == "finetune" else 4, "--keep", 9]
    arguments = COMMANDS[name](workspace, tmp_path / "out", *every)
    assert run(arguments) == 0
    weights = (tmp_path / "out" / "model.safetensors").read_bytes()
    first, *damaged = checkpoint.checkpoints(tmp_path / "out")
    assert damaged
    for path in damaged:
        (path / "optimizer.safetensors").write_bytes(b"")
    for path in (tmp_path / "out").glob("model.safetensors"):
        path.unlink()
    capsys.readouterr()
    assert run([*arguments, "--resume"]) == 0
    printed = capsys.readouterr().out
    for path in damaged:
        assert f"warning: {path} is damaged: optimizer.safetensors is not the file" in printed
    assert printed.count(f"; continuing from {first}") == len(damaged)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights
    assert all(checkpoint.damage_of(path) is None for path in [first, *damaged])
