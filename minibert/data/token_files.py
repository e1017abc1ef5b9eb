"""Write the tokens of a corpus to the files of a cache entry, as a stream."""

import tempfile
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from minibert.io.text import READ_BYTES

SIDES = ("train", "held_out")
KINDS = ("ids", "ends", "counts")


class TokenWriter:
    """Writer of the ids of both sides, the ends of their documents and the counts of tokens.

    The side of a document depends on all of its text. The parts of a document that is too long for
    the memory are therefore stored in a temporary file, until its last part tells the side.

    Args:
        home: an empty folder.
        dtype: of the ids.
        vocab_size: V.

    Attributes:
        outlines: the length and the checksum of each file, by name; complete after `close`.
    """

    def __init__(self, home: Path, dtype: np.dtype, vocab_size: int):
        names = [f"{side}.{kind}" for side in SIDES for kind in KINDS]
        self.outlines = {name: [0, 0] for name in names}
        self._dtype = dtype
        self._sizes = dict.fromkeys(SIDES, 0)
        self._counts = {side: np.zeros(vocab_size, np.int64) for side in SIDES}
        self._files = {name: (home / name).open("xb") for name in names}
        self._parts = tempfile.TemporaryFile(dir=home)  # noqa: SIM115

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the files; after an error, their content is not complete."""
        if error[0] is None:
            for side in SIDES:
                self._put(f"{side}.counts", self._counts[side])
        for file in (*self._files.values(), self._parts):
            file.close()

    def add(self, sides: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        """Append whole documents: their ids (N,) and lengths (documents,), by side."""
        for side, (ids, lengths) in sides.items():
            ends = self._sizes[side] + np.cumsum(lengths, dtype=np.int64)
            self._add_ids(side, ids)
            self._put(f"{side}.ends", ends)

    def add_part(self, ids: np.ndarray, side: str | None) -> None:
        """Append a part of a long document: its ids (N,); and its side, if it is the last part."""
        self._parts.write(ids.tobytes())
        if side is None:
            return
        self._parts.seek(0)
        for block in iter(partial(self._parts.read, READ_BYTES), b""):
            self._add_ids(side, np.frombuffer(block, self._dtype))
        self._put(f"{side}.ends", np.array([self._sizes[side]], np.int64))
        self._parts.seek(0)
        self._parts.truncate()

    def _add_ids(self, side: str, ids: np.ndarray) -> None:
        self._sizes[side] += len(ids)
        self._counts[side] += np.bincount(ids, minlength=len(self._counts[side]))
        self._put(f"{side}.ids", ids)

    def _put(self, name: str, array: np.ndarray) -> None:
        data = array.tobytes()
        self._files[name].write(data)
        length, checksum = self.outlines[name]
        self.outlines[name] = [length + len(array), zlib.crc32(data, checksum)]
