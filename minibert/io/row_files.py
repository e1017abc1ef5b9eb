"""Files of rows that grow at their end, and that NumPy opens.

A file has the header of NumPy's format .npy, version 1.0, of 128 bytes, and then its rows, so
`numpy.load(path, mmap_mode="r")` opens it. The number of rows in the header is only for NumPy: a
writer knows how many rows count, and what is behind them was left by a killed process.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minibert.io.atomic import flush, own_file, path_in_errors
from minibert.io.number_files import NumberFile, Numbers

HEADER_BYTES = 128
START = b"\x93NUMPY\x01\x00"


@dataclass(frozen=True)
class RowFile:
    """A file of rows of `width` numbers.

    Attributes:
        path: the file.
        dtype: little-endian, `<f4` for example.
        width: numbers per row.
    """

    path: Path
    dtype: str
    width: int

    @property
    def row_bytes(self) -> int:
        """The size of a row in bytes."""
        return self.width * np.dtype(self.dtype).itemsize

    def header(self, count: int) -> bytes:
        """Return the header of a file with `count` rows (128 bytes)."""
        fields = f"{{'descr': '{self.dtype}', 'fortran_order': False, "
        fields += f"'shape': ({count}, {self.width}), }}"
        size = HEADER_BYTES - len(START) - 2
        text = fields.ljust(size - 1).encode() + b"\n"
        return START + size.to_bytes(2, "little") + text

    def write(self, count: int, rows: np.ndarray) -> None:
        """Write rows (S, width) behind the first `count` ones, up to the disk.

        What was behind those is removed. The header still has the former number; see `seal`.

        Raises:
            OSError, ValueError: as `rows`, or the file can't be written.
        """
        if count:
            self.check(count)
        mode = "r+b" if count else "wb"
        with path_in_errors(self.path), open(self.path, mode, opener=own_file) as file:
            if not count:
                file.write(self.header(0))
            file.truncate(HEADER_BYTES + count * self.row_bytes)
            file.seek(0, os.SEEK_END)
            file.write(np.ascontiguousarray(rows, self.dtype).data)
            flush(file)

    def seal(self, count: int) -> None:
        """Write the number of rows to the header, for other programs."""
        with path_in_errors(self.path), open(self.path, "r+b", opener=own_file) as file:
            if file.read(HEADER_BYTES) != self.header(count):
                file.seek(0)
                file.write(self.header(count))

    def rows(self, count: int) -> Numbers:
        """Return the first rows of the file (count, width), which are read where they are sliced.

        Raises:
            OSError: the file is missing or can't be read.
            ValueError: it is shorter, or contains something else; the message names it.
        """
        if not count:  # the file may not exist yet
            return np.empty((0, self.width), self.dtype)
        self.check(count)
        size = HEADER_BYTES + count * self.row_bytes
        content = NumberFile(self.path, "u1", size)[HEADER_BYTES:]
        return content.view((self.dtype, (self.width,)))

    def map(self, count: int) -> np.ndarray:
        """Map the first rows of the file into memory (count, width), for rows in any order.

        Raises:
            OSError, ValueError: as `rows`. A file that is cut later ends the process.
        """
        if not count:
            return np.empty((0, self.width), self.dtype)
        self.check(count)
        return np.memmap(self.path, self.dtype, "r", HEADER_BYTES, (count, self.width))

    def check(self, count: int) -> None:
        """Raise OSError or ValueError unless the file contains at least `count` rows."""
        with path_in_errors(self.path), self.path.open("rb") as file:
            found, size = file.read(HEADER_BYTES), os.fstat(file.fileno()).st_size
        # Of the header, all but the number of rows.
        before, _, after = self.header(0).rstrip().partition(b"(0,")
        if not (found.startswith(before) and found.rstrip().endswith(after)):
            raise ValueError(f"{self.path}: expected rows of {self.width} {self.dtype} numbers")
        rows = (size - HEADER_BYTES) // self.row_bytes
        if rows < count:
            raise ValueError(
                f"{self.path}: expected {count:,} rows, found {rows:,}; the file was cut"
            )
