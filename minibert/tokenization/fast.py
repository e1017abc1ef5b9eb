"""Cached tokenization: look up words and chunks of text that occurred before.

Natural text repeats itself. The pieces of a word and the tokens of a chunk are computed once, by
the plain path, and cached as bytes; the tokens of a text are those of its chunks, joined and read
as an array. Words and chunks have separate caches, because chunks that differ only in
punctuation and capitals share their words: 10 MB of English contain 1.5 million chunks, 99,000
different chunks, and 23,000 different words.
"""

from array import array
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from minibert.tokenization.normalizer import Normalizer, Word

CACHE_ENTRIES = 1 << 17  # 16 to 20 MB for English chunks or ids, 65 MB for splits
CACHE_TEXT_LENGTH = 64  # characters; longer texts rarely occur twice
COLUMNS = 4  # fields of a token: id, start, end, and 1 if it begins a word
TOKEN_BYTES = 4 * COLUMNS
INT32 = np.dtype(np.int32)

Split = Sequence[tuple[int, int]]  # the pieces of a word: id, and end in the word
Result = TypeVar("Result")


class BoundedCache(dict[str, Result]):
    """Cache of a function's results by text; cleared when it is full.

    >>> cache = BoundedCache(str.encode)
    >>> cache["new"], list(cache)
    (b'new', ['new'])

    Args:
        function: computes the result of a text.
    """

    def __init__(self, function: Callable[[str], Result]):
        self.function = function

    def __missing__(self, text: str) -> Result:
        """Compute and store a missing result."""
        result = self.function(text)
        if len(text) <= CACHE_TEXT_LENGTH:
            if len(self) >= CACHE_ENTRIES:
                self.clear()
            self[text] = result
        return result


class FastPath:
    """Tokenizer of text without added tokens, with caches.

    Args:
        normalizer: splits text into words.
        split_word: splits a word into pieces.
        match: splits words into tokens of `COLUMNS` fields.
    """

    def __init__(
        self,
        normalizer: Normalizer,
        split_word: Callable[[str], Split],
        match: Callable[[list[Word]], Sequence[Sequence[int]]],
    ):
        self._normalizer = normalizer
        self._match = match
        self._split_word = split_word
        self._splits = BoundedCache(split_word)
        self._word_ids = BoundedCache(self._ids_of_word)
        self._ids = BoundedCache(self._ids_of_chunk)
        self._tokens = BoundedCache(self._tokens_of_chunk)

    def ids(self, text: str) -> np.ndarray:
        """Return the token ids (T,), int32, of a text."""
        found = map(self._ids.__getitem__, self._normalizer.chunks(text))
        return np.frombuffer(bytearray().join(found), INT32)

    def tokens(self, text: str) -> np.ndarray:
        """Return the tokens (T, 4), int32, of a text."""
        chunks, starts = self._normalizer.located_chunks(text)
        found = list(map(self._tokens.__getitem__, chunks))
        tokens = np.frombuffer(bytearray().join(found), INT32).reshape(-1, COLUMNS)
        counts = np.array([len(stored) // TOKEN_BYTES for stored in found], np.intp)
        tokens[:, 1:3] += np.array(starts, INT32).repeat(counts)[:, None]
        return tokens

    def _ids_of_chunk(self, chunk: str) -> bytes:
        return b"".join(map(self._word_ids.__getitem__, self._normalizer.words(chunk)))

    def _ids_of_word(self, word: str) -> bytes:
        return array("i", [i for i, _ in self._split_word(word)]).tobytes()

    def _tokens_of_chunk(self, chunk: str) -> bytes:
        fields: list[int] = []
        if chunk.isascii() and chunk.isprintable():  # its words cover it, character by character
            word_start = 0
            for word in self._normalizer.words(chunk):
                start = word_start
                for i, stop in self._splits[word]:
                    fields += i, start, word_start + stop, start == word_start
                    start = word_start + stop
                word_start += len(word)
        else:
            for token in self._match(self._normalizer.located_words(chunk)):
                fields += token
        return array("i", fields).tobytes()
