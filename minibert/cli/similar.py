"""`minibert similar`: find the texts that are most similar to a query."""

import argparse
from operator import itemgetter
from pathlib import Path

import numpy as np

from minibert.cli.arguments import MODEL_HELP
from minibert.cli.text_input import read_texts
from minibert.cli.vectors import (
    STORE,
    add_vector_arguments,
    embed_blocks,
    given_options,
    make_extractor,
)
from minibert.inference.vector_store import VectorStore
from minibert.io.text import sanitize

DESCRIPTION = """
Prints the cosine similarity and the line, most similar first; for a store that `minibert embed
--out NAME.store` has written, also the file and the number of the line.
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
    add_vector_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Print the lines with the highest cosine similarity to the query."""
    if options.top < 1:
        raise ValueError(f"top: expected at least 1, got {options.top}")
    if VectorStore.is_store(options.source) or options.source.suffix == STORE:
        _search_store(options)
        return
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
        best += [(cosines[i], texts[i]) for i in np.argsort(-cosines, kind="stable")[: options.top]]
        best = sorted(best, key=itemgetter(0), reverse=True)[: options.top]
    for cosine, text in best:
        print(f"{cosine:.3f}\t{' '.join(text.split())}")


def _search_store(options: argparse.Namespace) -> None:
    """Print the cosine, the place and the text of the nearest vectors of a store."""
    for name in [*(["file"] if options.file else []), *given_options(options)]:
        raise ValueError(f"{name}: expected none, because {options.source} has vectors already")
    store = VectorStore.open(options.source, options.model)
    if not len(store):
        raise ValueError(f"{options.source}: expected vectors, found none")
    scores, ids = store.search([options.query], options.top)
    found = zip(scores[0], store.locations(ids[0]), store.texts(ids[0]), strict=True)
    for score, (path, line), text in found:
        print(f"{score:.3f}\t{sanitize(_shown(path))}:{line}\t{' '.join(text.split())}")


def _shown(path: Path) -> Path:
    """Return a path from the current folder, if it is in it."""
    return path.relative_to(here) if path.is_relative_to(here := Path.cwd()) else path
