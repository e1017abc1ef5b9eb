"""`minibert predict`: predict the labels of texts."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from minibert.cli.arguments import (
    add_column_arguments,
    add_prediction_arguments,
    prediction_options,
)
from minibert.cli.evaluate import load_labeller
from minibert.cli.labelled_files import pairs_of
from minibert.cli.output import print_long
from minibert.cli.text_input import read_texts
from minibert.data.records import Record
from minibert.data.tables import stream_records
from minibert.io.rows import take_block
from minibert.tasks.base import Task
from minibert.tokenization import PreTrainedTokenizer

BLOCK_ROWS = 4096  # rows that are predicted and printed at a time

DESCRIPTION = r"""
Prints one line per text: label, probability and text (and its second text), separated by tabs; or
one line per word: word and tag. A label with a tab or a line end is quoted as in CSV, and other
control characters are escaped, \x1b for example; JSON Lines contain them. Without texts and --file,
reads lines from standard input. Files may be larger than memory. A text that is longer than the
model is predicted over windows that overlap: its logits are their mean, and a word's tag is from
the window with the most context.
"""
EXAMPLE = 'minibert predict classifier "Return the sine of x, in radians."'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert predict`."""
    parser.set_defaults(log="stderr")
    parser.add_argument("model", type=Path, help="folder of a fine-tuned model")
    parser.add_argument("texts", nargs="*", help="texts")
    parser.add_argument(
        "--file",
        type=Path,
        help="a TSV, CSV, JSON Lines or CoNLL file; or a .txt file with one text on each line",
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=["tsv", "jsonl"],
        default="tsv",
        help="output format; JSON Lines contain the probabilities of all classes, or the entities "
        "with their positions (default: %(default)s)",
    )
    parser.add_argument(
        "--top",
        type=int,
        metavar="K",
        help="print the K most probable classes of each text, each with its probability",
    )
    add_prediction_arguments(parser)
    add_column_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Print a model's predictions for texts, in blocks of rows."""
    task, model, tokenizer = load_labeller(options.model, options.threshold)
    if options.top is not None:
        task.most_probable(np.zeros((0, len(task.names))), options.top)  # refuses it before reading
    long: list[int] = []  # an entry for each long text
    rows = _read_inputs(options, task, tokenizer)
    total = 0
    while block := take_block(rows, BLOCK_ROWS, lambda row: row[1]):
        records = [record for record, _ in block]
        texts, pairs = [record.text for record in records], pairs_of(records)
        total += len(block)
        stated = prediction_options(options)
        outputs = task.predict(model, tokenizer, texts, pairs, long=long, **stated)
        if options.form == "tsv":
            lines = task.format_text(texts, outputs, pairs, top=options.top)
        else:
            originals = [line for _, line in block]
            lines = task.format_json(texts, outputs, pairs, top=options.top, lines=originals)
        for line in lines:
            print(line)
    print_long(len(long), total, model.config.longest, options.truncate, sys.stderr)


def _read_inputs(
    options: argparse.Namespace, task: Task, tokenizer: PreTrainedTokenizer
) -> Iterator[tuple[Record, str]]:
    """Yield the rows to predict, and the line of each.

    Texts are split into words for a task on words.
    """
    if options.file and not options.texts:
        columns = options.text, options.label, options.pair
        rows: Iterable[Record] = stream_records(options.file, *columns)
    else:
        rows = (Record(text, None, None, n) for n, text in enumerate(read_texts(options), start=1))
    for row in rows:
        line = row.text if isinstance(row.text, str) else " ".join(row.text)
        if task.input_kind == "words" and isinstance(row.text, str):
            row = replace(row, text=tokenizer.words_of(row.text))
        elif task.input_kind == "texts" and not isinstance(row.text, str):
            raise ValueError(
                f"{options.file}: expected texts, because this model doesn't tag words"
            )
        yield row, line
