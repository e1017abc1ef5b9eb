"""The arrays of a corpus's tokens, which are written as a stream."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import IO

import numpy as np

from minibert.io.text import READ_BYTES

SIDES = ("train", "held_out")
KINDS = ("ids", "ends", "counts")
NAMES = tuple(f"{side}.{kind}" for side in SIDES for kind in KINDS)  # of the arrays


class TokenWriter:
    """Writer of the ids of both sides, the ends of their documents and the counts of tokens.

    The side of a document depends on all of its text. The parts of a document that is too long for
    the memory are therefore kept in a temporary file, until its last part tells the side.

    Args:
        put: stores the next part of an array: `put(name, part)`.
        parts: an empty file, opened for reading and writing.
        dtype: of the ids.
        vocab_size: V.
    """

    def __init__(
        self,
        put: Callable[[str, np.ndarray], object],
        parts: IO[bytes],
        dtype: np.dtype,
        vocab_size: int,
    ):
        self._put, self._parts, self._dtype = put, parts, dtype
        self._sizes = dict.fromkeys(SIDES, 0)
        self._counts = {side: np.zeros(vocab_size, np.int64) for side in SIDES}

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

    def finish(self) -> None:
        """Store the counts of the tokens, after all documents."""
        for side in SIDES:
            self._put(f"{side}.counts", self._counts[side])

    def _add_ids(self, side: str, ids: np.ndarray) -> None:
        self._sizes[side] += len(ids)
        self._counts[side] += np.bincount(ids, minlength=len(self._counts[side]))
        self._put(f"{side}.ids", ids)
