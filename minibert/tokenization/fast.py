"""The fast way from text to tokens: natural text repeats itself, so look it up.

What a word becomes, and what a chunk of text becomes, is worked out once, by the plain way, and
remembered; a text's tokens are those of its chunks, kept as bytes, joined, and read back as an
array. Twice over, because chunks that differ only in punctuation and capitals share their words:
10 MB of English have 1.5 million chunks, 99,000 different ones, and 23,000 different words.
"""

from array import array
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from minibert.tokenization.normalizer import Normalizer, Word

REMEMBERED = 1 << 17  # results: 16 to 20 MB of English chunks or ids, 65 MB of cuts
REMEMBERED_LENGTH = 64  # longer texts hardly ever come twice
COLUMNS = 4  # of a token: its id, where it starts and ends, and 1 if it begins a word
TOKEN = 4 * COLUMNS  # bytes
INT32 = np.dtype(np.int32)

Cut = Sequence[tuple[int, int]]  # a word's pieces: ids, and where in the word each ends
Result = TypeVar("Result")


class Remembered(dict[str, Result]):
    """A function's results, so that each is worked out once; when full, all is forgotten.

    >>> remembered = Remembered(str.encode)
    >>> remembered["new"], list(remembered)
    (b'new', ['new'])
    """

    def __init__(self, function: Callable[[str], Result]):
        self.function = function

    def __missing__(self, text: str) -> Result:
        """Work out what is not there yet."""
        result = self.function(text)
        if len(text) <= REMEMBERED_LENGTH:
            if len(self) >= REMEMBERED:
                self.clear()
            self[text] = result
        return result


class FastPath:
    """Makes ids and tokens of text that has no added tokens in it.

    Args:
        normalizer: cuts the text into words.
        cut: cuts a word into pieces.
        match: cuts words into tokens, rows of `COLUMNS`.
    """

    def __init__(
        self,
        normalizer: Normalizer,
        cut: Callable[[str], Cut],
        match: Callable[[list[Word]], Sequence[Sequence[int]]],
    ):
        self._normalizer = normalizer
        self._match = match
        self._cut = cut
        self._cuts = Remembered(cut)
        self._word_ids = Remembered(self._ids_of_word)
        self._ids = Remembered(self._ids_of_chunk)
        self._rows = Remembered(self._rows_of_chunk)

    def ids(self, text: str) -> np.ndarray:
        """Return the ids of a text's tokens: (T,) in int32."""
        found = map(self._ids.__getitem__, self._normalizer.chunks(text))
        return np.frombuffer(bytearray().join(found), INT32)

    def rows(self, text: str) -> np.ndarray:
        """Return a text's tokens, a row each: (T, 4) in int32."""
        chunks, starts = self._normalizer.located_chunks(text)
        found = list(map(self._rows.__getitem__, chunks))
        rows = np.frombuffer(bytearray().join(found), INT32).reshape(-1, COLUMNS)
        counts = np.array([len(row) // TOKEN for row in found], np.intp)
        rows[:, 1:3] += np.array(starts, INT32).repeat(counts)[:, None]
        return rows

    def _ids_of_chunk(self, chunk):
        return b"".join(map(self._word_ids.__getitem__, self._normalizer.words(chunk)))

    def _ids_of_word(self, word):
        return array("i", [i for i, _ in self._cut(word)]).tobytes()

    def _rows_of_chunk(self, chunk):
        numbers: list[int] = []
        if chunk.isascii() and chunk.isprintable():  # its words are all of it, letter for letter
            place = 0
            for word in self._normalizer.words(chunk):
                start = place
                for i, stop in self._cuts[word]:
                    numbers += i, start, place + stop, start == place
                    start = place + stop
                place += len(word)
        else:
            for row in self._match(self._normalizer.located_words(chunk)):
                numbers += row
        return array("i", numbers).tobytes()
