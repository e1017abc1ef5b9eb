"""The sub-commands that turn texts into vectors: embed, and similar, which shows their use."""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from minibert.cli.shared import interactive, lines_of
from minibert.files import replacing
from minibert.inference.features import FeatureExtractor

BLOCK = 8192  # texts at a time, where vectors are written as they come
DIGITS = 9  # a float32 number comes back from nine decimal digits


def embed(options: argparse.Namespace) -> None:
    """Write a vector for each text."""
    form = options.out.suffix if options.out else ".jsonl"
    if form not in (".npy", ".jsonl", ".csv"):
        raise ValueError(f"{options.out}: expected a name that ends in .npy, .jsonl or .csv")
    extractor = _extractor(options)
    texts = lines_of(options)
    if not options.out:
        _write_jsonl(sys.stdout, texts, extractor)
        return
    with replacing(options.out) as temporary:
        if form == ".npy":
            count = _write_npy(temporary, texts, extractor)
        else:
            write = _write_jsonl if form == ".jsonl" else _write_csv
            with temporary.open("w", encoding="utf-8", newline="") as file:
                count = write(file, texts, extractor)
    print(f"{options.out}: {count:,} vectors of {extractor.width} numbers")


def similar(options: argparse.Namespace) -> None:
    """Print the lines whose vectors have the directions nearest to the query's."""
    if options.top < 1:
        raise ValueError(f"top: expected at least 1, got {options.top}")
    options.normalize = True  # a product of two vectors is their cosine then
    extractor = _extractor(options)
    texts = list(lines_of(options))
    query = extractor([options.query])[0]  # (D,)
    cosines = extractor(texts, progress=interactive()) @ query  # (S, D) @ (D,) -> (S,)
    for i in np.argsort(-cosines, kind="stable")[: options.top]:
        print(f"{cosines[i]:.3f}\t{' '.join(texts[i].split())}")


def _extractor(options):
    """Build the extractor; what the options leave open, the model's folder may say."""
    given: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("pooling", "layers", "combine", "max_length")
        if getattr(options, name) is not None
    }
    if options.normalize:
        given["normalize"] = True
    return FeatureExtractor.from_pretrained(options.model, **given)


def _blocks(texts, extractor) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield some thousand texts at a time with their vectors (S, D)."""
    texts = iter(texts)
    while block := list(islice(texts, BLOCK)):
        yield block, extractor(block, progress=interactive())


def _embedded(texts, extractor) -> Iterator[tuple[str, list[float]]]:
    """Yield each text with its vector, rounded to what float32 can tell apart."""
    for block, vectors in _blocks(texts, extractor):
        for text, vector in zip(block, vectors, strict=True):
            yield text, [float(f"{number:.{DIGITS}g}") for number in vector]


def _write_npy(path, texts, extractor):
    """Write vectors as they come: first behind a header that says 0 rows, then with their number.

    NumPy leaves room in a header for the number of rows to grow.
    """
    count = 0
    with path.open("wb") as file:

        def header():
            fields = {"descr": "<f4", "fortran_order": False, "shape": (count, extractor.width)}
            np.lib.format.write_array_header_1_0(file, fields)
            return file.tell()

        start = header()
        for block, vectors in _blocks(texts, extractor):
            file.write(vectors.astype("<f4").tobytes())
            count += len(block)
        file.seek(0)
        if header() != start:
            raise OSError(f"{path}: the header of {count} rows has another length")
    return count


def _write_jsonl(file, texts, extractor):
    count = 0
    for text, vector in _embedded(texts, extractor):
        file.write(json.dumps({"text": text, "vector": vector}, ensure_ascii=False) + "\n")
        count += 1
    return count


def _write_csv(file, texts, extractor):
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["text", *range(extractor.width)])
    count = 0
    for text, vector in _embedded(texts, extractor):
        rows.writerow([text, *vector])
        count += 1
    return count
