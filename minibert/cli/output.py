"""Output to a terminal: progress, metrics and mistakes."""

import logging
import sys
from heapq import nlargest
from typing import Any, TextIO

from minibert.io.text import printable, sanitize
from minibert.tasks.base import Task, describe_long, one_line
from minibert.tasks.examples import Examples
from minibert.tasks.metrics import Metrics
from minibert.tokenization import PreTrainedTokenizer

log = logging.getLogger("minibert")

MAX_MISTAKES = 5  # printed


def is_interactive() -> bool:
    """Return whether stderr is a terminal, which can show a progress bar (bool)."""
    return sys.stderr.isatty()


def print_metrics(
    task: Task,
    model: Any,
    tokenizer: PreTrainedTokenizer,
    examples: Examples,
    *,
    truncate: bool = False,
    **options: Any,
) -> Metrics:
    """Print metrics, trivial baseline and the worst mistakes; return the metrics (`Metrics`).

    The number of long texts is printed first, if there are any.

    Args:
        task, model, tokenizer, truncate, options: as in `Task.predict`.
        examples (Examples): labelled texts.
    """
    long: list[int] = []
    outputs = task.predict(
        model, tokenizer, examples.texts, examples.pairs,
        truncate=truncate, long=long, progress=is_interactive(), **options,
    )  # fmt: skip
    print_long(len(long), len(examples), model.config.longest, truncate)
    metrics = task.metrics(examples.labels, outputs)
    print(metrics.table())
    print(f"{metrics}; {metrics.trivial_baseline()}")
    texts = examples.texts
    if examples.pairs is not None:
        texts = [f"{text} | {pair}" for text, pair in zip(texts, examples.pairs, strict=True)]
    mistakes = task.mistakes(texts, examples.labels, outputs)
    worst = nlargest(MAX_MISTAKES, mistakes, key=lambda mistake: mistake.severity)
    if worst:
        print(f"{task.mistakes_title}:")
    for severity, expected, predicted, text in worst:
        answers = printable(f"predicted {predicted}, expected {expected}")
        print(f"  {severity:.2f}  {answers}:  {one_line(text):.100}")
    return metrics


def report_scoring(task: Task) -> None:
    """Print what is scored where the labels leave a choice."""
    for note in task.scoring_notes():
        print(sanitize(note))


def report_truncated(
    task: Task, model: Any, tokenizer: PreTrainedTokenizer, examples: Examples
) -> None:
    """Log the number of texts that are too long to train on, if there are any."""
    longest = model.config.longest
    if count := task.count_truncated(tokenizer, examples.texts, examples.pairs, longest):
        log.info("%s", describe_long(count, len(examples), longest, truncated=True))


def print_long(
    count: int, total: int, longest: int, truncate: bool, file: TextIO | None = None
) -> None:
    """Print the number of texts that are longer than `longest` tokens, if it is not 0."""
    if count:
        print(describe_long(count, total, longest, truncate), file=file)
