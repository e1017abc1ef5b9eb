"""The user's cache folder: private, bounded, and shared by many processes."""

import math
import os
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from minibert.io.atomic import atomic_remove
from minibert.io.leftovers import remove, remove_dead

STALE_SECONDS = 7 * 24 * 3600.0  # a temporary file that is unchanged for longer is a leftover
CACHE_BYTES = 10 * 2**30  # of all entries; the ones that were not used for longest are removed
ENTRIES = ("tokens-*", "documents-*.json")


def cache_folder() -> Path:
    """Return the folder `minibert` in the user's cache, which only this user may read.

    It is created if missing. The environment variable XDG_CACHE_HOME names another cache.

    Raises:
        OSError: there is no home folder, or the folder cannot be created, or it, or a link in its
            place, belongs to another user.
    """
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise FileNotFoundError("there is no home folder; set XDG_CACHE_HOME") from None
    folder = Path(home) / "minibert"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "geteuid"):
        owners = {folder.lstat().st_uid, folder.stat().st_uid}  # of a link, and where it leads
        if owners != {os.geteuid()}:
            raise PermissionError(f"{folder}: belongs to another user")
        if stat.S_IMODE(folder.stat().st_mode) & 0o077:  # made by an earlier version
            folder.chmod(0o700)
    return folder


def trim(folder: Path, kept: Path) -> None:
    """Remove the entries that were not used for longest, until the rest has `CACHE_BYTES`.

    Other processes may trim it, too, and read the entries: the files that they have opened stay
    valid. An entry that cannot be measured or removed is passed over.

    Args:
        folder (path): the folder of the cache.
        kept (path): an entry that is in use.
    """
    entries, total = [], 0
    for path in {kept, *(path for pattern in ENTRIES for path in folder.glob(pattern))}:
        with suppress(OSError):  # another process removes it
            size = sum(each.lstat().st_size for each in (path, *path.rglob("*")))
            last = math.inf if path == kept else path.lstat().st_mtime
            entries.append((last, size, path))
    for _, size, path in sorted(entries, reverse=True):
        total += size
        if total > CACHE_BYTES and path != kept:
            with suppress(OSError):
                atomic_remove(path)


def clear_leftovers(folder: Path, patterns: Iterable[str]) -> None:
    """Remove temporary files and folders that killed processes left in a shared folder.

    Those of this machine are removed as soon as their process has ended. A process on another
    machine may still write to the others, so only those are removed in which nothing has changed
    for a week.

    Args:
        folder (path): the folder to search, without its subfolders.
        patterns: glob patterns of the names.
    """
    leftovers = [path for pattern in patterns for path in folder.glob(pattern)]
    remove_dead(leftovers)
    for leftover in leftovers:
        with suppress(OSError):  # another process removes it too
            newest = max(path.lstat().st_mtime for path in (leftover, *leftover.rglob("*")))
            if time.time() - newest > STALE_SECONDS:
                remove(leftover)
