"""The user's cache folder, which many processes share."""

import os
import time
from contextlib import suppress
from pathlib import Path

from minibert.io.atomic import remove

STALE_SECONDS = 7 * 24 * 3600.0  # a temporary file that is unchanged for longer is a leftover


def cache_folder() -> Path | None:
    """Return the folder `minibert` in the user's cache; None without a home folder.

    The environment variable XDG_CACHE_HOME names another cache.
    """
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(home) / "minibert"


def clear_stale(folder: Path, pattern: str) -> None:
    """Remove temporary files and folders that killed processes left in a shared folder.

    A process on another machine may still write to them, so only those are removed in which
    nothing has changed for a week.

    Args:
        folder (path): the folder to search, without its subfolders.
        pattern (str): a glob pattern of the names.
    """
    for leftover in list(folder.glob(pattern)):
        with suppress(OSError):  # another process removes it too
            newest = max(path.lstat().st_mtime for path in (leftover, *leftover.rglob("*")))
            if time.time() - newest > STALE_SECONDS:
                remove(leftover)
