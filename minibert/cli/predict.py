"""`minibert predict`: predict the labels of texts."""

import argparse
from pathlib import Path

from minibert.cli.arguments import add_column_arguments
from minibert.cli.labelling import predict

DESCRIPTION = """
Prints one line per text: label, probability and text, separated by tabs; or one line per word:
word and tag. Without texts and --file, reads lines from standard input. Files may be larger than
memory.
"""
EXAMPLE = 'minibert predict classifier "Return the sine of x, in radians."'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert predict`."""
    parser.set_defaults(log="stderr")
    parser.add_argument("model", type=Path, help="folder of a fine-tuned model")
    parser.add_argument("texts", nargs="*", help="texts")
    parser.add_argument("--file", type=Path, help="a TSV, CSV, JSON Lines or CoNLL file")
    parser.add_argument(
        "--as",
        dest="form",
        choices=["tsv", "jsonl"],
        default="tsv",
        help="output format; JSON Lines contain the probabilities of all classes "
        "(default: %(default)s)",
    )
    add_column_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Predict the labels of texts and print them."""
    predict(options)
