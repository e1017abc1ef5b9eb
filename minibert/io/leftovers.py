"""Leftovers of killed writers: a temporary file or folder is locked while its writer lives."""

import os
import re
import shutil
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Part of each temporary name, because a lock may be unknown to another machine with the same disk.
NODE = os.uname().nodename if hasattr(os, "uname") else ""
MACHINE = f"{zlib.crc32(NODE.encode(errors='replace')):08x}"
OWN = re.compile(rf"\.(.+)\.\d+-{MACHINE}[0-9a-f]+\.tmp", re.DOTALL)
YOUNG_SECONDS = 1.0  # a writer locks what it makes long before

_held: dict[Path, int] = {}


def hold(temporary: Path) -> None:
    """Lock a new temporary file or folder until `release`, or the end of this process.

    Those of its name that no living process holds are removed before.
    """
    match = OWN.fullmatch(temporary.name)
    if match is None or fcntl is None:
        return
    remove_dead(temporary.parent.glob(f".*-{MACHINE}*.tmp"), match[1])
    with suppress(OSError):  # not on each disk
        _held[temporary] = opened = os.open(temporary, os.O_RDONLY)
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)


def release(temporary: Path) -> None:
    """Unlock what `hold` has locked."""
    if temporary in _held:
        os.close(_held.pop(temporary))


def remove_dead(leftovers: Iterable[Path], name: str | None = None) -> None:
    """Remove temporary files and folders that no living process of this machine holds.

    Args:
        leftovers: paths; what is not a temporary name of this machine is ignored.
        name (str): of the file or folder that was to be written; None: any.
    """
    for path in list(leftovers):
        match = OWN.fullmatch(path.name)
        if match is not None and name in (None, match[1]) and _is_dead(path):
            with suppress(OSError):  # of another user
                remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder with its content; a missing one is ignored."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_dead(path: Path) -> bool:
    """Return whether a temporary file or folder is not locked."""
    try:
        if fcntl is None or time.time() - path.lstat().st_mtime < YOUNG_SECONDS:
            return False
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(opened)
    except OSError:  # it is locked, or cannot be
        return False
    return True
