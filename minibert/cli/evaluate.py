"""`minibert evaluate`: evaluate a model on labelled texts."""

import argparse
from pathlib import Path

from minibert.cli.arguments import (
    add_column_arguments,
    add_prediction_arguments,
    prediction_options,
)
from minibert.cli.labelled_files import read_examples
from minibert.cli.output import print_metrics, report_scoring
from minibert.tasks.base import report_unseen
from minibert.tasks.folders import load_labeller

DESCRIPTION = """
Reads TSV, CSV, JSON Lines or CoNLL files.
"""
EXAMPLE = "minibert evaluate classifier corpus/labelled/test.tsv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert evaluate`."""
    parser.add_argument("model", type=Path, help="folder of a fine-tuned model")
    parser.add_argument("file", type=Path, help="file with labelled texts")
    add_prediction_arguments(parser)
    add_column_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Print the metrics of a model on labelled examples."""
    task, model, tokenizer = load_labeller(options.model, options.threshold)
    examples = read_examples(task, options.file, options)
    report_scoring(task)
    report_unseen(task.count_unseen(examples.labels), options.file)
    print_metrics(task, model, tokenizer, examples, **prediction_options(options))
