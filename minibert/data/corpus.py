"""From text files to sequences of ids: documents, packed into rows of one length."""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from minibert.files import read_lines
from minibert.tokenization import WordPieceTokenizer

SHORTEST = 8  # a last row with fewer tokens than this teaches nothing worth its padding


def read_corpus(
    paths: Iterable[str | os.PathLike], watch: Callable[[memoryview], object] | None = None
) -> Iterator[list[str]]:
    """Yield the documents of text files, each a list of paragraphs.

    A line is a paragraph; a blank line, or the end of a file, ends a document.

    Args:
        paths: of the files.
        watch: as `read_lines` takes it.

    Raises:
        OSError: a file is missing or can't be read.
        ValueError: a file is empty, binary or not UTF-8; the message names the file and the line.
    """
    for path in paths:
        document: list[str] = []
        for line in read_lines(path, watch):
            if line.strip():
                document.append(line.strip())
            elif document:
                yield document
                document = []
        if document:
            yield document


def is_held_out(document: Sequence[str], share: float) -> bool:
    """Whether a document is among the `share` of all that is held out.

    That is drawn from its text, so it stays on its side when others come or go, and copies of a
    document stay together.
    """
    return zlib.crc32("\n".join(document).encode()) < share * 2**32


def ids_of_documents(
    documents: Iterable[Sequence[str]], tokenizer: WordPieceTokenizer
) -> Iterator[np.ndarray]:
    """Yield the ids of each document, in int32, with a [SEP] at its end.

    Special tokens written in the text are text.
    """
    for document in documents:
        ids = [tokenizer.ids_of(text, split_special_tokens=True) for text in document]
        parts = [np.asarray(piece, np.int32) for piece in ids]
        yield np.concatenate([*parts, np.array([tokenizer.sep_token_id], np.int32)])


class Rows:
    """A stream of ids as rows of one length: [CLS] tokens [SEP], with no room left over.

    Documents follow each other with a [SEP] between them, and a row ends wherever it is full: the
    FULL-SENTENCES format of Liu et al. (2019), section 4.2, by tokens. The last row is padded, or
    left out if it holds next to nothing. A row is made when it is asked for, so a stream may be
    larger than memory.

    Args:
        stream: the ids of all documents, each with a [SEP] at its end; may be a memory map.
        tokenizer: knows the special tokens.
        length: T, the tokens in a row.
        counts: (V,), how often each token occurs in the stream, if that is known.

    Raises:
        ValueError: a row of this length has no room for a token.
    """

    def __init__(
        self,
        stream: np.ndarray,
        tokenizer: WordPieceTokenizer,
        length: int,
        counts: np.ndarray | None = None,
    ):
        if length < 3:
            raise ValueError(f"length: expected at least 3, [CLS], a token and [SEP], got {length}")
        self.stream = stream[:-1]  # a row has a [SEP] of its own
        self.tokenizer, self.length, self.counts = tokenizer, length, counts
        self.width = length - 2  # room for [CLS] and [SEP]
        count = -(-len(self.stream) // self.width)
        last = len(self.stream) - (count - 1) * self.width
        self.count = count - 1 if count > 1 and last < min(SHORTEST, self.width) else count

    def __len__(self) -> int:
        """Return S, the number of rows."""
        return self.count

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        """Return the rows with these numbers (B,), as (B, T) in int32."""
        numbers = np.asarray(numbers)
        rows = np.full((len(numbers), self.length), self.tokenizer.pad_token_id, np.int32)
        rows[:, 0] = self.tokenizer.cls_token_id
        places = numbers[:, None] * self.width + np.arange(self.width)  # (B, T - 2)
        inside = places < len(self.stream)
        rows[:, 1:-1][inside] = self.stream[places[inside]]
        rows[np.arange(len(numbers)), 1 + inside.sum(axis=1)] = self.tokenizer.sep_token_id
        return rows


def pack(documents: Iterable[list[str]], tokenizer: WordPieceTokenizer, length: int) -> np.ndarray:
    """Tokenize documents and return all of their `Rows`, (S, T).

    Args:
        documents: each a list of paragraphs.  tokenizer: makes the ids.  length: T.
    """
    streams = list(ids_of_documents(documents, tokenizer))
    stream = np.concatenate(streams) if streams else np.empty(0, np.int32)
    rows = Rows(stream, tokenizer, length)
    return rows[np.arange(len(rows))]


def as_batch(ids: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
    """Make a model's batch of rows of one segment (B, T), padding masked out."""
    return {
        "input_ids": ids,
        "token_type_ids": np.zeros_like(ids),
        "attention_mask": (ids != pad_id).astype(ids.dtype),
    }
