"""Leftovers of killed writers are removed by the next one, those of living writers are not."""

import os
import subprocess
import sys

import pytest

from minibert.io.atomic import atomic_dir, atomic_update, atomic_write, unused_name
from minibert.io.leftovers import remove_dead
from minibert.io.locks import ensure_writable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no locks")

WRITER = """
import sys
from minibert.io import atomic

with getattr(atomic, sys.argv[1])(sys.argv[2]) as temporary:
    print(temporary, flush=True)
    sys.stdin.read()
"""


def age(path):
    """Make a file or folder older than those that are not locked yet."""
    os.utime(path, (path.stat().st_mtime - 10,) * 2)


@pytest.mark.parametrize("manager", [atomic_write, atomic_dir, atomic_update])
def test_a_writer_removes_the_leftovers_of_killed_ones_of_the_same_name(tmp_path, manager):
    path = tmp_path / "target"
    if manager is atomic_update:
        path.mkdir()
    command = [sys.executable, "-c", WRITER, manager.__name__, path]
    writers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, living = (path.parent / writer.stdout.readline().strip() for writer in writers)
    writers[0].kill()
    writers[0].communicate()
    other = unused_name(path.with_name("other"))
    other.touch()
    for each in (killed, living, other):
        age(each)
    with manager(path) as temporary:
        assert not killed.exists()
        assert living.exists()
        assert other.exists()
        if manager is atomic_write:
            temporary.write_text("x")
    writers[1].kill()
    writers[1].communicate()
    remove_dead([living, other])
    assert not living.exists()
    assert not other.exists()


def test_a_check_removes_the_folder_of_a_killed_check(tmp_path):
    left, other = (unused_name(tmp_path / name) for name in ("minibert", "other"))
    for each in left, other:
        each.mkdir()
        age(each)
    ensure_writable(tmp_path / "new")
    assert [*tmp_path.iterdir()] == [other]


def test_remove_dead_keeps_new_files_and_those_of_other_machines(tmp_path):
    new, foreign = unused_name(tmp_path / "a"), tmp_path / ".a.1-0123456789abcdef.tmp"
    for path in (new, foreign):
        path.touch()
    age(foreign)
    remove_dead(tmp_path.iterdir())
    assert sorted(tmp_path.iterdir()) == sorted([new, foreign])
    age(new)
    remove_dead(tmp_path.iterdir(), "b")
    assert new.exists()
    remove_dead(tmp_path.iterdir(), "a")
    assert list(tmp_path.iterdir()) == [foreign]
