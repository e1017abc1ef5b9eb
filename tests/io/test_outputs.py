"""Outputs at links, pipes, devices and mount points; links in the place of minibert's own files."""

import errno
import os
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from minibert import BertForMaskedLM, VectorStore
from minibert.cli import main
from minibert.data.tables import write_tsv
from minibert.inference import vector_store
from minibert.io import atomic, outputs
from minibert.io.atomic import atomic_dir, atomic_update, atomic_write, settled
from minibert.io.locks import ensure_writable, run_lock
from minibert.io.outputs import ensure_output, output_file
from minibert.testing import cases
from minibert.training import AdamW, Settings
from minibert.training.checkpoint import save_checkpoint
from minibert.training.history import History
from tests.inference.test_features import small

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators")

TSV = "text\na cat\n"


def write_text(path, text=TSV):
    with output_file(path) as temporary:
        temporary.write_text(text, "utf-8")


@contextmanager
def reader_of(pipe):
    """Yield a list that will contain the content of a pipe with a name."""
    os.mkfifo(pipe)
    found = []
    thread = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    thread.start()
    yield found
    thread.join()


# Files that a user names.


def test_output_file_writes_to_the_file_behind_links(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_text("old")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to(tmp_path / "far" / "file")
    write_text(tmp_path / "one")
    assert (tmp_path / "far" / "file").read_text() == TSV
    assert (tmp_path / "one").readlink().name == "two"
    (tmp_path / "far" / "file").unlink()  # a link to a file that does not exist yet
    write_text(tmp_path / "one", "new")
    assert (tmp_path / "far" / "file").read_text() == "new"
    assert not (tmp_path / "far" / "file").is_symlink()
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["file"]


def test_output_file_refuses_folders_and_circles_before_the_work(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").write_text("mine")
    folder = "found a folder"
    for name, expected in [("circle", "links in a circle"), ("folder", folder), ("link", folder),
                           ("file/below", "is not a folder")]:  # fmt: skip
        for use in (ensure_output, write_text, lambda path: write_tsv(path, ["a"], [])):
            with pytest.raises(OSError, match=expected) as caught:
                use(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)
    assert not list((tmp_path / "folder").iterdir())
    found = pytest.raises(IsADirectoryError, match="expected a file, found a folder")
    with found, atomic_write(tmp_path / "folder"):
        raise AssertionError("the folder was found after the work")


def test_output_file_copies_to_pipes_and_devices(tmp_path):
    with reader_of(tmp_path / "pipe") as found:
        write_text(tmp_path / "pipe")
    assert found == [TSV.encode()]
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "null").symlink_to(os.devnull)
    write_text(tmp_path / "null")
    assert (tmp_path / "null").is_symlink()
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_output_file_says_that_the_reader_of_a_pipe_has_gone(tmp_path):
    """A BrokenPipeError would mean success, because it is that of `| head`."""
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=lambda: (tmp_path / "pipe").open("rb").close())
    thread.start()
    with pytest.raises(OSError, match=r"pipe: its reader closed the pipe before the end") as caught:
        write_text(tmp_path / "pipe", "x" * 10_000_000)
    assert not isinstance(caught.value, BrokenPipeError)
    thread.join()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_file_names_a_device_that_is_full(tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*full"):
        write_text(tmp_path / "full")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc")
def test_standard_output_in_a_file_is_written_where_it_ends(tmp_path):
    """The path of an open file leads to its start, which printed lines already fill."""
    code = """
from minibert.io.outputs import output_file
for name in "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1":
    print(name)
    with output_file(name) as temporary:
        temporary.write_text("written")
print("end")
"""
    with (tmp_path / "out").open("w") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    written = "/dev/stdout\nwritten/dev/fd/1\nwritten/proc/self/fd/1\nwrittenend\n"
    assert (tmp_path / "out").read_text() == written


@pytest.mark.parametrize("name", ["v.npy", "v.csv", "v.jsonl", "look.html", "c.svg", "checks.md"])
def test_commands_write_to_the_file_behind_a_link(tmp_path, name, tokenizer, monkeypatch):
    if name == "c.svg":
        pytest.importorskip("matplotlib")
    tokenizer.save_pretrained(tmp_path / "model")
    small(tokenizer, BertForMaskedLM).save_pretrained(tmp_path / "model")
    history = History(tmp_path)
    history.write(1, loss=1.0, norm=1.0, rate=0.1, tokens_per_second=9.0)
    history.close()
    monkeypatch.setattr(cases, "cases", lambda every: [])
    out, model = str(tmp_path / name), str(tmp_path / "model")
    arguments = {
        ".html": ["inspect", model, "the [MASK]", "--html", out],
        ".svg": ["plot", str(tmp_path), "--out", out],
        ".md": ["gradcheck", "--out", out],
    }.get(name[name.index(".") :], ["embed", model, "a cat", "--out", out])
    (tmp_path / name).symlink_to("real")
    assert main(arguments) == 0
    assert (tmp_path / name).is_symlink()
    assert (tmp_path / "real").stat().st_size
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("option", ["--html", "--out"])
def test_commands_refuse_a_folder_as_a_file_before_the_work(tmp_path, option, capsys, monkeypatch):
    monkeypatch.setattr(cases, "cases", lambda every: 1 / 0)
    arguments = ["gradcheck"] if option == "--out" else ["inspect", "nowhere", "a"]
    assert main([*arguments, option, str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"minibert: {tmp_path}: expected a file, found a folder\n"


# Permissions.


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_new_files_and_folders_follow_the_umask(tmp_path, tokenizer, umask):
    before = os.umask(umask)
    try:
        model = small(tokenizer, BertForMaskedLM)
        save_checkpoint(tmp_path / "run", model, tokenizer, AdamW(model.params), Settings(steps=1))
        VectorStore.create(tmp_path / "a.store", width=2).append(["a"], np.ones((1, 2)))
        write_tsv(tmp_path / "a.tsv", ["a"], [])
    finally:
        os.umask(before)
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert len(found) > 10
    assert found == {path: (0o777 if path.is_dir() else 0o666) & ~umask for path in found}


def test_atomic_write_keeps_the_permissions_of_the_file_that_it_replaces(tmp_path):
    path = tmp_path / "file"
    for mode in (0o600, 0o444, 0o640):
        path.write_text("old")
        path.chmod(mode)
        with atomic_write(path) as temporary:
            assert stat.S_IMODE(temporary.stat().st_mode) == mode | 0o200
            temporary.write_text("new")
        assert path.read_text() == "new"
        assert stat.S_IMODE(path.stat().st_mode) == mode
        path.unlink()


# Folders.


def fill(folder, make=atomic_dir):
    with make(folder) as temporary:
        (temporary / "a").mkdir()
        (temporary / "a" / "b").write_text("new")
        (temporary / "c").write_text("new")


def listed(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("make", [atomic_dir, atomic_update])
def test_atomic_dir_fills_the_empty_folder_behind_a_link(tmp_path, make):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    fill(tmp_path / "link", make)
    assert listed(tmp_path) == ["folder", "folder/a", "folder/a/b", "folder/c", "link"]
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("kind", ["mount", "bind mount", "protected", "locked", "leftover"])
def test_atomic_dir_fills_a_folder_that_cannot_be_renamed_over(tmp_path, kind, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    before, left = folder.stat().st_ino, []
    if kind == "mount":
        monkeypatch.setattr(Path, "is_mount", lambda path: path == folder)
    elif kind == "bind mount":
        right = Path.replace

        def refuse(path, target):
            if target == folder:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(target))
            return right(path, target)

        monkeypatch.setattr(Path, "replace", refuse)
    elif kind == "protected":
        monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    else:
        left = [".lock" if kind == "locked" else ".new.12-abc.tmp"]
        (folder / left[0]).touch()
    ensure_writable(folder)
    fill(folder)
    assert listed(tmp_path) == ["folder", *(f"folder/{name}" for name in [*left, "a", "a/b", "c"])]
    assert folder.stat().st_ino == before
    with pytest.raises(FileExistsError, match="exists already"):
        fill(folder)


def test_atomic_dir_leaves_a_mount_point_empty_after_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_mount", lambda path: True)

    def fail():
        with atomic_dir(tmp_path) as temporary:
            (temporary / "half").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert listed(tmp_path) == []


@pytest.mark.parametrize("command", [["-t", "tmpfs", "none"], ["--bind", "{}/other"]])
def test_atomic_dir_fills_a_real_mount_point(tmp_path, command):
    """A bind mount may be on the disk of the folder above it."""
    folder = tmp_path / "a folder"
    for path in (folder, tmp_path / "other"):
        path.mkdir()
    arguments = [part.format(tmp_path) for part in command]
    if (
        sys.platform != "linux"
        or subprocess.run(["mount", *arguments, folder], stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("mounting is for administrators")
    try:
        fill(folder)
        assert listed(folder) == ["a", "a/b", "c"]
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_temporary_folder_of_a_killed_check_does_not_make_a_folder_full(tmp_path, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pathlib.Path.rmdir", lambda path: None)  # killed before it
        ensure_writable(tmp_path / "out")
        ensure_writable(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    ensure_writable(tmp_path)
    with run_lock(tmp_path):
        assert listed(tmp_path) == [".lock"]


def test_a_run_stays_in_the_folder_to_which_a_link_led_at_first(tmp_path, tokenizer):
    """The lock, the check and all files are in one folder, also if the link changes meanwhile."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "out").symlink_to("first")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "corpus.txt").write_text("the cat sat on the mat\n\n" * 40)
    right = atomic.atomic_dir

    def turning(folder):
        if not (tmp_path / "out").is_symlink():
            return right(folder)
        (tmp_path / "out").unlink()
        (tmp_path / "out").symlink_to("second")
        return right(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        patch.setattr("minibert.training.checkpoint.atomic_dir", turning)
        arguments = ["pretrain", tmp_path / "corpus.txt", "--tokenizer", tmp_path / "tokenizer",
                     "--length", 12, "--steps", 2, "--batch-size", 4, "--size", "nano",
                     "--out", tmp_path / "out"]  # fmt: skip
        assert main(list(map(str, arguments))) == 0
    assert (tmp_path / "out").resolve().name == "second"
    assert listed(tmp_path / "second") == []
    assert (tmp_path / "first" / "model.safetensors").is_file()


def test_settled_changes_only_paths_with_links(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "nowhere").symlink_to("missing")
    assert str(settled("folder/new")) == "folder/new"
    assert settled("link/new") == tmp_path / "folder" / "new"
    assert str(settled("nowhere")) == "nowhere"
    assert outputs._destination("nowhere") == tmp_path / "missing"


# Files of minibert's own in a folder of someone else.


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "dangling link"])
def test_a_lock_that_is_something_else_is_refused_and_left_alone(tmp_path, kind, capsys):
    victim, lock = tmp_path / "victim", tmp_path / "out" / ".lock"
    victim.write_text("precious\n")
    lock.parent.mkdir()
    {
        "link": lambda: lock.symlink_to(victim),
        "hard link": lambda: lock.hardlink_to(victim),
        "pipe": lambda: os.mkfifo(lock),
        "dangling link": lambda: lock.symlink_to(tmp_path / "missing"),
    }[kind]()
    for resume in (False, True):
        refused = pytest.raises(OSError, match=rf"{lock}: expected")
        with refused, run_lock(lock.parent, resume=resume):
            raise AssertionError("the run began")
    assert victim.read_text() == "precious\n"
    assert os.path.lexists(lock)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("name", ["vectors.npy", "places.npy", "texts.txt"])
@pytest.mark.parametrize("target", ["victim", "missing"])
def test_a_store_does_not_write_to_the_file_behind_a_link(tmp_path, name, target):
    (tmp_path / "victim").write_text("precious")
    store = VectorStore.create(tmp_path / "a.store", width=2)
    (store.folder / name).symlink_to(tmp_path / target)
    with pytest.raises(OSError, match=rf"{name}: expected a file, found a link"):
        store.append(["a"], np.ones((1, 2)))
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "missing").exists()
    assert vector_store.VectorStore.open(store.folder).texts([]) == []


@pytest.mark.parametrize("target", ["victim", "missing"])
def test_a_history_does_not_write_to_the_file_behind_a_link(tmp_path, target):
    (tmp_path / "victim").write_text('{"step": 1}\n')
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "history.jsonl").symlink_to(tmp_path / target)
    if target == "missing":
        with pytest.raises(OSError, match=r"history\.jsonl: expected a file, found a link"):
            History(tmp_path / "run", step=0)
    else:  # the link is replaced by a file with the lines that count
        History(tmp_path / "run", step=0).close()
    assert (tmp_path / "victim").read_text() == '{"step": 1}\n'
    assert not (tmp_path / "missing").exists()
