"""Write and remove files and folders atomically: a reader sees all of one, or none of it.

Content and names are on the disk before a rename counts, so this is also true after a power loss.
"""

import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from minibert.io.leftovers import MACHINE, hold, release, remove

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


def settled(path: str | os.PathLike[str]) -> Path:
    """Return the path behind all links; a path without links is returned unchanged.

    A command settles the folder that it writes once, so a link that changes meanwhile does not
    separate the folder that was checked and locked from the one that is written. A link that leads
    nowhere is returned as it is, and `refuse_existing` refuses it; so is a relative path if the
    current folder was deleted, and `ensure_creatable` refuses it.
    """
    try:
        given = os.path.abspath(path)  # noqa: PTH100  Path.absolute keeps "..", which is compared
    except FileNotFoundError:
        return Path(path)
    found = os.path.realpath(given)
    is_same = found == given or (os.path.islink(given) and not os.path.exists(found))  # noqa: PTH110, PTH114
    return Path(path) if is_same else Path(found)


def own_file(path: str, flags: int) -> int:
    """Open a file of minibert's own in a folder, as an `opener` of `open`.

    What a link of this name leads to is neither read nor written: it is a file of someone else.

    Raises:
        OSError: the path is a link, a pipe or a device.
    """
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # neither on Windows
    try:
        opened = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):  # of a link, and of a pipe without reader
            raise
        raise OSError(f"{path}: expected a file, found a link or a pipe") from None
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(f"{path}: expected a file, found a pipe or a device")
    return opened


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
    temporary file exists already, empty, with the permissions of the file that it replaces or of
    any new file, and no other writer uses it. A link at `path` is replaced, not followed; see
    `outputs.output_file` for files that a user names.

    Raises:
        IsADirectoryError: `path` is a folder.
        OSError: the write failed; the error names the file.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file, found a folder")
    make_folder(path.parent)
    mode = _permissions(path)
    temporary = unused_name(path)
    temporary.touch(exist_ok=False)
    hold(temporary)
    try:
        with path_in_errors(path):
            if mode is not None:  # what is private stays private, also while it is written
                temporary.chmod(mode | stat.S_IWUSR)
            yield temporary
            flush_path(temporary)
            if mode is not None:
                temporary.chmod(mode)
            temporary.replace(path)
            flush_path(path.parent)
    finally:
        release(temporary)
        temporary.unlink(missing_ok=True)


def _permissions(path: Path) -> int | None:
    """Return the permissions of a file; None if there is none."""
    try:
        found = path.lstat().st_mode
    except OSError:
        return None
    return stat.S_IMODE(found) if stat.S_ISREG(found) else None


@contextmanager
def atomic_dir(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder to fill, and rename it to `folder` at the end.

    Not every empty folder can be renamed over: a mount point, or one in a folder where nothing can
    be created. Then the temporary folder is in it, and its files are moved one after the other; a
    process that is killed meanwhile leaves a part of them. A link is followed.

    Raises:
        FileExistsError: `folder` exists already and is not empty; or another process created it
            meanwhile, then it is unchanged.
    """
    folder = Path(folder)
    refuse_existing(folder)
    folder = settled(folder)
    make_folder(folder.parent)
    is_replaced = not folder.is_dir() or _is_replaceable(folder)
    temporary = unused_name(folder if is_replaced else folder / "new")
    temporary.mkdir()
    hold(temporary)
    try:
        with path_in_errors(folder):
            yield temporary
            flush_tree(temporary)
            if is_replaced:
                _rename_over(temporary, folder)
            else:
                refuse_existing(folder)
                _move_into(temporary, folder)
    finally:
        release(temporary)
        shutil.rmtree(temporary, ignore_errors=True)


def _is_replaceable(folder: Path) -> bool:
    """Return whether an existing folder is empty, and another one can be renamed over it."""
    is_empty = next(folder.iterdir(), None) is None  # not so with a lock, which has to stay
    return is_empty and not folder.is_mount() and os.access(folder.parent, os.W_OK | os.X_OK)


def _rename_over(temporary: Path, folder: Path) -> None:
    if sys.platform == "win32":  # which does not rename over an empty folder
        with suppress(OSError):
            folder.rmdir()
    try:
        temporary.replace(folder)
    except OSError as error:  # the error of a folder that is not empty depends on the system
        refuse_existing(folder)
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        _copy_into(temporary, folder)  # a mount point on the disk of the folder above it
    flush_path(folder.parent)


def _copy_into(temporary: Path, folder: Path) -> None:
    copied = unused_name(folder / "new")
    try:
        shutil.copytree(temporary, copied)
        flush_tree(copied)
        _move_into(copied, folder)
    finally:
        shutil.rmtree(copied, ignore_errors=True)


def _move_into(temporary: Path, folder: Path, last: Sequence[str] = ()) -> None:
    """Move the content of a folder into another one, in the order of the names."""
    names = sorted(path.name for path in temporary.iterdir())
    first = [name for name in names if name not in last]
    for name in [*first, *(name for name in last if name in names)]:
        (temporary / name).replace(folder / name)
    flush_path(folder)


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
    if not folder.is_dir():  # which may be a broken link
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
            _move_into(temporary, folder, last)
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
    """Raise FileExistsError if `folder` exists, unless it is empty.

    A lock and temporary files, which killed processes leave, do not count.
    """
    folder = Path(folder)
    if not os.path.lexists(folder):  # a broken link exists
        return
    if not folder.is_dir() or not all(
        path.name == LOCK or path.match(TEMPORARY) for path in folder.iterdir()
    ):
        raise FileExistsError(f"{folder}: exists already; name a new folder, or remove it first")
