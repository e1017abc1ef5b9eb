"""`minibert evaluate`: evaluate a model on labelled texts."""

import argparse
from pathlib import Path

from minibert.cli.arguments import add_column_arguments
from minibert.cli.labelling import evaluate

DESCRIPTION = """
Reads TSV, CSV, JSON Lines or CoNLL files.
"""
EXAMPLE = "minibert evaluate classifier corpus/labelled/test.tsv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert evaluate`."""
    parser.add_argument("model", type=Path, help="folder of a fine-tuned model")
    parser.add_argument("file", type=Path, help="file with labelled texts")
    add_column_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Evaluate a model on labelled texts and print the metrics."""
    evaluate(options)
