"""Lock the folder of a run, and check early that it can be written."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minibert.io.atomic import (
    LOCK,
    TEMPORARY,
    make_folder,
    own_file,
    path_in_errors,
    refuse_existing,
    unused_name,
)
from minibert.io.leftovers import hold, release, remove

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

READ = 100  # bytes of a lock; it contains the number of a process

log = logging.getLogger("minibert")


@contextmanager
def run_lock(folder: str | os.PathLike[str], *, resume: bool = False) -> Iterator[None]:
    """Lock a run's folder for this process, and remove temporary files of killed processes.

    The operating system releases the lock when the process ends, even if it is killed. Where locks
    are not available (Windows, some network drives), only `ensure_writable` detects two runs in one
    folder.

    Args:
        folder (path): the folder; it is created if missing, and removed again if it stays empty.
        resume (bool): allow a folder with content; otherwise `ensure_writable` checks it.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: see `ensure_writable`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        ensure_writable(folder)
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        make_folder(folder)
        with _locked(folder):
            if not resume:
                ensure_writable(folder)
            # A list, because removing a folder also removes matches in it.
            for leftover in list(folder.rglob(TEMPORARY)):
                remove(leftover)
            yield
    finally:
        for path in created:
            with suppress(OSError):  # the folder is not empty
                path.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    path = folder / LOCK
    # Without a buffer, which closing would write once more on a full disk, in an unnamed error.
    with open(path, "a+b", buffering=0, opener=own_file) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous holder may have removed the file after this process opened it; then
            # another process may hold the lock of a new file.
            is_ours = path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))
        except BlockingIOError:
            is_ours = False
        except OSError as error:
            log.warning("%s: can't be locked here: %s", folder, error.strerror)
            is_ours = True
        if not is_ours:
            file.seek(0)
            holder = file.read(READ).decode(errors="replace").strip() or "?"
            raise BlockingIOError(
                f"{folder}: another run is at work here (process {holder}); wait for its end, or "
                "name another folder"
            )
        with path_in_errors(path):
            file.seek(0)
            if file.read(READ).strip(b"0123456789\n"):  # a hard link to another file, for example
                raise FileExistsError(f"{path}: expected a lock, found another file")
            file.truncate(0)
            file.write(b"%d\n" % os.getpid())
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def ensure_writable(folder: str | os.PathLike[str]) -> None:
    """Raise OSError, before hours of work, if `folder` exists or can't be written.

    Raises:
        FileExistsError: `folder` exists already and is not empty.
        NotADirectoryError, PermissionError: nothing can be created there.
    """
    refuse_existing(folder)
    ensure_creatable(folder, folder)


def ensure_creatable(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Raise OSError if nothing can be created in a folder, or in the one where it will be.

    Args:
        folder (path): the folder.
        path (path): what will be created, for messages.

    Raises:
        FileNotFoundError: the path is relative, and the current folder was deleted.
        NotADirectoryError, PermissionError: as it says.
    """
    try:
        parent = Path(folder).absolute()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: the current folder was deleted") from None
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise NotADirectoryError(f"{path}: {parent} is not a folder")
    probe = unused_name(parent / "minibert")
    try:
        probe.mkdir()
        hold(probe)  # which removes those of killed processes
        probe.rmdir()
    except OSError as error:
        reason = error.strerror or error
        raise PermissionError(f"{path}: can't write in {parent}: {reason}") from None
    finally:
        release(probe)
