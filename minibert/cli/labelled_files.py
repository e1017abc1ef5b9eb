"""Labelled examples from files, for finetune, evaluate and predict."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minibert.data.conll import CONLL
from minibert.data.tables import Record, read_records
from minibert.tasks.base import InputKind, Task
from minibert.tasks.examples import Examples


def read_examples(task: Task, path: Path, *columns: str | None) -> Examples:
    """Read labelled examples (`Examples`) for a task.

    Args:
        task (Task): meaning of the labels.
        path (Path): a TSV, CSV, JSON Lines or CoNLL file.
        columns (str or None): names of the columns of text, label and second text; None: detected.

    Raises:
        OSError, ValueError: as `read_records`, or a label does not fit the task.
    """
    require_input_kind(type(task), path)
    rows = read_records(path, *columns, labelled=True)
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
    task_class: type[Task], rows: Sequence[Record], path: Path, task: Task | None = None
) -> list[Any]:
    """Return the parsed labels of all rows.

    Args:
        task_class (class): parses the labels.
        rows (sequence of Record): rows with raw labels.
        path (Path): the file, named in errors.
        task (Task or None): must know the labels; None: any label is accepted.

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


def pairs_of(rows: Sequence[Record]) -> list[str] | None:
    """Return the second texts (list of str); None without second texts."""
    return [row.pair or "" for row in rows] if rows and rows[0].pair is not None else None
