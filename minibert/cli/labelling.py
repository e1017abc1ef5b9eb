"""The commands that apply a fine-tuned model: evaluate, predict."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from minibert.cli.labelled import (
    pairs_of,
    print_metrics,
    print_truncated,
    read_examples,
    report_truncated,
)
from minibert.cli.shared import lines_of
from minibert.data.tables import Row, stream_rows
from minibert.models.checkpoints import read_architectures
from minibert.tasks.base import Task
from minibert.tasks.registry import labelling_models, task_for
from minibert.tokenization import WordPieceTokenizer

BLOCK_ROWS = 4096  # rows that are predicted and printed at a time


def evaluate(options: argparse.Namespace) -> None:
    """Print the metrics of a model on labelled examples."""
    task, model, tokenizer = load_labeller(options.model)
    examples = read_examples(task, options.file, options.text, options.label, options.pair)
    report_truncated(task, model, tokenizer, examples)
    print_metrics(task, model, tokenizer, examples)


def predict(options: argparse.Namespace) -> None:
    """Print a model's predictions for texts, in blocks of rows."""
    task, model, tokenizer = load_labeller(options.model)
    longest = model.config.max_position_embeddings
    rows = _read_inputs(options, task, tokenizer)
    format_lines = task.format_json if options.form == "jsonl" else task.format_text
    truncated = total = 0
    while block := list(islice(rows, BLOCK_ROWS)):
        texts: list[Any] = [row.text for row in block]
        pairs = pairs_of(block)
        truncated += task.count_truncated(tokenizer, texts, pairs, longest)
        total += len(block)
        for line in format_lines(texts, task.predict(model, tokenizer, texts, pairs)):
            print(line)
    print_truncated(truncated, total, longest, sys.stderr)


def _read_inputs(
    options: argparse.Namespace, task: Task, tokenizer: WordPieceTokenizer
) -> Iterator[Row]:
    """Yield the rows to predict; texts are split into words for a task on words."""
    if options.file and not options.texts:
        rows: Iterable[Row] = stream_rows(options.file, options.text, options.label, options.pair)
    else:
        rows = (Row(text, None, None, n) for n, text in enumerate(lines_of(options), start=1))
    for row in rows:
        if task.input_kind == "words" and isinstance(row.text, str):
            row = replace(row, text=tokenizer.words_of(row.text))
        elif task.input_kind == "texts" and not isinstance(row.text, str):
            raise ValueError(
                f"{options.file}: expected texts, because this model doesn't tag words"
            )
        yield row


def load_labeller(folder: Path) -> tuple[Task, Any, WordPieceTokenizer]:
    """Load a fine-tuned model; return its task, the model and its tokenizer.

    Args:
        folder: the model's folder, or its name on the hub.

    Raises:
        OSError, ValueError: the folder contains no model with a task.
    """
    known = labelling_models()
    architectures = read_architectures(folder)
    model_class = next((known[name] for name in known if name in architectures), None)
    if model_class is None:
        got = ", ".join(architectures) or "a model of an unknown kind"
        raise ValueError(
            f"{folder}: expected a model that labels texts or words, got {got}; "
            "minibert finetune makes one"
        )
    model = model_class.from_pretrained(folder, strict=True)
    return task_for(model), model, WordPieceTokenizer.from_pretrained(folder)
