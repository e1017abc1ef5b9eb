"""From text files to sequences of ids: documents, packed into rows of one length."""

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from minibert.files import read_lines
from minibert.tokenization import WordPieceTokenizer

SHORTEST = 8  # a last row with fewer tokens than this teaches nothing worth its padding


def read_corpus(paths: Iterable[str | os.PathLike]) -> Iterator[list[str]]:
    """Yield the documents of text files, each a list of paragraphs.

    A line is a paragraph; a blank line, or the end of a file, ends a document.

    Raises:
        OSError: a file is missing or can't be read.
        ValueError: a file is empty, binary or not UTF-8; the message names the file and the line.
    """
    for path in paths:
        document: list[str] = []
        for line in read_lines(path):
            if line.strip():
                document.append(line.strip())
            elif document:
                yield document
                document = []
        if document:
            yield document


def hold_out(
    documents: Sequence[list[str]], share: float
) -> tuple[list[list[str]], list[list[str]]]:
    """Split documents into those to train on and those held out.

    A document's side is drawn from its text, so it stays there when others come or go, and copies
    of a document stay together.

    Args:
        documents: each a list of paragraphs.
        share: of the documents to hold out.
    """
    held = [zlib.crc32("\n".join(document).encode()) < share * 2**32 for document in documents]
    train = [document for document, out in zip(documents, held, strict=True) if not out]
    return train, [document for document, out in zip(documents, held, strict=True) if out]


def pack(documents: Iterable[list[str]], tokenizer: WordPieceTokenizer, length: int) -> np.ndarray:
    """Tokenize documents and pack them into rows: [CLS] tokens [SEP], with no room left over.

    Documents follow each other with a [SEP] between them, and a row ends wherever it is full: the
    FULL-SENTENCES format of Liu et al. (2019), section 4.2, by tokens. Special tokens written in
    the text are text. The last row is padded, or left out if it holds next to nothing.

    Args:
        documents: each a list of paragraphs.
        tokenizer: makes the ids.
        length: T, the tokens in a row.

    Returns:
        (S, T) in int32, S rows.

    Raises:
        ValueError: a row of this length has no room for a token.
    """
    if length < 3:
        raise ValueError(f"length: expected at least 3, [CLS], a token and [SEP], got {length}")
    separator = np.array([tokenizer.sep_token_id], np.int32)
    parts: list[np.ndarray] = []
    for document in documents:
        ids = [tokenizer.ids_of(text, split_special_tokens=True) for text in document]
        parts += [*(np.asarray(piece, np.int32) for piece in ids), separator]
    stream = np.concatenate(parts[:-1]) if parts else np.empty(0, np.int32)
    width = length - 2  # room for [CLS] and [SEP]
    count = -(-len(stream) // width)
    if count > 1 and len(stream) - (count - 1) * width < min(SHORTEST, width):
        count -= 1
    rows = np.full((count, length), tokenizer.pad_token_id, np.int32)
    rows[:, 0] = tokenizer.cls_token_id
    for i in range(count):
        piece = stream[i * width : (i + 1) * width]
        rows[i, 1 : 1 + len(piece)] = piece
        rows[i, 1 + len(piece)] = tokenizer.sep_token_id
    return rows


def as_batch(ids: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
    """Make a model's batch of rows of one segment (B, T), padding masked out."""
    return {
        "input_ids": ids,
        "token_type_ids": np.zeros_like(ids),
        "attention_mask": (ids != pad_id).astype(ids.dtype),
    }
