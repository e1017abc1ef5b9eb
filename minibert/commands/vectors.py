"""The sub-commands that turn texts into vectors: embed, and similar, which shows their use."""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from minibert.commands.shared import interactive, lines_of
from minibert.features import FeatureExtractor
from minibert.files import replacing

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
            vectors = extractor(list(texts), progress=interactive())
            with temporary.open("wb") as file:  # np.save would put .npy behind another name
                np.save(file, vectors)
            count = len(vectors)
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


def _embedded(texts, extractor) -> Iterator[tuple[str, list[float]]]:
    """Yield each text with its vector, rounded to what float32 can tell apart."""
    texts = iter(texts)
    while block := list(islice(texts, BLOCK)):
        vectors = extractor(block, progress=interactive())
        for text, vector in zip(block, vectors, strict=True):
            yield text, [float(f"{number:.{DIGITS}g}") for number in vector]


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
