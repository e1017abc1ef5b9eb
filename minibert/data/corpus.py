"""From text files to packed sequences: documents, their ids, and sequences of one length."""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np

from minibert.io.number_files import Numbers
from minibert.io.text import read_lines, read_parts
from minibert.tokenization import PreTrainedTokenizer

MIN_LAST_TOKENS = 8  # a shorter last sequence is dropped, because it would be mostly padding
DOCUMENTS_AT_ONCE = 256  # tokenized together, which is faster
LONGEST_PART = 1 << 20  # characters of a document in memory; a longer document is read in parts
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


class DocumentPart(NamedTuple):
    """A part of a document, or all of it.

    Attributes:
        texts: its paragraphs; a paragraph that is too long for one part is several texts.
        checksum: the CRC-32 of the document up to the end of this part.
        is_last: whether the document ends here.
    """

    texts: list[str]
    checksum: int
    is_last: bool


def read_document_parts(
    paths: Iterable[str | os.PathLike[str]],
    watch: Callable[[memoryview], object] | None = None,
    document_end: DocumentEnd = "blank-lines",
) -> Iterator[DocumentPart]:
    """Yield the documents of `read_corpus` in parts, so that none is too long for the memory.

    Args:
        paths, watch, document_end: as in `read_corpus`.

    Raises:
        OSError, ValueError: as `read_corpus`.
    """
    for path in paths:
        texts: list[str] = []
        size = checksum = 0
        blanks = ""  # white space before the next part of a line, which may also end the line
        is_begun = in_line = False  # whether the document, and the line, contain a text
        for text, ends_line in read_parts(path, watch, longest=LONGEST_PART):
            whole = blanks + text if in_line else text.lstrip()
            text = whole.rstrip()
            blanks = "" if ends_line else whole[len(text) :][:LONGEST_PART]
            if text:
                if is_begun and not in_line:
                    checksum = zlib.crc32(b"\n", checksum)
                checksum = zlib.crc32(text.encode(), checksum)
                texts.append(text)
                size += len(text)
                is_begun = in_line = True
            is_last = ends_line and is_begun and (document_end == "lines" or not in_line)
            if is_last or size >= LONGEST_PART:
                yield DocumentPart(texts, checksum, is_last)
                texts, size = [], 0
            if is_last:
                checksum, is_begun = 0, False
            in_line = in_line and not ends_line
        if is_begun:
            yield DocumentPart(texts, checksum, True)


def detect_document_end(paths: Sequence[str | os.PathLike[str]]) -> DocumentEnd:
    """Return "lines" for a few files of several lines without a blank line between them.

    Raises:
        OSError, ValueError: as `read_corpus`.
    """
    if len(paths) > MAX_FILES_OF_LINES:
        return "blank-lines"
    has_lines = False
    for path in paths:
        lines, is_over, is_blank = 0, False, True  # of the first document; is the line blank?
        for text, ends_line in read_parts(path, longest=LONGEST_PART):
            is_blank = is_blank and not text.strip()
            if not is_blank and is_over:
                return "blank-lines"
            if ends_line:
                lines += not is_blank
                is_over = is_over or (is_blank and lines > 0)
                is_blank = True
        lines += not is_blank
        has_lines = has_lines or lines > 1
    return "lines" if has_lines else "blank-lines"


def is_held_out(document: Sequence[str], share: float) -> bool:
    """Return whether a document is in the held-out set, a fraction `share` of all documents.

    The decision depends on a checksum of the document's text alone. So a document stays in its set
    when other documents are added or removed, and copies of a document are in the same set.
    """
    return is_drawn(zlib.crc32("\n".join(document).encode()), share)


def is_drawn(checksum: int, share: float) -> bool:
    """Return whether a document with this CRC-32 is in the held-out set; see `is_held_out`."""
    return checksum < share * 2**32


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
        stream (N,), int: ids of all documents, each with a [SEP] at its end; may be in a file.
        tokenizer: supplies the special ids.
        length (int): T, tokens per sequence.
        counts (V,), int: number of occurrences of each token in the stream, if known.

    Raises:
        ValueError: `length` leaves no room for a token.
    """

    def __init__(
        self,
        stream: Numbers,
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
        ids = np.full((len(indices), self.length), self.tokenizer.pad_token_id, np.int32)
        ids[:, 0] = self.tokenizer.cls_token_id
        for row, index in zip(ids, np.asarray(indices).tolist(), strict=True):
            tokens = self.stream[index * self.width : (index + 1) * self.width]  # (T - 2,) or fewer
            row[1 : 1 + len(tokens)] = tokens
            row[1 + len(tokens)] = self.tokenizer.sep_token_id
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
