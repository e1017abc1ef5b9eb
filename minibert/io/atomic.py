"""Write and remove files and folders atomically: a reader sees all of one, or none of it.

Content and names are on the disk before a rename counts, so this is also true after a power loss.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from minibert.io.leftovers import MACHINE, hold, release

LOCK = ".lock"  # file name of the lock in the folder of an active run; see `locks`
TEMPORARY = ".*.[0-9]*.tmp"  # pattern of the names that `unused_name` returns


def unused_name(path: str | os.PathLike[str]) -> Path:
    """Return a hidden temporary name next to `path` that no process or thread uses.

    A process id does not suffice, because processes in two containers and all threads of one
    process share it. The name contains it for a reader of the folder. Create the file or folder
    exclusively.
    """
    path = Path(path)
    # A name has at most 255 bytes, and a character at most four.
    name = f".{path.name[:50]}.{os.getpid()}-{MACHINE}{os.urandom(8).hex()}.tmp"
    return path.with_name(name)


def remove(path: Path) -> None:
    """Remove a file or a folder with its content; a missing one is ignored."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def flush(file: IO[bytes]) -> None:
    """Write what was written to an open file to the disk (fsync)."""
    file.flush()
    os.fsync(file.fileno())


def flush_path(path: Path) -> None:
    """Write a file's content, or the names in a folder, to the disk (fsync).

    Not every system can flush a folder; there its names are left to the system.
    """
    is_folder = path.is_dir()
    try:
        # Windows flushes only what may be written.
        opened = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError:
        if not is_folder:
            raise


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, on the disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        flush_path(path.parent)


def flush_tree(folder: Path) -> None:
    """Write all files and names in a folder and its folders to the disk."""
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():
            flush_path(path)
    flush_path(folder)


@contextmanager
def path_in_errors(path: Path) -> Iterator[None]:
    """Add the path to an OSError without one: the error of a full disk does not name the file."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename it to `path` at the end.

    If the write fails, the file at `path` is unchanged and the temporary file is removed. The
    temporary file exists already, empty, with the permissions of any new file, and no other writer
    uses it.

    Raises:
        OSError: the write failed; the error names the file.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = unused_name(path)
    temporary.touch(exist_ok=False)
    hold(temporary)
    try:
        with path_in_errors(path):
            yield temporary
            flush_path(temporary)
            temporary.replace(path)
            flush_path(path.parent)
    finally:
        release(temporary)
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder to fill, and rename it to `folder` at the end.

    Raises:
        FileExistsError: `folder` exists already and is not empty; or another process created it
            meanwhile, then it is unchanged.
    """
    folder = Path(folder)
    refuse_existing(folder)
    make_folder(folder.parent)
    temporary = unused_name(folder)
    temporary.mkdir()
    hold(temporary)
    try:
        with path_in_errors(folder):
            yield temporary
            flush_tree(temporary)
            if sys.platform == "win32":  # which does not rename over an empty folder
                with suppress(OSError):
                    folder.rmdir()
            try:
                temporary.replace(folder)
            except OSError:  # the error of a folder that is not empty depends on the system
                refuse_existing(folder)
                raise
            flush_path(folder.parent)
    finally:
        release(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_update(folder: str | os.PathLike[str], last: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder to fill, and move its files into `folder` at the end.

    If a write fails, `folder` is unchanged. Each file is renamed over one of its name; the other
    files there are kept. A process that is killed between two renames leaves files of both; the
    order of the renames is that of the names, with those in `last` at the end.

    Args:
        folder: is created if missing.
        last: the names of files that are renamed after the others, in this order.

    Raises:
        OSError: a write failed; the error names the file or the folder.
    """
    folder = Path(folder)
    if not os.path.lexists(folder):
        with atomic_dir(folder) as temporary:
            yield temporary
        return
    # Inside the folder, because what is beside it may be on another disk.
    temporary = unused_name(folder / "update")
    temporary.mkdir()
    hold(temporary)
    try:
        with path_in_errors(folder):
            yield temporary
            flush_tree(temporary)
            names = sorted(path.name for path in temporary.iterdir())
            first = [name for name in names if name not in last]
            for name in [*first, *(name for name in last if name in names)]:
                (temporary / name).replace(folder / name)
            flush_path(folder)
    finally:
        release(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def atomic_remove(folder: str | os.PathLike[str]) -> None:
    """Remove a folder atomically: rename it, then delete it. A missing one is ignored."""
    folder = Path(folder)
    renamed = unused_name(folder)
    with suppress(FileNotFoundError):
        folder.replace(renamed)
        flush_path(folder.parent)  # the old name must not lead to a part of the content
    remove(renamed)


def refuse_existing(folder: str | os.PathLike[str]) -> None:
    """Raise FileExistsError if `folder` exists, unless it is empty or contains only a lock."""
    folder = Path(folder)
    if not os.path.lexists(folder):  # a broken link exists
        return
    if not folder.is_dir() or any(path.name != LOCK for path in folder.iterdir()):
        raise FileExistsError(f"{folder}: exists already; name a new folder, or remove it first")
