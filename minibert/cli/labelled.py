"""Labelled examples from files, and metrics printed: shared by finetune, evaluate and predict."""

from collections.abc import Sequence
from heapq import nlargest
from pathlib import Path
from typing import Any, TextIO

import minibert.training  # noqa: F401  first, until objectives.evaluation does not import it
from minibert.cli.shared import interactive
from minibert.data.conll import CONLL
from minibert.data.tables import Row, read_rows
from minibert.tasks.base import InputKind, Task, one_line
from minibert.tasks.examples import Examples
from minibert.tasks.metrics import Metrics
from minibert.tokenization import WordPieceTokenizer

MAX_MISTAKES = 5  # printed


def read_examples(task: Task, path: Path, *columns: str | None) -> Examples:
    """Read labelled examples (`Examples`) for a task.

    Args:
        task: the meaning of the labels.
        path: the file.
        columns: the names of the columns of text, label and second text; None: guessed.

    Raises:
        OSError, ValueError: as `read_rows`, or a label does not fit the task.
    """
    require_input_kind(type(task), path)
    rows = read_rows(path, *columns, labelled=True)
    labels = parse_labels(type(task), rows, path, task)
    return Examples([row.text for row in rows], pairs_of(rows), labels)


def require_input_kind(task_class: type[Task], path: Path) -> None:
    """Raise ValueError unless a file contains the task's input: texts, or words."""
    if task_class.input_kind != input_kind_of(path):
        raise ValueError(
            f"{path}: words are tagged in files that end in {', '.join(CONLL)}, texts labelled in "
            f"others, and this model is for {task_class.input_kind}"
        )


def input_kind_of(path: Path) -> InputKind:
    """Return the kind of input in a file by its extension: "texts" or "words"."""
    return "words" if path.suffix.lower() in CONLL else "texts"


def parse_labels(
    task_class: type[Task], rows: Sequence[Row], path: Path, task: Task | None = None
) -> list[Any]:
    """Return the parsed labels of all rows.

    Args:
        task_class: parses the labels.
        rows: rows with raw labels.
        path: the file, named in errors.
        task: must know the labels; None: any label is accepted.

    Raises:
        ValueError: a label does not fit the task; the message names the line.
    """
    labels = []
    for row in rows:
        try:
            label = task_class.parse(row.label)
            if task is not None:
                task.encode_label(label)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {row.line}: {error}") from None
        labels.append(label)
    return labels


def pairs_of(rows: Sequence[Row]) -> list[str] | None:
    """Return the second texts (list of str); None without second texts."""
    return [row.pair or "" for row in rows] if rows and rows[0].pair is not None else None


def print_metrics(
    task: Task,
    model: Any,
    tokenizer: WordPieceTokenizer,
    examples: Examples,
    threads: int | None = None,
) -> Metrics:
    """Print metrics, trivial baseline and the worst mistakes; return the metrics (`Metrics`)."""
    outputs = task.predict(
        model, tokenizer, examples.texts, examples.pairs, threads=threads, progress=interactive()
    )
    metrics = task.metrics(examples.labels, outputs)
    print(metrics.table())
    print(f"{metrics}; {metrics.trivial_baseline()}")
    mistakes = task.mistakes(examples.texts, examples.labels, outputs)
    worst = nlargest(MAX_MISTAKES, mistakes, key=lambda mistake: mistake.severity)
    if worst:
        print(f"{task.mistakes_title}:")
    for severity, expected, predicted, text in worst:
        print(f"  {severity:.2f}  predicted {predicted}, expected {expected}:  "
              f"{one_line(text):.100}")  # fmt: skip
    return metrics


def report_truncated(
    task: Task, model: Any, tokenizer: WordPieceTokenizer, examples: Examples
) -> None:
    """Print the number of texts that are too long for the model, if there are any."""
    longest = model.config.max_position_embeddings
    count = task.count_truncated(tokenizer, examples.texts, examples.pairs, longest)
    print_truncated(count, len(examples), longest)


def print_truncated(count: int, total: int, longest: int, file: TextIO | None = None) -> None:
    """Print the number of texts that are longer than `longest` tokens, if it is not 0."""
    if count:
        message = f"{count:,} of {total:,} texts are longer than {longest} tokens and are cut"
        print(message, file=file)
