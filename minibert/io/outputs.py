"""Files that a user names for output: links are followed, pipes and devices are written to."""

import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from minibert.io.atomic import atomic_write, path_in_errors, settled
from minibert.io.locks import ensure_creatable

MAX_LINKS = 40  # that are followed, as in Linux


@contextmanager
def output_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to, whose content is at `path` in the end.

    A regular file is replaced atomically (`atomic_write`); of a link, the file to which it leads.
    The content is copied to a pipe or a device, such as `/dev/stdout`; opening a pipe waits for its
    reader.

    Raises:
        OSError: as `ensure_output`, or a write failed; the error names the file.
    """
    ensure_output(path)
    if not _is_stream(path):
        with atomic_write(_destination(path)) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "output"
        temporary.touch()
        yield temporary
        try:
            with (
                path_in_errors(Path(path)),
                temporary.open("rb") as content,
                _opened_stream(path) as stream,
            ):
                shutil.copyfileobj(content, stream)
        except BrokenPipeError:
            raise OSError(f"{path}: its reader closed the pipe before the end") from None


def ensure_output(path: str | os.PathLike[str]) -> None:
    """Raise OSError, before the work, if a file can't be written.

    Raises:
        IsADirectoryError: it is a folder.
        NotADirectoryError, PermissionError: nothing can be created in its folder.
        OSError: it is a link in a circle.
    """
    if _is_stream(path):
        return
    destination = _destination(path)
    if destination.is_symlink():
        raise OSError(f"{path}: expected a file, found links in a circle")
    if destination.is_dir():
        raise IsADirectoryError(f"{path}: expected a file, found a folder")
    ensure_creatable(destination.parent, path)


def _destination(path: str | os.PathLike[str]) -> Path:
    """Return the path behind all links, which need not exist."""
    return Path(os.path.realpath(path)) if Path(path).is_symlink() else settled(path)


def _is_stream(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a pipe, a device or an open file of this process."""
    try:
        kind = os.stat(path).st_mode  # noqa: PTH116  a path may be a string
    except OSError:
        return False
    is_plain = stat.S_ISREG(kind) or stat.S_ISDIR(kind)
    return not is_plain or (stat.S_ISREG(kind) and _descriptor(path) is not None)


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """Return the number of the open file that a path such as `/dev/stdout` names; else None."""
    place = os.path.abspath(path)  # noqa: PTH100
    for _ in range(MAX_LINKS):
        if match := re.fullmatch(rf"/(?:dev|proc/(?:self|{os.getpid()}))/fd/([0-9]+)", place):
            return int(match[1])
        if not Path(place).is_symlink():
            return None
        place = os.path.normpath(Path(place).parent / os.readlink(place))  # noqa: PTH115
    return None


def _opened_stream(path: str | os.PathLike[str]) -> IO[bytes]:
    number = _descriptor(path)
    if number is None:
        return Path(path).open("wb")
    if sys.stdout is not None:  # not closed
        sys.stdout.flush()  # what was printed before comes before
    return os.fdopen(os.dup(number), "wb")  # an opened path would begin at the start of the file
