"""The cache is trimmed to its bound, whatever other processes do with its entries meanwhile."""

import os
from pathlib import Path

import pytest

from minibert.io import cache
from minibert.io.cache import trim


@pytest.fixture
def entries(tmp_path, monkeypatch):
    """Return four entries, the oldest first, none of which fits beside the last one."""
    monkeypatch.setattr(cache, "CACHE_BYTES", 10)
    paths = [tmp_path / f"tokens-{i}" for i in range(4)]
    for i, path in enumerate(paths):
        path.mkdir()
        (path / "train.ids").write_bytes(bytes(9))
        os.utime(path, (i, i))
    return paths


@pytest.mark.parametrize("method", ["lstat", "rglob"])
def test_an_entry_that_disappears_meanwhile_keeps_no_other_one(entries, monkeypatch, method):
    right = getattr(Path, method)

    def absent(path, *arguments):
        if path == entries[1]:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return right(path, *arguments)

    monkeypatch.setattr(Path, method, absent)
    trim(entries[0].parent, entries[3])
    monkeypatch.undo()
    assert [path.exists() for path in entries] == [False, True, False, True]


def test_an_entry_that_cannot_be_removed_keeps_no_other_one(entries, monkeypatch):
    right = cache.atomic_remove

    def refused(path):
        if path == entries[2]:
            raise PermissionError(13, "Permission denied", str(path))
        right(path)

    monkeypatch.setattr(cache, "atomic_remove", refused)
    trim(entries[0].parent, entries[3])
    assert [path.exists() for path in entries] == [False, False, True, True]


def test_the_bound_holds_if_the_entry_in_use_was_removed(entries):
    trim(entries[0].parent, entries[0].with_name("tokens-removed"))
    assert not any(path.exists() for path in entries)
