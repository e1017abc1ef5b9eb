"""`minibert embed`: turn texts into vectors."""

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from minibert.cli.arguments import MODEL_HELP
from minibert.cli.output import is_interactive
from minibert.cli.text_input import add_text_arguments, read_texts
from minibert.cli.vectors import (
    STORE,
    TEXTS_PER_BLOCK,
    add_vector_arguments,
    embed_blocks,
    make_extractor,
)
from minibert.inference.features import FeatureExtractor
from minibert.inference.vector_store import VectorStore
from minibert.io.atomic import atomic_remove, settled
from minibert.io.outputs import output_file
from minibert.io.rows import take_block
from minibert.io.text import read_lines
from minibert.tasks.base import json_line

FLOAT32_DIGITS = 9  # decimal digits from which a float32 is read back exactly

DESCRIPTION = """
Without texts and --file, reads lines from standard input; without --out, prints JSON Lines.
Without fine-tuning, the vector of [CLS] represents a sentence badly; the mean over the tokens of
the second-to-last layer (--layers -2) is better. The files of a sentence-transformers model name
the pooling that it was trained with, which is then the default.
--out NAME.store is a folder that `minibert similar` searches; the same command extends it by the
lines of --file that it does not contain yet, and by all other texts each time.
"""
EXAMPLE = "minibert embed tiny --file corpus/held_out.txt --layers -2 --out vectors.npy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert embed`."""
    parser.set_defaults(log="stderr")
    parser.add_argument("model", type=Path, help=MODEL_HELP)
    add_text_arguments(parser)
    parser.add_argument("--normalize", action="store_true", help="scale each vector to length 1")
    parser.add_argument(
        "--out",
        type=Path,
        help="file to write; its name ends in .npy, .jsonl, .csv or "
        ".store, a folder to write or extend",
    )
    add_vector_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Write one vector per text."""
    form = options.out.suffix if options.out else ".jsonl"
    if form not in (".npy", ".jsonl", ".csv", STORE):
        raise ValueError(
            f"{options.out}: expected a name that ends in .npy, .jsonl, .csv or {STORE}"
        )
    extractor = make_extractor(options, normalize=options.normalize)
    texts = read_texts(options)
    if form == STORE:
        _extend_store(options, texts, extractor)
        return
    if not options.out:
        _write_jsonl(sys.stdout, texts, extractor)
        return
    with output_file(options.out) as temporary:
        if form == ".npy":
            count = _write_npy(temporary, texts, extractor)
        else:
            write = _write_jsonl if form == ".jsonl" else _write_csv
            with temporary.open("w", encoding="utf-8", newline="") as file:
                count = write(file, texts, extractor)
    print(f"{options.out}: {count:,} vectors of {extractor.width} numbers")


def _extend_store(
    options: argparse.Namespace, texts: Iterator[str], extractor: FeatureExtractor
) -> None:
    """Append texts to a store, which is made if it does not exist; print their number."""
    out, progress = settled(options.out), is_interactive()
    has_files = bool(options.file) and not options.texts
    block: list[str] = []
    if has_files:  # unreadable input makes no folder
        for path in options.file:
            next(read_lines(path), None)
    else:
        block = take_block(texts, TEXTS_PER_BLOCK)
    is_new = not VectorStore.is_store(out)
    if is_new:
        store = VectorStore.create(out, extractor, name=options.model)
    else:
        store = VectorStore.open(out, extractor)
    before = len(store)
    try:
        if has_files:
            store.append_files(options.file, progress=progress)
        while block:
            store.append(block, progress=progress)
            block = take_block(texts, TEXTS_PER_BLOCK)
    except BaseException:
        if is_new and not len(store):  # a line of the first block was refused
            atomic_remove(out)
        raise
    print(
        f"{out}: {len(store) - before:,} new vectors of {store.width} numbers, {len(store):,} in "
        "all"
    )


def _embed_each(
    texts: Iterable[str], extractor: FeatureExtractor
) -> Iterator[tuple[str, list[float]]]:
    """Yield each text with its vector, rounded to the precision of float32."""
    for block, vectors in embed_blocks(texts, extractor):
        for text, vector in zip(block, vectors, strict=True):
            yield text, [float(f"{value:.{FLOAT32_DIGITS}g}") for value in vector]


def _write_npy(path: Path, texts: Iterable[str], extractor: FeatureExtractor) -> int:
    """Write vectors to a .npy file block by block; returns their number.

    The header is written first with 0 rows and again at the end with their number: NumPy pads
    headers, so that the number of rows may grow.
    """
    count = 0
    with path.open("wb") as file:

        def write_header() -> int:
            fields = {"descr": "<f4", "fortran_order": False, "shape": (count, extractor.width)}
            np.lib.format.write_array_header_1_0(file, fields)
            return file.tell()

        header_size = write_header()
        for block, vectors in embed_blocks(texts, extractor):
            file.write(vectors.astype("<f4").tobytes())
            count += len(block)
        file.seek(0)
        if write_header() != header_size:
            raise OSError(f"{path}: the header of {count} rows has another length")
    return count


def _write_jsonl(file: TextIO, texts: Iterable[str], extractor: FeatureExtractor) -> int:
    """Write one JSON object per text; returns their number."""
    count = 0
    for text, vector in _embed_each(texts, extractor):
        file.write(json_line({"text": text, "vector": vector}) + "\n")
        count += 1
    return count


def _write_csv(file: TextIO, texts: Iterable[str], extractor: FeatureExtractor) -> int:
    """Write a header and one line per text; returns the number of texts."""
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["text", *range(extractor.width)])
    count = 0
    for text, vector in _embed_each(texts, extractor):
        rows.writerow([text, *vector])
        count += 1
    return count
