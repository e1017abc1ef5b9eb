"""A sample of the faults that `.ci/full` injects, and tests that the harness finds faults."""

import contextlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from minibert.cli import embed
from minibert.data.token_cache import tokenize_corpus
from minibert.io import atomic
from minibert.io.locks import run_lock
from minibert.training.history import History
from tests.faults import harness
from tests.faults.commands import COMMANDS, Command
from tests.faults.crashes import Disk
from tests.faults.harness import Rig
from tests.faults.injection import FAIL, FULL, KILL, Injection, Killed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files are listed by /proc")

QUICK = {"embed npy": 0.1, "embed store, extended": 0.03, "train-tokenizer": 0.06}


@pytest.mark.parametrize("name", QUICK)
def test_a_sample_of_faults_leaves_nothing_torn(name, tmp_path):
    rig = Rig(name, tmp_path)
    rig.spoil_all(QUICK[name])
    rig.lose_power(QUICK[name])
    assert rig.count.findings == []
    assert min(rig.count.failed, rig.count.killed, rig.count.states) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in QUICK])
def test_a_sample_of_faults_of_each_command_leaves_nothing_torn(name, tmp_path):
    if name == "plot":
        pytest.importorskip("matplotlib")
    rig = Rig(name, tmp_path)
    rig.spoil_all(0.01)
    rig.lose_power(0.01)
    assert rig.count.findings == []
    assert min(rig.count.failed, rig.count.killed, rig.count.states) > 0


def test_a_history_is_on_the_disk_before_a_checkpoint_of_its_step(tmp_path):
    """A loss of power took lines that the continued run does not write again."""
    (tmp_path / "run").mkdir()
    disk = Disk(tmp_path)
    with pytest.MonkeyPatch.context() as patch, disk.watched(patch):
        history = History(tmp_path / "run")
        history.write(1, loss=1.0)
        history.flush()
        atomic.flush_path(tmp_path / "run")
    history.close()
    assert all(state["run/history.jsonl"] == b'{"step": 1, "loss": 1.0}\n' for state in disk.last)


def errors_of_full_disks(folder, work):
    """Return the errors of a function, on a disk that is full from each call in the folder on."""
    with Injection(folder).active() as counted:
        work()
    errors = []
    for at in range(1, len(counted.calls) + 1):
        with Injection(folder, at, FULL).active():
            try:
                work()
            except OSError as error:
                errors.append(error)
    assert errors
    return errors


def test_the_errors_of_a_lock_on_a_full_disk_name_a_file(tmp_path):
    """Closing the file wrote its buffer once more, and that error had no name."""

    def lock():
        with run_lock(tmp_path / "run", resume=True):
            pass

    (tmp_path / "run").mkdir()
    assert all(str(tmp_path) in str(error) for error in errors_of_full_disks(tmp_path, lock))


def test_the_errors_of_a_copy_of_standard_input_on_a_full_disk_name_it(
    tmp_path, monkeypatch, tokenizer
):
    def tokenize():
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"the cat\n")))
        tokenize_corpus(["-"], tokenizer, folder=tmp_path)

    errors = errors_of_full_disks(tmp_path, tokenize)
    assert all(".stdin." in str(error) for error in errors), errors


@contextlib.contextmanager
def written_in_place(path):
    yield Path(path)


def test_a_run_of_the_harness_continues_with_what_it_lacks(tmp_path, monkeypatch, capsys):
    runs, out = tmp_path / "runs.jsonl", tmp_path / "faults.md"
    arguments = ["harness", "--only", "train-tokenizer", "--share", "0.02", "--fuzz-minutes", "1"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--runs", str(runs), "--out", str(out)])
    monkeypatch.setattr(harness, "TARGETS", {"vocab": None})
    monkeypatch.setattr(
        harness.subprocess, "run",
        lambda *_, **__: SimpleNamespace(stdout="vocab: 12 executions", returncode=0),
    )  # fmt: skip
    monkeypatch.setattr(harness, "commit", lambda: "a")
    assert harness.main() == 0
    first, lines = out.read_text(), runs.read_text().splitlines()
    assert len(lines) == 2
    assert "| files that were fed | 12 |" in first
    monkeypatch.setattr(harness, "Rig", None)
    monkeypatch.setattr(harness.subprocess, "run", None)
    assert harness.main() == 0
    assert (out.read_text(), runs.read_text().splitlines()) == (first, lines)
    (row,) = [line for line in first.splitlines() if line.startswith("| train-tokenizer |")]
    assert row.endswith("| a |")  # the commit


def test_the_harness_finds_a_file_that_is_written_in_place(tmp_path, monkeypatch):
    rig = Rig("embed npy", tmp_path)
    monkeypatch.setattr(embed, "output_file", written_in_place)
    rig.fresh()
    with Injection(rig.work).active() as counted:
        rig.command.start(rig.work)
    at = counted.calls.index("write v.npy") + 1
    assert "neither the old nor the new" in rig.spoil(at, KILL)


def test_the_harness_finds_a_missing_flush(tmp_path, monkeypatch):
    rig = Rig("embed npy", tmp_path)
    rig.lose_power()
    assert rig.count.findings == []
    monkeypatch.setattr(atomic, "flush_path", lambda path: None)
    rig.lose_power()
    assert "neither the old nor the new" in rig.count.findings[0]


def test_the_harness_finds_a_false_success_and_a_message_without_a_file(tmp_path, monkeypatch):
    rig = Rig("embed csv", tmp_path)
    monkeypatch.setattr(Command, "start", lambda *_, **__: (0, ""))
    assert "success, and the result is another one" in rig.spoil(1, FAIL)
    for message, fault in [("", "no message"), ("minibert: no", "names no file"),
                           ("Traceback", "no message")]:  # fmt: skip
        monkeypatch.setattr(Command, "start", lambda *_, message=message, **__: (1, message))
        assert fault in rig.spoil(1, FAIL)


def test_an_injection_spoils_the_call_and_counts_only_its_folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()

    def work():
        (tmp_path / "out").write_text("not counted")
        (folder / "a").write_text("12345678")
        (folder / "a").replace(folder / "b")

    with Injection(folder).active() as counted:
        work()
    assert counted.calls == ["open to write a", "write a", "replace a"]
    with Injection(folder, 2, FULL).active(), pytest.raises(OSError, match="No space"):
        work()
    assert (folder / "a").read_text() == "1234"
    (folder / "b").unlink()
    with Injection(folder, 3, KILL).active():
        for use in (work, (folder / "a").unlink):
            with pytest.raises(Killed):
                use()
    assert [path.name for path in folder.iterdir()] == ["a"]
