"""Arguments and feature extractor that `embed` and `similar` share."""

import argparse
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import numpy as np

from minibert.cli.output import is_interactive
from minibert.inference.features import Combination, FeatureExtractor, Pooling
from minibert.io.rows import take_block

STORE = ".store"  # ending of the name of a store's folder
TEXTS_PER_BLOCK = 8192  # whose vectors are in memory at a time


def add_vector_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that describe a text's vector."""
    group = parser.add_argument_group("vectors")
    group.add_argument(
        "--pooling",
        choices=get_args(Pooling),
        help="how to pool the tokens' vectors (default: the model's own pooling, or mean)",
    )
    group.add_argument(
        "--layers",
        type=_layer,
        nargs="+",
        metavar="N",
        help="layers to read: 0 is the embeddings, -1 the last block (default: -1)",
    )
    group.add_argument(
        "--combine",
        choices=get_args(Combination),
        help="how to combine several layers (default: concat)",
    )
    add_max_length_argument(group)


def add_max_length_argument(group: argparse._ArgumentGroup) -> None:
    """Add the argument that tells where texts are cut."""
    group.add_argument(
        "--max-length",
        type=int,
        help="maximum length in tokens; longer texts are truncated (default: the model's own "
        "maximum, or its number of positions)",
    )


def _layer(text: str) -> int:
    """Return the number of a layer (int); a text after `--layers` is refused with a hint."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected numbers, got {text!r}; a text comes before --layers, or after --"
        ) from None


def make_extractor(options: argparse.Namespace, *, normalize: bool) -> FeatureExtractor:
    """Return the feature extractor (FeatureExtractor) that the options describe.

    Options that are not given are read from the model's folder, if it states them.
    """
    given = given_options(options)
    if normalize:
        given["normalize"] = True
    return FeatureExtractor.from_pretrained(options.model, **given)


def embed_blocks(
    texts: Iterable[str], extractor: FeatureExtractor
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield blocks of texts with their vectors (S, D)."""
    texts = iter(texts)
    while block := take_block(texts, TEXTS_PER_BLOCK):
        yield block, extractor(block, progress=is_interactive())


def given_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a text's vector that the command has and that are given (dict)."""
    names = ("pooling", "layers", "combine", "max_length")
    found = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}
