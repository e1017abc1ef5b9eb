"""Look up the parts of many texts at once: a hash table in NumPy arrays.

A part is an ASCII punctuation mark, or the bytes between two marks or white space: nearly always a
word. Normalization never looks across their borders, so the words of a text are those of its
parts. `FastPath.ids` makes a string of each chunk of a text and looks it up in a dict. Here the
first 15 bytes of a part and its length are two integers of 64 bits, which NumPy makes, hashes,
compares and looks up for all parts by a few calls. That takes a third of the time, and half of it
with an empty cache, because there are fewer different parts than chunks. The calls cost too much
for a single text.
"""

from collections.abc import Callable
from string import punctuation
from threading import Lock
from typing import Any

import numpy as np

SLOTS = 1 << 18  # 6 MB; the parts of 10 MB of English fill a tenth of them
PROBES = 4  # slots that a part may occupy
STORED_TOKENS = 1 << 20  # the table is emptied when it stores more; 4 bytes for each field
KEY_BYTES = 15  # longer parts are not stored in the table
LONG = 255  # replaces the length of a longer part
UINT64 = np.uint64
MULTIPLIERS = UINT64(0x9E3779B97F4A7C15), UINT64(0xD6E8FEB86659FD93)  # odd, with random bits

# Bytes of a part of n bytes that are in its first 8 bytes, and in the next 8.
_LOW = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(KEY_BYTES + 1)], UINT64)
_HIGH = np.array([(1 << 8 * max(n - 8, 0)) - 1 for n in range(KEY_BYTES + 1)], UINT64)
# Other white space and punctuation is not ASCII, or not so for every normalizer; the function that
# computes a part splits at it.
_INSIDE, _SPACE, _MARK = range(3)
_CLASSES = bytes(
    _SPACE if chr(byte) in "\t\n\r " else _MARK if chr(byte) in punctuation else _INSIDE
    for byte in range(256)
)


def part_bounds(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts (M,) and the ends (M,) of the parts of UTF-8 text.

    >>> [bounds.tolist() for bounds in part_bounds(b" it's  so")]
    [[1, 3, 4, 7], [3, 4, 5, 9]]
    """
    classes = np.frombuffer(b"\1" + data.translate(_CLASSES) + b"\1", np.uint8)
    is_border = (classes[1:] | classes[:-1]) != _INSIDE  # before each byte, and at the end
    is_part = classes[1:-1] != _SPACE
    starts, lasts = is_part & is_border[:-1], is_part & is_border[1:]
    return np.flatnonzero(starts), np.flatnonzero(lasts) + 1


class PartTable:
    """Cache of the int32 fields of parts, for many parts at once.

    The table is bounded: of more parts than fit, some are computed again. Threads may share it.

    >>> def code_points(parts):
    ...     return [np.array([ord(char) for char in part], "i4").tobytes() for part in parts]
    >>> table = PartTable(code_points, 1)
    >>> fields, counts = table.lookup(b"to, or", *part_bounds(b"to, or"))
    >>> fields.ravel().tolist(), counts.tolist()
    ([116, 111, 44, 111, 114], [2, 1, 2])

    Args:
        function: computes the tokens of parts, `columns` int32 fields each, as bytes.
        columns (int): number of fields of a token.
    """

    def __init__(self, function: Callable[[list[str]], list[bytes]], columns: int):
        self.function, self.columns = function, columns
        # A part's key, the position of its tokens in the store, and their number, by slot.
        self._low, self._high = np.zeros((2, SLOTS), UINT64)
        self._firsts, self._counts = np.zeros((2, SLOTS), np.int32)
        self._store = np.zeros((0, columns), np.int32)
        self._used = 0  # tokens in the store
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the table without its contents and its lock."""
        return PartTable, (self.function, self.columns)

    def lookup(
        self, data: bytes, starts: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the fields of the tokens of M parts, and the number of tokens of each.

        Args:
            data (bytes): UTF-8.
            starts, ends (M,), int: the part i is `data[starts[i]:ends[i]]`.

        Returns:
            the fields (N, columns), int32, and the numbers of tokens (M,), int32.
        """
        low, high = _keys(data, starts, ends - starts)
        with self._lock:
            if self._used > STORED_TOKENS:
                self._high[:] = 0  # the key of no part
                self._used = 0
            slots, missing = self._find(low, high)
            firsts, counts = self._firsts[slots], self._counts[slots]
            if len(missing):
                # Of several equal parts, one is computed: the last one with the slot.
                last = np.empty(SLOTS, np.intp)
                last[slots[missing]] = missing
                same = last[slots[missing]]
                is_long = high[missing] >> UINT64(56) == LONG
                is_other = (low[same] != low[missing]) | (high[same] != high[missing]) | is_long
                new = missing[is_other | (same == missing)]
                firsts[new], counts[new] = self._compute(data, starts[new], ends[new])
                same = np.where(is_other, missing, same)
                firsts[missing], counts[missing] = firsts[same], counts[same]
                kept = missing[~is_long]
                # Of several parts with one slot, all four assignments keep the last.
                self._low[slots[kept]], self._high[slots[kept]] = low[kept], high[kept]
                self._firsts[slots[kept]] = firsts[kept]
                self._counts[slots[kept]] = counts[kept]
            stops = counts.cumsum(dtype=np.intp)
            positions = np.arange(stops[-1] if len(stops) else 0)
            positions += (firsts - (stops - counts)).repeat(counts)
            return self._store[positions], counts

    def _find(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the slot of each key (M,), and the indices of keys that are not stored in it."""
        hashes = (low ^ high * MULTIPLIERS[0]) * MULTIPLIERS[1]
        slots = (hashes >> UINT64(64 - SLOTS.bit_length() + 1)).astype(np.intp)
        missing = np.flatnonzero((self._low[slots] != low) | (self._high[slots] != high))
        for _ in range(PROBES - 1):
            others = missing[self._high[slots[missing]] != 0]  # their slot holds another part
            if not len(others):
                break
            slots[others] = (slots[others] + 1) % SLOTS
            tried = slots[missing]
            missing = missing[
                (self._low[tried] != low[missing]) | (self._high[tried] != high[missing])
            ]
        return slots, missing

    def _compute(
        self, data: bytes, starts: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute parts and store their tokens; return position and number of the tokens."""
        bounds = zip(starts.tolist(), ends.tolist(), strict=True)
        parts = [data[start:end].decode("utf-8", "surrogatepass") for start, end in bounds]
        found = self.function(parts)
        new = np.frombuffer(b"".join(found), np.int32).reshape(-1, self.columns)
        counts = np.array([len(fields) for fields in found]) // (4 * self.columns)
        firsts = self._used + counts.cumsum() - counts
        end = self._used + len(new)
        if end > len(self._store):
            self._store = np.resize(self._store, (2 * end, self.columns))
        self._store[self._used : end] = new
        self._used = end
        return firsts, counts


def _keys(data: bytes, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two integers (M,) for each part: 8 bytes; and 7 bytes with the length."""
    # The 8 bytes from each position on, as one integer.
    words: np.ndarray = np.ndarray(
        (len(data) + 8,), np.dtype("<u8"), data + bytes(16), strides=(1,)
    )
    held = np.minimum(lengths, KEY_BYTES)
    low = words[starts] & _LOW[held]
    high = words[starts + 8] & _HIGH[held]
    marks = np.where(lengths > KEY_BYTES, LONG, lengths).astype(UINT64)
    return low, high | marks << UINT64(56)
