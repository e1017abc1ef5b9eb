"""Read text files strictly, and print untrusted text safely."""

import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

from minibert.io.atomic import path_in_errors

Watch = Callable[[memoryview], object]

READ_BYTES = 1 << 18  # bytes per read
LONGEST_LINE = 1 << 22  # characters; a longer line is refused where it is one text
MAX_FILE_BYTES = 1 << 29  # of a file that is read as a whole
BYTE_ORDER_MARK = "\ufeff"
STANDARD_INPUT = "standard input"  # in messages
# What acts on a terminal or ends a line: control characters, separators of lines, characters that
# change the direction of the text behind them; and lone surrogates, which cannot be written.
CONTROLS = "\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff"
CONTROL = re.compile(f"[{CONTROLS}]")


def require_file(path: Path, expected: str = "a text file") -> None:
    """Raise OSError unless `path` is a regular file, because a pipe or a device may have no end."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected {expected}, found a folder")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise OSError(f"{path}: expected {expected}, found a pipe or a device")


def read_whole(path: Path, most: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a file that is read as a whole (bytes).

    Args:
        path: the file.
        most (int): the largest size in bytes; a larger file is refused before it is read.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is larger; the message names it.
    """
    if path.exists():
        require_file(path, "a file")
        if path.stat().st_size > most:
            raise ValueError(f"{path}: expected at most {most:,} bytes, got more")
    with path_in_errors(path):
        return path.read_bytes()


class Line(NamedTuple):
    """A line of a text file, without its line end.

    Attributes:
        text: its text.
        number: 1 for the first line.
        offset, length: its place in the (decompressed) file, in bytes.
    """

    text: str
    number: int
    offset: int
    length: int


def read_lines(path: str | os.PathLike[str], watch: Watch | None = None) -> Iterator[str]:
    r"""Yield the lines of a UTF-8 text file without their line ends.

    A byte order mark is skipped, and only ``\n``, ``\r\n`` and ``\r`` end a line. A file whose name
    ends in .gz is decompressed.

    Args:
        path (path): the file.
        watch (function): is called with each block of bytes in order, before decompression.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is empty, binary or not UTF-8, or a line has more than `LONGEST_LINE`
            characters; the message names the file and the line.
    """
    number = 0
    with _opened(Path(path), watch, newline=None) as file:
        for number, line in enumerate(_lines(file, Path(path)), start=1):
            _require_text(line, number, Path(path))
            yield line.removesuffix("\n")
    if not number:  # a byte order mark alone, or a compressed file without content
        raise ValueError(f"{path}: the file is empty")


def read_parts(
    path: str | os.PathLike[str], watch: Watch | None = None, *, longest: int
) -> Iterator[tuple[str, bool]]:
    """Yield the lines of `read_lines` in parts, so that no line is too long for the memory.

    Most lines are one part. A longer one is cut before a single space, which remains at the start
    of the next part: there, a cut changes no token of any tokenizer. A part without such a space is
    cut at its end.

    Args:
        path, watch: as `read_lines` takes them.
        longest (int): the largest number of characters in a part.

    Yields:
        a part, and whether it ends its line; that of the last line, which may lack its end, need
        not.

    Raises:
        OSError, ValueError: as `read_lines`, but for long lines.
    """
    rest, number, is_empty = "", 1, True
    with _opened(Path(path), watch, newline=None) as file:
        while True:
            with _read_errors(Path(path)):
                found = file.readline(longest - len(rest))
            text = rest + found
            if not text:
                break
            is_empty = False
            _require_text(found, number, Path(path))
            is_end = text.endswith("\n") or not found
            if is_end or len(text) < longest:  # the last line may lack its end
                yield text.removesuffix("\n"), True
                rest, number = "", number + 1
            else:
                cut = _place_to_cut(text)
                yield text[:cut], False
                rest = text[cut:]
    if is_empty:
        raise ValueError(f"{path}: the file is empty")


def _place_to_cut(text: str) -> int:
    """Return the position of the last single space between other characters; else the length."""
    place = text.rfind(" ", 1, -1)
    while place > 0 and (text[place - 1].isspace() or text[place + 1].isspace()):
        place = text.rfind(" ", 1, place)
    return place if place > 0 else len(text)


def locate_lines(path: str | os.PathLike[str]) -> Iterator[Line]:
    """Yield the lines of `read_lines` with their places in the file (`Line`).

    Raises:
        OSError, ValueError: as `read_lines`.
    """
    offset, is_empty = 0, True
    with _opened(Path(path), None, newline="") as file:  # lines keep their ends
        for number, line in enumerate(_lines(file, Path(path)), start=1):
            _require_text(line, number, Path(path))
            if number == 1 and line.startswith(BYTE_ORDER_MARK):
                line = line.removeprefix(BYTE_ORDER_MARK)
                offset = len(BYTE_ORDER_MARK.encode())
                if not line:  # the file contains nothing else
                    break
            text = line.rstrip("\r\n")
            length = len(text.encode())
            yield Line(text, number, offset, length)
            offset += length + len(line) - len(text)
            is_empty = False
    if is_empty:
        raise ValueError(f"{path}: the file is empty")


