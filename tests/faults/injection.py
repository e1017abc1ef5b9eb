"""Make the n-th file-system call of a command fail, or end the process at it.

The calls that are counted: those that open, read, write, flush, create, rename or remove something
in one folder. Python's functions are replaced, so a call of a C library is not seen; minibert
writes with Python alone.

A killed process runs no further code. Here the call raises `Killed`, which is not an Exception, and
all later calls of the folder do nothing, so what `finally` and `except` blocks try has no effect on
the disk, either.
"""

import builtins
import errno
import io
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

FAIL, FULL, KILL = "fail", "full disk", "kill"
KINDS = FAIL, FULL, KILL
CHANGES = (
    "mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink", "truncate",
    "ftruncate", "chmod", "fsync", "sendfile", "open",
)  # fmt: skip
NO_SPACE = "mkdir", "open to write", "write", "rename", "replace", "sendfile"


class Killed(BaseException):
    """The process was killed."""


class Injection:
    """Counts the file-system calls in a folder, and spoils one of them.

    Args:
        folder (path): calls elsewhere are not counted.
        at (int): the number of the call, from 1; 0: none.
        kind (str): FAIL, this call alone; FULL, from the call on the disk is full, and of a write
            a half fits; or KILL.

    Attributes:
        calls: the names of the calls so far.
        is_dead: the process was killed.
        is_full: the disk is full.
    """

    def __init__(self, folder: Path, at: int = 0, kind: str = FAIL):
        self.folder, self.at, self.kind = os.path.realpath(folder), at, kind
        self.calls: list[str] = []
        self.is_dead = self.is_full = False
        self.opened: dict[int, str] = {}  # path of each open folder or file

    def call(self, name, path):
        """Count a call; raise an error if it is the one to be spoiled, or after the end."""
        if self.is_dead:
            raise Killed
        self.calls.append(f"{name} {Path(path).name}")
        is_here = len(self.calls) == self.at
        if is_here and self.kind == KILL:
            self.is_dead = True
            raise Killed
        self.is_full = self.is_full or (is_here and self.kind == FULL)
        fails = self.is_full and name in NO_SPACE
        if not fails and not (is_here and self.kind == FAIL):
            return
        code = errno.ENOSPC if name in NO_SPACE else errno.EIO
        if name in ("write", "fsync", "read", "ftruncate"):  # the system does not name their file
            raise OSError(code, os.strerror(code))
        raise OSError(code, os.strerror(code), os.fspath(path))

    def is_ours(self, path):
        """Return whether a path, or an open file, is in the folder."""
        if isinstance(path, int):
            path = self.opened.get(path) or _path_of(path)
        place = str(Path(os.fsdecode(path)).absolute())
        return place == self.folder or place.startswith(self.folder + os.sep)

    @contextmanager
    def active(self):
        """Replace the functions in a `with` block."""
        with pytest.MonkeyPatch.context() as patch:
            for name in CHANGES:
                if hasattr(os, name):
                    patch.setattr(os, name, self._counted(name, getattr(os, name)))
            opened = self._open(io.open)
            patch.setattr(io, "open", opened)
            patch.setattr(builtins, "open", opened)
            patch.setattr(os, "fdopen", opened)
            yield self

    def _counted(self, name, function):
        def counted(path, *arguments, dir_fd=None, **options):
            if name == "sendfile":  # its first argument is the file that is written
                ours = self.is_ours(path)
            elif dir_fd is not None:
                ours = self.is_ours(dir_fd)
            else:
                ours = self.is_ours(path)
            if ours:
                kind = name
                if name == "open" and arguments and arguments[0] & (os.O_WRONLY | os.O_RDWR):
                    kind = "open to write"
                self.call(kind, _path_of(path) if isinstance(path, int) else path)
            if dir_fd is not None:
                options["dir_fd"] = dir_fd
            return function(path, *arguments, **options)

        return counted

    def _open(self, function):
        raw = self

        class Raw(io.FileIO):
            """A file whose reads and writes are counted."""

            def readinto(self, buffer):
                raw.call("read", self.name if isinstance(self.name, str) else _path_of(self.name))
                return super().readinto(buffer)

            def readall(self):
                raw.call("read", self.name if isinstance(self.name, str) else _path_of(self.name))
                return super().readall()

            def write(self, data):
                if raw.is_dead:  # buffers are written when they are collected
                    return len(memoryview(data).cast("B"))
                path = self.name if isinstance(self.name, str) else _path_of(self.name)
                is_next = len(raw.calls) + 1 == raw.at
                if not is_next or raw.kind == FAIL:
                    raw.call("write", path)
                    return super().write(data)
                content = memoryview(data).cast("B")
                count = super().write(content[: (len(content) + 1) // 2])
                if raw.kind == KILL:
                    raw.call("write", path)
                raw.calls.append(f"write {Path(path).name}")
                raw.is_full = True
                return count

            def truncate(self, size=None):
                raw.call("ftruncate", self.name if isinstance(self.name, str) else "")
                return super().truncate(size)

        def opened(
            file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True,
            opener=None,
        ):  # fmt: skip
            name = os.fspath(file) if not isinstance(file, int) else file
            if not self.is_ours(name):
                return function(file, mode, buffering, encoding, errors, newline, closefd, opener)
            bare = mode.replace("b", "").replace("t", "")
            if not isinstance(file, int) and opener is None:
                self.call("open" if bare == "r" else "open to write", name)
            content = Raw(name, bare, closefd, opener)
            if "b" in mode and buffering == 0:
                return content
            buffer = {"r": io.BufferedReader, "w": io.BufferedWriter, "x": io.BufferedWriter,
                      "a": io.BufferedWriter}[bare[0]]  # fmt: skip
            if "+" in bare:
                buffer = io.BufferedRandom
            whole = buffer(content)
            if "b" in mode:
                return whole
            text = io.TextIOWrapper(whole, encoding, errors, newline, buffering == 1)
            text.mode = mode
            return text

        return opened


def _path_of(opened):
    """Return the path of an open file."""
    try:
        return str(Path(f"/proc/self/fd/{opened}").readlink()).removesuffix(" (deleted)")
    except OSError:
        return ""
