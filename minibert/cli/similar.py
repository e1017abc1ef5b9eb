"""`minibert similar`: find the texts that are most similar to a query."""

import argparse
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from minibert.cli.arguments import MODEL_HELP
from minibert.cli.output import is_interactive
from minibert.cli.text_input import read_texts
from minibert.cli.vectors import (
    STORE,
    add_vector_arguments,
    embed_blocks,
    given_options,
    make_extractor,
)
from minibert.inference.cross_encoder import CrossEncoder
from minibert.inference.vector_store import VectorStore
from minibert.io.text import sanitize

CANDIDATES = 50  # texts that a cross-encoder scores

DESCRIPTION = """
Prints the cosine similarity and the line, most similar first; for a store that `minibert embed
--out NAME.store` has written, also the file and the number of the line. A cross-encoder (--rerank)
scores the most similar lines again: it is more accurate, and too slow to read them all.
"""
EXAMPLE = 'minibert similar tiny "how to sort a list" corpus/held_out.txt --layers -2'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert similar`."""
    parser.add_argument(
        "source", type=Path, metavar="model", help=f"{MODEL_HELP}; or a store of vectors"
    )
    parser.add_argument("query", help="a text")
    parser.add_argument(
        "file", type=Path, nargs="*", help="text files, one text per line; none for a store"
    )
    parser.add_argument(
        "--top", type=int, default=5, help="number of lines to print (default: %(default)s)"
    )
    parser.add_argument(
        "--model",
        type=Path,
        help="the model of the store's vectors (default: its name when they were written)",
    )
    parser.add_argument(
        "--rerank",
        type=Path,
        metavar="CROSS_ENCODER",
        help="a model of one label that reads the query with each candidate; its scores are "
        "printed, highest first",
    )
    parser.add_argument(
        "--candidates",
        type=int,
        metavar="N",
        help=f"number of the most similar texts that --rerank scores (default: {CANDIDATES})",
    )
    add_vector_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Print the texts with the highest cosine similarity to the query, or with a reranker's score.

    A cross-encoder reads the query with each of the candidates, the nearest texts.
    """
    if options.top < 1:
        raise ValueError(f"top: expected at least 1, got {options.top}")
    count, reranker = options.top, None
    if options.rerank is not None:
        reranker = CrossEncoder.from_pretrained(options.rerank)
        reranker.rank(options.query, [])  # refuses a model of several labels before the search
        count = max(CANDIDATES, count) if options.candidates is None else options.candidates
        if count < options.top:
            raise ValueError(f"candidates: expected at least {options.top}, as many as are printed "
                             f"(--top), got {count}")  # fmt: skip
    elif options.candidates is not None:
        raise ValueError("candidates: expected a cross-encoder that scores them (--rerank)")
    is_store = VectorStore.is_store(options.source) or options.source.suffix == STORE
    found = (_nearest_in_store if is_store else _nearest_lines)(options, count)
    if reranker is not None:
        texts = [text for *_, text in found]
        ranked = reranker.rank(options.query, texts, options.top, progress=is_interactive())
        found = [(each["score"], *found[each["corpus_id"]][1:]) for each in ranked]
    # A cosine has three decimals; a reranker's score has a unit of its own, so four digits.
    form = ".3f" if reranker is None else ".4g"
    for score, *place, text in found:
        print("\t".join([format(score, form), *place, " ".join(text.split())]))


def _nearest_lines(options: argparse.Namespace, count: int) -> list[tuple[Any, ...]]:
    """Return the cosine and the text of the lines that are most similar to the query."""
    if options.model is not None:
        raise ValueError(f"model: expected a store to search, got {options.source}")
    if not options.file:
        raise ValueError(f"{options.source}: expected text files to search, or a store of vectors")
    options.model = options.source
    extractor = make_extractor(options, normalize=True)  # the dot product is then the cosine
    query = extractor([options.query])[0]  # (D,)
    best: list[tuple[float, str]] = []  # of the blocks so far; files may be larger than memory
    for texts, vectors in embed_blocks(read_texts(options), extractor):
        cosines = vectors @ query  # (S, D) @ (D,) -> (S,)
        best += [(cosines[i], texts[i]) for i in np.argsort(-cosines, kind="stable")[:count]]
        best = sorted(best, key=itemgetter(0), reverse=True)[:count]
    return best


def _nearest_in_store(options: argparse.Namespace, count: int) -> list[tuple[Any, ...]]:
    """Return the cosine, the place and the text of the nearest vectors of a store."""
    for name in [*(["file"] if options.file else []), *given_options(options)]:
        raise ValueError(f"{name}: expected none, because {options.source} has vectors already")
    store = VectorStore.open(options.source, options.model)
    if not len(store):
        raise ValueError(f"{options.source}: expected vectors, found none")
    scores, ids = store.search([options.query], count)
    places = [f"{sanitize(_shown(path))}:{line}" for path, line in store.locations(ids[0])]
    return list(zip(scores[0], places, store.texts(ids[0]), strict=True))


def _shown(path: Path) -> Path:
    """Return a path from the current folder, if it is in it."""
    return path.relative_to(here) if path.is_relative_to(here := Path.cwd()) else path
