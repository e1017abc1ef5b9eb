"""`minibert similar`: find the lines nearest to a query."""

import argparse

import numpy as np

from minibert.cli.input import lines_of
from minibert.cli.output import interactive
from minibert.cli.vectors import make_extractor


def run(options: argparse.Namespace) -> None:
    """Print the lines whose vectors have the directions nearest to the query's."""
    if options.top < 1:
        raise ValueError(f"top: expected at least 1, got {options.top}")
    options.normalize = True  # a product of two vectors is their cosine then
    extractor = make_extractor(options)
    texts = list(lines_of(options))
    query = extractor([options.query])[0]  # (D,)
    cosines = extractor(texts, progress=interactive()) @ query  # (S, D) @ (D,) -> (S,)
    for i in np.argsort(-cosines, kind="stable")[: options.top]:
        print(f"{cosines[i]:.3f}\t{' '.join(texts[i].split())}")