@contextmanager
def _opened(path: Path, watch: Watch | None, newline: str | None) -> Iterator[TextIO]:
    """Open a text file; bytes that are not UTF-8 are decoded as lone surrogates."""
    require_file(path)
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    encoding = "utf-8-sig" if newline is None else "utf-8"
    with (
        _open_watched(path, watch) as raw,
        decompressed(raw, path) as content,
        io.TextIOWrapper(content, encoding, errors="surrogateescape", newline=newline) as file,
    ):
        yield file


def read_stdin() -> Iterator[str]:
    """Yield the lines of standard input by the rules of `read_lines`, and not those of the locale.

    Raises:
        ValueError: it is closed or empty, binary or not UTF-8; the message contains the line.
    """
    content = getattr(sys.stdin, "buffer", None)
    lines: Iterable[str] = sys.stdin or ()  # closed, or replaced by lines of text
    if content is not None:
        lines = io.TextIOWrapper(content, "utf-8", errors="surrogateescape", newline=None)
    number = 0
    try:
        for number, line in enumerate(_lines(lines, Path(STANDARD_INPUT)), start=1):
            line = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            _require_text(line, number, STANDARD_INPUT)
            yield line.removesuffix("\n")
    finally:
        if isinstance(lines, io.TextIOWrapper):
            with suppress(ValueError):  # it was closed meanwhile
                lines.detach()  # otherwise it would be closed with its wrapper
    if not number:
        raise ValueError(f"{STANDARD_INPUT}: expected lines of text, got none")


def _require_text(line: str, number: int, path: Path | str) -> None:
    if "\0" in line:
        raise ValueError(f"{path}, line {number}: found a NUL byte, expected text")
    try:
        line.encode()
    except UnicodeEncodeError as error:
        byte = ord(line[error.start]) - 0xDC00
        raise ValueError(
            f"{path}, line {number}: byte 0x{byte:02x} is not UTF-8; convert the file to UTF-8 "
            "first"
        ) from None


def read_pieces(path: str | os.PathLike[str]) -> list[str]:
    """Return the lines of a `vocab.txt`, the pieces in the order of their ids.

    As in transformers, white space at the end of a line is dropped, and several blank lines at the
    end count as one.

    Raises:
        OSError, ValueError: as `read_lines`.
    """
    lines = [line.rstrip() for line in read_lines(path)]
    while lines[-2:] == ["", ""]:
        lines.pop()
    return lines


class _Watched(io.RawIOBase):
    """A file that also passes each block of bytes to a function."""

    def __init__(self, file: io.RawIOBase, watch: Watch) -> None:
        self.file, self.watch = file, watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self.file.readinto(buffer)
        if count:
            self.watch(memoryview(buffer)[:count])
        return count

    def close(self) -> None:
        self.file.close()
        super().close()


def _open_watched(path: Path, watch: Watch | None) -> io.BufferedReader:
    if watch is None:
        return path.open("rb")
    return io.BufferedReader(_Watched(path.open("rb", buffering=0), watch), READ_BYTES)


def decompressed(raw: io.BufferedReader, path: Path) -> BinaryIO | gzip.GzipFile:
    """Return a file that yields the content of a file whose name may end in .gz."""
    return gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw


def _lines(file: Iterable[str], path: Path) -> Iterator[str]:
    with _read_errors(path):
        yield from bounded_lines(file, path)


def bounded_lines(file: Iterable[str], name: object) -> Iterator[str]:
    """Yield the lines of an open file with their ends; refuse one that is too long for the memory.

    Args:
        file: the file, or lines that are in memory.
        name: its name, for the message.

    Raises:
        ValueError: a line has more than `LONGEST_LINE` characters.
    """
    longest = LONGEST_LINE
    read = getattr(file, "readline", None)
    # Two more for a line end of two characters, of which a part would be a line of its own.
    lines = iter(partial(read, longest + 2), "") if read else file
    for number, line in enumerate(lines, start=1):
        if len(line) > longest and len(line.rstrip("\r\n")) > longest:
            raise ValueError(
                f"{name}, line {number}: expected at most {longest:,} characters, got more"
            )
        yield line


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    """Name the file in the errors of reading it."""
    try:
        with path_in_errors(path):
            yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: invalid gzip file: {error}") from None


def sanitize(text: object) -> str:
    r"""Return untrusted text on one line, without control characters (str).

    >>> print(sanitize("two\nlines"), sanitize("\x1b[2J"), sanitize("plain"))
    two\nlines \x1b[2J plain
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))


def printable(text: object) -> str:
    r"""Return text on one line whose control characters are escaped, for results (str).

    Unlike `sanitize`, which is for messages, it keeps the blanks and joiners of all scripts.

    >>> print(printable("two\nlines"), printable("\x1b[2J"), printable("a\u3000b"))
    two\nlines \x1b[2J a　b
    """
    return CONTROL.sub(_escape, str(text))


def _escape(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]


class PrintableStream:
    """A stream of text that escapes control characters, except tabs and line ends.

    A terminal executes what it is sent, so no label, piece or line of a file is sent as it is. The
    command line wraps standard output in one.

    Args:
        stream (stream): receives the text.
    """

    SENT = re.compile(f"(?![\t\n])[{CONTROLS}]")

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text, with escapes; return its length (int)."""
        self.stream.write(self.SENT.sub(_escape, text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, with escapes."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        """Return another attribute of the stream."""
        return getattr(self.stream, name)
