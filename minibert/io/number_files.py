"""Files of numbers, or of rows of them, that are read where they are sliced.

A memory map would be simpler, but the system ends a process (SIGBUS) that reads a mapped file which
another one has cut. Here, that is an error that names the file.
"""

import math
import os
import threading
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from minibert.io.atomic import path_in_errors
from minibert.typing import Array

IN_MEMORY_BYTES = 64 << 20  # the largest file that is read at once
BLOCK = 1 << 18  # numbers that are read at a time from a larger one

_position = threading.Lock()  # held while the position in a file is changed and used


class _Opened:
    """The descriptor of an open file, which is closed when nothing refers to it any more."""

    def __init__(self, path: Path):
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self.close = weakref.finalize(self, os.close, self.number)


class NumberFile:
    """N numbers, or rows of them, in a file, or a slice of them, which `numpy.asarray` reads.

    The file is opened once, so it may be removed meanwhile, and closed with the last slice.

    Args:
        path: the file.
        dtype: of the numbers; of rows, with their shape: `("<f4", (384,))`.
        length: N.
    """

    def __init__(self, path: Path, dtype: DTypeLike, length: int):
        self.path, self.dtype = path, np.dtype(dtype)
        self.start, self.length = 0, length  # bytes before the first number, and N
        self.opened = _Opened(path)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the array: (N,), or (N, width)."""
        return self.length, *self.dtype.shape

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
        first = self.start + start * self.dtype.itemsize
        return self._changed(start=first, length=max(stop - start, 0))

    def view(self, dtype: DTypeLike) -> Self:
        """Return the same bytes of the file as other numbers, or as rows of them."""
        size, kind = self.length * self.dtype.itemsize, np.dtype(dtype)
        return self._changed(dtype=kind, length=size // kind.itemsize)

    def _changed(self, **attributes: Any) -> Self:
        """Return a copy with other attributes and the same open file."""
        copied = object.__new__(type(self))
        vars(copied).update(vars(self), **attributes)
        return copied

    def close(self) -> None:
        """Close the file before its last slice ends; none can be read then."""
        self.opened.close()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Read the numbers (N,), or rows (N, width).

        Raises:
            OSError: the file can't be read, or it was cut; the message names it.
        """
        first, size = self.start, self.length * self.dtype.itemsize
        blocks = []
        with path_in_errors(self.path):
            while size:  # the system may read less than the whole
                block = _read_at(self.opened.number, size, first)
                if not block:
                    raise OSError(f"{self.path}: cut while it was read; start again")
                blocks.append(block)
                first, size = first + len(block), size - len(block)
        numbers = np.frombuffer(b"".join(blocks), self.dtype)
        return numbers.astype(dtype or self.dtype.base, copy=bool(copy))


Numbers: TypeAlias = Array | NumberFile


def blocks(numbers: Numbers) -> Iterator[Array]:
    """Yield numbers, or rows of them, in blocks of at most `BLOCK` numbers, read one at a time.

    >>> [len(block) for block in blocks(np.zeros(BLOCK + 1))]
    [262144, 1]
    """
    size = max(BLOCK // math.prod(numbers.shape[1:]), 1)
    for start in range(0, len(numbers), size):
        yield np.asarray(numbers[start : start + size])


def read_numbers(path: Path, dtype: str | np.dtype[Any], length: int, checksum: int) -> Numbers:
    """Return the numbers (N,) of a file, read at once if it is small, and check them.

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
