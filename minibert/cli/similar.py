"""`minibert similar`: find the lines that are most similar to a query."""

import argparse
from pathlib import Path

import numpy as np

from minibert.cli.arguments import MODEL_HELP
from minibert.cli.output import is_interactive
from minibert.cli.text_input import read_texts
from minibert.cli.vectors import add_vector_arguments, make_extractor

DESCRIPTION = """
Prints the cosine similarity and the line, most similar first.
"""
EXAMPLE = 'minibert similar tiny "how to sort a list" corpus/held_out.txt --layers -2'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert similar`."""
    parser.add_argument("model", type=Path, help=MODEL_HELP)
    parser.add_argument("query", help="a text")
    parser.add_argument("file", type=Path, nargs="+", help="text files, one text per line")
    parser.add_argument(
        "--top", type=int, default=5, help="number of lines to print (default: %(default)s)"
    )
    add_vector_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Print the lines with the highest cosine similarity to the query."""
    if options.top < 1:
        raise ValueError(f"top: expected at least 1, got {options.top}")
    extractor = make_extractor(options, normalize=True)  # the dot product is then the cosine
    texts = list(read_texts(options))
    query = extractor([options.query])[0]  # (D,)
    cosines = extractor(texts, progress=is_interactive()) @ query  # (S, D) @ (D,) -> (S,)
    for i in np.argsort(-cosines, kind="stable")[: options.top]:
        print(f"{cosines[i]:.3f}\t{' '.join(texts[i].split())}")
