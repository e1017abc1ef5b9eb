"""Files of numbers with a checksum: small ones are read at once, larger ones where they are sliced.

A memory map would be simpler, but the system ends a process (SIGBUS) that reads a mapped file which
another one has cut. Here, that is an error that names the file.
"""

import os
import threading
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from minibert.io.atomic import path_in_errors
from minibert.typing import Array

IN_MEMORY_BYTES = 64 << 20  # the largest file that is read at once
BLOCK = 1 << 18  # numbers that are read at a time from a larger one

_position = threading.Lock()  # held while the position in a file is changed and used


class _Opened:
    """The descriptor of an open file, which is closed when nothing refers to it any more."""

    def __init__(self, path: Path):
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self.number)


class NumberFile:
    """N numbers in a file, or a slice of them, which `numpy.asarray` reads.

    The file is opened once, so it may be removed meanwhile, and closed with the last slice.

    Args:
        path: the file.
        dtype: of the numbers.
        length: N.
    """

    def __init__(self, path: Path, dtype: str | np.dtype[Any], length: int):
        self.path, self.dtype = path, np.dtype(dtype)
        self.start, self.length = 0, length
        self.opened = _Opened(path)

    def __len__(self) -> int:
        """Return N."""
        return self.length

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the numbers, because a descriptor belongs to one object of a process."""
        return np.array, (np.asarray(self),)

    def __getitem__(self, part: slice) -> Self:
        """Return a slice of step 1, which is not read yet.

        Raises:
            ValueError: the step is another one.
        """
        start, stop, step = part.indices(self.length)
        if step != 1:
            raise ValueError(f"step: expected 1, got {step}")
        sliced = object.__new__(type(self))
        vars(sliced).update(vars(self), start=self.start + start, length=max(stop - start, 0))
        return sliced

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Read the numbers (N,).

        Raises:
            OSError: the file can't be read, or it was cut; the message names it.
        """
        first, size = self.start * self.dtype.itemsize, self.length * self.dtype.itemsize
        blocks = []
        with path_in_errors(self.path):
            while size:  # the system may read less than the whole
                block = _read_at(self.opened.number, size, first)
                if not block:
                    raise OSError(f"{self.path}: cut while it was read; start again")
                blocks.append(block)
                first, size = first + len(block), size - len(block)
        numbers = np.frombuffer(b"".join(blocks), self.dtype)
        return numbers.astype(dtype or self.dtype, copy=bool(copy))


Numbers: TypeAlias = Array | NumberFile


def blocks(numbers: Numbers) -> Iterator[Array]:
    """Yield N numbers in blocks of at most `BLOCK`, read one at a time.

    >>> [len(block) for block in blocks(np.zeros(BLOCK + 1))]
    [262144, 1]
    """
    for start in range(0, len(numbers), BLOCK):
        yield np.asarray(numbers[start : start + BLOCK])


def read_numbers(path: Path, dtype: str | np.dtype[Any], length: int, checksum: int) -> Numbers:
    """Return the numbers (N,) of a file, read if it is small, and check them.

    Args:
        path: the file.
        dtype: of the numbers.
        length: N.
        checksum: their CRC-32.

    Raises:
        OSError: the file can't be read.
        ValueError: its length or its checksum is another one; the message names it.
    """
    file = NumberFile(path, dtype, length)
    size = os.fstat(file.opened.number).st_size
    if size == length * file.dtype.itemsize:
        # The numbers that are checked are the ones that are used, not those of a second read.
        numbers = np.asarray(file) if size <= IN_MEMORY_BYTES else file
        found = 0
        for block in blocks(numbers):
            found = zlib.crc32(block.data, found)
        if found == checksum:
            return numbers
    raise ValueError(f"{path}: expected {length} numbers with the checksum {checksum}")


def _read_at(opened: int, size: int, start: int) -> bytes:
    """Read at most `size` bytes at a place of an open file, by any number of threads."""
    if hasattr(os, "pread"):
        return os.pread(opened, size, start)
    with _position:  # Windows
        os.lseek(opened, start, os.SEEK_SET)
        return os.read(opened, size)
