"""Cached tokenization: look up words and chunks of text that occurred before.

Natural text repeats itself. The pieces of a word and the tokens of a chunk are computed once, by
the plain path, and cached as bytes; the tokens of a text are those of its chunks, joined and read
as an array. Words and chunks have separate caches, because chunks that differ only in
punctuation and capitals share their words: 10 MB of English contain 1.5 million chunks, 99,000
different chunks, and 23,000 different words. For many texts at once, `PartTable` does the same.
"""

from array import array
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import Any, Protocol, SupportsIndex, TypeVar, cast

import numpy as np

from minibert.tokenization.normalizer import Normalizer, Word
from minibert.tokenization.part_table import PartTable, part_bounds

CACHE_ENTRIES = 1 << 17  # 16 to 20 MB for English chunks or ids, 65 MB for splits
CACHE_TEXT_LENGTH = 64  # characters; longer texts rarely occur twice
# Bytes per character, from which on a batch is split text by text: words in other alphabets are
# longer than the keys of the table, and Russian takes twice as long with it.
FEW_ASCII = 1.3
COLUMNS = 4  # fields of a token: id, start, end, and 1 if it begins a word
TOKEN_BYTES = 4 * COLUMNS
INT32 = np.dtype(np.int32)

Split = Sequence[tuple[int, int]]  # the pieces of a word: id, and end in the word
Ragged = tuple[np.ndarray, np.ndarray]  # the values of several texts, and their number for each
Result = TypeVar("Result")


class BoundedCache(dict[str, Result]):
    """Cache of a function's results by text; cleared when it is full, and copied without them.

    >>> cache = BoundedCache(str.encode)
    >>> cache["new"], list(cache)
    (b'new', ['new'])

    Args:
        function: computes the result of a text.
    """

    def __init__(self, function: Callable[[str], Result]):
        self.function = function

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Pickle and copy the cache empty: a worker computes what it needs, in less time."""
        make, arguments, state = tuple(object.__reduce_ex__(self, 2))[:3]
        return make, arguments, state

    def __missing__(self, text: str) -> Result:
        """Compute and store a missing result."""
        result = self.function(text)
        if len(text) <= CACHE_TEXT_LENGTH:
            if len(self) >= CACHE_ENTRIES:
                self.clear()
            self[text] = result
        return result


class BatchCache(BoundedCache[Result]):
    """Cache of a function that computes the results of several texts together.

    >>> cache = BatchCache(lambda texts: [text.encode() for text in texts])
    >>> cache.many(["new", "old", "new"]), list(cache)
    ([b'new', b'old', b'new'], ['new', 'old'])

    Args:
        function: computes the results of different texts.
    """

    def __init__(self, function: Callable[[list[str]], list[Result]]):
        self._together = function
        super().__init__(self._alone)

    def _alone(self, text: str) -> Result:
        return self._together([text])[0]

    def many(self, texts: Sequence[str]) -> list[Result]:
        """Return the results of texts; compute and store the missing ones."""
        known = list(map(self.get, texts))
        if None not in known:
            return cast(list[Result], known)
        missing = [text for text in dict.fromkeys(texts) if text not in self]
        new = dict(zip(missing, self._together(missing), strict=True))
        found = [new[text] if text in new else self[text] for text in texts]
        if len(self) + len(new) > CACHE_ENTRIES:
            self.clear()
        short = (item for item in new.items() if len(item[0]) <= CACHE_TEXT_LENGTH)
        self.update(islice(short, CACHE_ENTRIES))
        return found


class Fast(Protocol):
    """The cached path of a kind of tokenizer: text without added tokens to tokens and ids."""

    def ids(self, text: str) -> np.ndarray:
        """Return the token ids (T,), int32, of a text."""

    def tokens(self, text: str) -> np.ndarray:
        """Return the tokens (T, 4), int32, of a text: id, start, end, and 1 where a word begins."""

    def ids_of_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the token ids (N,), int32, of B texts, and the number of each text (B,)."""

    def tokens_of_batch(self, texts: Sequence[str]) -> Ragged:
        """Return the tokens (N, 4), int32, of B texts, and the number of each text (B,)."""


