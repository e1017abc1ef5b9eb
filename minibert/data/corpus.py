"""From text files to packed sequences: documents, their ids, and sequences of one length."""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Literal

import numpy as np

from minibert.io.text import read_lines
from minibert.tokenization import PreTrainedTokenizer

MIN_LAST_TOKENS = 8  # a shorter last sequence is dropped, because it would be mostly padding
DOCUMENTS_AT_ONCE = 256  # tokenized together, which is faster
# More files without a blank line contain a document each; fewer contain one text per line.
MAX_FILES_OF_LINES = 24

DocumentEnd = Literal["blank-lines", "lines"]  # what ends a document


def read_corpus(
    paths: Iterable[str | os.PathLike[str]],
    watch: Callable[[memoryview], object] | None = None,
    document_end: DocumentEnd = "blank-lines",
) -> Iterator[list[str]]:
    """Yield the documents of text files, each a list of paragraphs (strings).

    A line is a paragraph. A blank line or the end of a file ends a document.

    Args:
        paths: of the files.
        watch: as `read_lines` takes it.
        document_end: "lines": each line is a document of one paragraph; blank lines are skipped.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file is empty, binary or not UTF-8; the message names the file and the line.
    """
    for path in paths:
        document: list[str] = []
        for line in read_lines(path, watch):
            if line.strip():
                document.append(line.strip())
            if document and (document_end == "lines" or not line.strip()):
                yield document
                document = []
        if document:
            yield document


def detect_document_end(paths: Sequence[str | os.PathLike[str]]) -> DocumentEnd:
    """Return "lines" for a few files of several lines without a blank line between them.

    Raises:
        OSError, ValueError: as `read_corpus`.
    """
    if len(paths) > MAX_FILES_OF_LINES:
        return "blank-lines"
    has_lines = False
    for path in paths:
        runs = groupby(read_lines(path), key=lambda line: bool(line.strip()))
        lines = (sum(1 for _ in run) for is_text, run in runs if is_text)  # of each document
        has_lines = next(lines, 0) > 1 or has_lines
        if next(lines, None) is not None:
            return "blank-lines"
    return "lines" if has_lines else "blank-lines"


def is_held_out(document: Sequence[str], share: float) -> bool:
    """Return whether a document is in the held-out set, a fraction `share` of all documents.

    The decision depends on a checksum of the document's text alone. So a document stays in its set
    when other documents are added or removed, and copies of a document are in the same set.
    """
    return zlib.crc32("\n".join(document).encode()) < share * 2**32


def ids_of_documents(
    documents: Iterable[Sequence[str]], tokenizer: PreTrainedTokenizer
) -> Iterator[np.ndarray]:
    """Yield the token ids (N,), int32, of each document, with a [SEP] at its end.

    The name of a special token in the text, such as "[MASK]", is plain text.
    """
    sep_id = np.array([tokenizer.sep_token_id], np.int32)
    rest = iter(documents)
    while group := list(islice(rest, DOCUMENTS_AT_ONCE)):
        texts = [text for document in group for text in document]
        ids, lengths = tokenizer.ids_of_batch(texts, split_special_tokens=True)
        text_ends = np.cumsum([len(document) for document in group])
        ends = np.concatenate([[0], lengths.cumsum()])[text_ends]  # of the ids of each document
        for part in np.split(ids, ends[:-1]):
            yield np.concatenate([part, sep_id])


class PackedSequences:
    """S sequences of T ids, [CLS] tokens [SEP], cut from one stream of ids.

    Documents follow each other with a [SEP] between them, and a sequence ends when it is full: the
    FULL-SENTENCES format of Liu et al. (2019), section 4.2, cut at tokens. The last sequence is
    padded, or dropped if it is short. A sequence is made on access, so the stream may be larger
    than memory.

    Args:
        stream (N,), int: ids of all documents, each with a [SEP] at its end; may be a memory map.
        tokenizer: supplies the special ids.
        length (int): T, tokens per sequence.
        counts (V,), int: number of occurrences of each token in the stream, if known.

    Raises:
        ValueError: `length` leaves no room for a token.
    """

    def __init__(
        self,
        stream: np.ndarray,
        tokenizer: PreTrainedTokenizer,
        length: int,
        counts: np.ndarray | None = None,
    ):
        if length < 3:
            raise ValueError(f"length: expected at least 3, [CLS], a token and [SEP], got {length}")
        self.stream = stream[:-1]  # every sequence ends with its own [SEP]
        self.tokenizer, self.length, self.counts = tokenizer, length, counts
        self.width = length - 2  # without [CLS] and [SEP]
        count = -(-len(self.stream) // self.width)
        last = len(self.stream) - (count - 1) * self.width
        is_short = last < min(MIN_LAST_TOKENS, self.width)
        self.count = count - 1 if count > 1 and is_short else count

    def __len__(self) -> int:
        """Return S, the number of sequences."""
        return self.count

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Return the sequences at `indices` (B,): ids (B, T), int32."""
        indices = np.asarray(indices)
        ids = np.full((len(indices), self.length), self.tokenizer.pad_token_id, np.int32)
        ids[:, 0] = self.tokenizer.cls_token_id
        positions = indices[:, None] * self.width + np.arange(self.width)  # (B, T - 2)
        is_inside = positions < len(self.stream)
        ids[:, 1:-1][is_inside] = self.stream[positions[is_inside]]
        ids[np.arange(len(indices)), 1 + is_inside.sum(axis=1)] = self.tokenizer.sep_token_id
        return ids


def pack(documents: Iterable[list[str]], tokenizer: PreTrainedTokenizer, length: int) -> np.ndarray:
    """Tokenize documents and return all their packed sequences (S, T), int32.

    Args:
        documents: documents, each a list of paragraphs.
        tokenizer: makes the ids.
        length (int): T.
    """
    streams = list(ids_of_documents(documents, tokenizer))
    stream = np.concatenate(streams) if streams else np.empty(0, np.int32)
    sequences = PackedSequences(stream, tokenizer, length)
    return sequences[np.arange(len(sequences))]


def as_batch(ids: np.ndarray, pad_id: int) -> dict[str, np.ndarray]:
    """Return a model's batch of one-segment sequences (B, T), with padding masked out."""
    return {
        "input_ids": ids,
        "token_type_ids": np.zeros_like(ids),
        "attention_mask": (ids != pad_id).astype(ids.dtype),
    }
