"""`minibert evaluate`: evaluate a model on labelled texts."""

import argparse
from pathlib import Path
from typing import Any

from minibert.cli.arguments import (
    add_column_arguments,
    add_prediction_arguments,
    prediction_options,
)
from minibert.cli.labelled_files import read_examples
from minibert.cli.output import print_metrics, report_long, report_scoring
from minibert.inference.cross_encoder import read_activation
from minibert.models.auto import class_for
from minibert.models.checkpoints import read_architectures
from minibert.models.table import bert_names
from minibert.tasks.base import Task, report_unseen
from minibert.tasks.registry import labelling_models, task_for
from minibert.tokenization import AutoTokenizer, PreTrainedTokenizer

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
    report_long(task, model, tokenizer, examples, options.truncate)
    print_metrics(task, model, tokenizer, examples, **prediction_options(options))


def load_labeller(
    folder: Path, threshold: float | None = None
) -> tuple[Task, Any, PreTrainedTokenizer]:
    """Load a fine-tuned model; return its task, the model and its tokenizer.

    Args:
        folder (Path): the model's folder, or its name on the hub.
        threshold (float): as in `Task.at_threshold`; None: that of the model.

    Raises:
        OSError, ValueError: the folder contains no model with a task, or the task has no threshold.
    """
    known = labelling_models()
    architectures = read_architectures(folder)
    named = bert_names(architectures)
    model_class = next((known[name] for name in known if name in named), None)
    if model_class is None:
        got = ", ".join(architectures) or "a model of an unknown kind"
        raise ValueError(
            f"{folder}: expected a model that labels texts or words, got {got}; "
            "minibert finetune makes one"
        )
    model = class_for(model_class, folder).from_pretrained(folder, strict=True)
    task = task_for(model).with_activation(read_activation(folder))
    if threshold is not None:
        task = task.at_threshold(threshold)
    return task, model, AutoTokenizer.from_pretrained(folder)