class CachedPath:
    """Base class of cached paths: chunks of a text, and parts of many texts, are looked up.

    A subclass implements `chunks`, `located_chunks`, `encode`, `ids_of_chunks` and
    `tokens_of_chunks`. Its chunks cover whole words, and so do its parts, which `bounds` finds: the
    tokens of a text are those of its chunks or of its parts, one after the other.
    """

    def __init__(self) -> None:
        self._ids = BatchCache(self.ids_of_chunks)
        self._tokens = BatchCache(self.tokens_of_chunks)

    # A table takes 6 MB, which a tokenizer of single texts does not need.

    @cached_property
    def _ids_table(self) -> PartTable:
        return PartTable(self.ids_of_parts, 1)

    @cached_property
    def _tokens_table(self) -> PartTable:
        return PartTable(self.tokens_of_parts, COLUMNS)

    def bounds(self, data: bytes, located: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the starts (M,) and the ends (M,) of the parts of encoded texts.

        Args:
            data (bytes): the texts.
            located (bool): whether positions are asked for, not only ids.
        """
        return part_bounds(data)

    def chunks(self, text: str) -> list[str]:
        """Return the chunks (list of str) of a text."""
        raise NotImplementedError

    def located_chunks(self, text: str) -> tuple[list[str], list[int]]:
        """Return the chunks of a text and the position of each."""
        raise NotImplementedError

    def encode(self, texts: Sequence[str]) -> tuple[bytes, np.ndarray]:
        """Return B texts as UTF-8, each with one more byte at its end, and their sizes (B,)."""
        raise NotImplementedError

    def ids_of_chunks(self, chunks: list[str]) -> list[bytes]:
        """Return the ids of each chunk as int32."""
        raise NotImplementedError

    def tokens_of_chunks(self, chunks: list[str]) -> list[bytes]:
        """Return the tokens of each chunk, `COLUMNS` int32 each."""
        raise NotImplementedError

    def ids_of_parts(self, parts: list[str]) -> list[bytes]:
        """Return the ids of each part of a batch as int32."""
        return self._ids.many(parts)

    def tokens_of_parts(self, parts: list[str]) -> list[bytes]:
        """Return the tokens of each part of a batch, `COLUMNS` int32 each."""
        return self._tokens.many(parts)

    def has_parts(self, texts: Sequence[str]) -> bool:
        """Return whether `bounds` finds parts of texts, and not parts of words."""
        return True

    def prefers_chunks(self, texts: Sequence[str], data: bytes) -> bool:
        """Return whether texts, `data` in UTF-8, are split text by text."""
        return len(data) > FEW_ASCII * (sum(map(len, texts)) + len(texts))

    def ids(self, text: str) -> np.ndarray:
        """Return the token ids (T,), int32, of a text."""
        found = map(self._ids.__getitem__, self.chunks(text))
        return np.frombuffer(bytearray().join(found), INT32)

    def tokens(self, text: str) -> np.ndarray:
        """Return the tokens (T, 4), int32, of a text."""
        chunks, starts = self.located_chunks(text)
        found = list(map(self._tokens.__getitem__, chunks))
        tokens = np.frombuffer(bytearray().join(found), INT32).reshape(-1, COLUMNS)
        counts = np.array([len(stored) // TOKEN_BYTES for stored in found], np.intp)
        tokens[:, 1:3] += np.array(starts, INT32).repeat(counts)[:, None]
        return tokens

    def ids_of_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the token ids (N,), int32, of B texts, and the number of each text (B,)."""
        data, sizes = self.encode(texts)
        if self.prefers_chunks(texts, data) or not self.has_parts(texts):
            return self._ids_by_chunks(texts)
        starts, ends = self.bounds(data, False)
        ids, counts = self._ids_table.lookup(data, starts, ends)
        return ids[:, 0], _counts_of_texts(sizes, starts, counts)[1]

    def _ids_by_chunks(self, texts: Sequence[str]) -> Ragged:
        """Return the ids (N,) of texts, and their numbers (B,), by the cache of chunks."""
        rows = list(map(self.chunks, texts))
        found = self._ids.many(list(chain.from_iterable(rows)))
        counts = np.fromiter(map(len, found), np.intp, len(found)) // INT32.itemsize
        stops = np.fromiter(map(len, rows), np.intp, len(rows)).cumsum()
        lengths = np.diff(np.concatenate([[0], counts.cumsum()])[stops], prepend=0)
        return np.frombuffer(bytearray().join(found), INT32), lengths

    def tokens_of_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens (N, 4), int32, of B texts, and the number of each text (B,)."""
        if texts and not self.has_parts(texts):
            return joined([self.tokens(text) for text in texts])
        data, sizes = self.encode(texts)
        starts, ends = self.bounds(data, True)
        tokens, counts = self._tokens_table.lookup(data, starts, ends)
        parts, lengths = _counts_of_texts(sizes, starts, counts)
        origins = np.cumsum(sizes) - sizes  # (B,), where each text starts in `data`
        if not data.isascii():  # positions are counted in characters, not in bytes
            begins_character = np.frombuffer(data + b"\n", np.uint8) & 0xC0 != 0x80
            positions = begins_character.cumsum() - 1
            starts, origins = positions[starts], positions[origins]
        tokens[:, 1:3] += (starts - origins.repeat(parts)).astype(INT32).repeat(counts)[:, None]
        return tokens, lengths


class FastPath(CachedPath):
    """WordPiece's tokenizer of text without added tokens, with caches.

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
        super().__init__()
        self._normalizer = normalizer
        self._match = match
        self._split_word = split_word
        self._splits = BoundedCache(split_word)
        self._word_ids = BoundedCache(self._ids_of_word)

    def chunks(self, text: str) -> list[str]:
        """Return the parts (list of str) of a text between white space."""
        return self._normalizer.chunks(text)

    def located_chunks(self, text: str) -> tuple[list[str], list[int]]:
        """Return the chunks of a text and the position of each."""
        return self._normalizer.located_chunks(text)

    def encode(self, texts: Sequence[str]) -> tuple[bytes, np.ndarray]:
        """Return texts as UTF-8, each with a line end, and their sizes (B,), in bytes."""
        parts = [text.encode("utf-8", "surrogatepass") for text in texts]
        data = b"\n".join([*parts, b""])
        sizes = np.array([len(part) + 1 for part in parts], np.intp)
        return data.lower() if self._normalizer.do_lower_case else data, sizes

    def ids_of_parts(self, parts: list[str]) -> list[bytes]:
        """Return the ids of each part of a batch as int32."""
        return [
            # A part that is printable ASCII is a normalized word.
            (self._word_ids if part.isascii() and part.isprintable() else self._ids)[part]
            for part in parts
        ]

    def ids_of_chunks(self, chunks: list[str]) -> list[bytes]:
        """Return the ids of the words of each chunk as int32."""
        ids_of, words_of = self._word_ids.__getitem__, self._normalizer.words
        return [b"".join(map(ids_of, words_of(chunk))) for chunk in chunks]

    def tokens_of_chunks(self, chunks: list[str]) -> list[bytes]:
        """Return the tokens of the words of each chunk, `COLUMNS` int32 each."""
        return list(map(self._tokens_of_chunk, chunks))

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

    def _ids_of_word(self, word: str) -> bytes:
        return array("i", [i for i, _ in self._split_word(word)]).tobytes()


def joined(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of B texts one after the other, and their number for each (B,)."""
    return np.concatenate(rows), np.array([len(row) for row in rows], np.intp)


def _counts_of_texts(
    sizes: np.ndarray, starts: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of parts (B,) and of tokens (B,) of texts, by size in bytes.

    Args:
        sizes (B,), int: size of each text.
        starts (M,), int: the start of each part.
        counts (M,), int: the number of tokens of each part.
    """
    stops = np.searchsorted(starts, np.cumsum(sizes))  # (B,), the parts up to the end of each text
    tokens = np.concatenate([[0], counts.cumsum(dtype=np.intp)])[stops]
    return np.diff(stops, prepend=0), np.diff(tokens, prepend=0)
