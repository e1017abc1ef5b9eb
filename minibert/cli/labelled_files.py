"""Labelled examples from files, for finetune, evaluate and predict."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minibert.data.records import Record
from minibert.data.tables import read_records
from minibert.tasks.base import InputKind, Task
from minibert.tasks.examples import Examples


def read_labelled(path: Path, options: argparse.Namespace) -> list[Record]:
    """Read the records of a file; a label may be None, which the task accepts or refuses.

    Args:
        path (Path): a TSV, CSV, JSON Lines or CoNLL file.
        options (Namespace): with the names of the columns: text, label and pair; None: detected.

    Raises:
        OSError, ValueError: as `read_records`.
    """
    columns = options.text, options.label, options.pair
    return read_records(path, *columns, labelled=True, may_be_empty=True)


def read_examples(task: Task, path: Path, options: argparse.Namespace) -> Examples:
    """Read labelled examples (`Examples`) for a task.

    Args:
        task (Task): meaning of the labels.
        path, options: as in `read_labelled`.

    Raises:
        OSError, ValueError: as `read_labelled`, or a label does not fit the task.
    """
    rows = read_labelled(path, options)
    require_input_kind(type(task), rows, path)
    labels = parse_labels(type(task), rows, path, task)
    return Examples([row.text for row in rows], pairs_of(rows), labels)


def require_input_kind(task_class: type[Task], rows: Sequence[Record], path: Path) -> None:
    """Raise ValueError unless the rows of a file are the task's input: texts, or words."""
    if task_class.input_kind != input_kind_of(rows):
        found = {"texts": "texts are labelled", "words": "words are tagged"}[input_kind_of(rows)]
        raise ValueError(f"{path}: {found} in this file, and this model is for "
                         f"{task_class.input_kind}")  # fmt: skip


def input_kind_of(rows: Sequence[Record]) -> InputKind:
    """Return the kind of input in the rows of a file: "texts" or "words"."""
    return "words" if isinstance(rows[0].text, list) else "texts"


def parse_labels(
    task_class: type[Task], rows: Sequence[Record], path: Path, task: Task | None = None
) -> list[Any]:
    """Return the parsed labels of all rows.

    Args:
        task_class (class): parses the labels.
        rows (sequence of Record): rows with raw labels.
        path (Path): the file, named in errors.
        task (Task or None): encodes the labels that it knows, to check them.

    Raises:
        ValueError: a label does not fit the task; the message names the line.
    """
    labels = []
    for row in rows:
        try:
            label = task_class.parse(row.label)
            if task is not None and not task.count_unseen([label]):
                task.encode_label(label)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {row.line}: {error}") from None
        labels.append(label)
    return labels


def pairs_of(rows: Sequence[Record]) -> list[str] | None:
    """Return the second texts (list of str); None without second texts."""
    return [row.pair or "" for row in rows] if rows and rows[0].pair is not None else None
