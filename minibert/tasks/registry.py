"""The table of tasks, and the task of a model or of a file's labels."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from minibert.models import PreTrained
from minibert.tasks.base import InputKind, Task
from minibert.tasks.classification import MultiLabelTask, SingleLabelTask
from minibert.tasks.regression import RegressionTask
from minibert.tasks.tagging import TaggingTask

DECIMAL = re.compile(r"\s*[+-]?\d+(,\d+)?\s*")  # a number that may have a decimal comma

# By name. A task of your own may be added; `task_for` takes the last one that fits a model.
TASKS: dict[str, type[Task]] = {
    task.name: task for task in (SingleLabelTask, MultiLabelTask, RegressionTask, TaggingTask)
}


def task_for(model: PreTrained) -> Task:
    """Return the task (`Task`) that a trained model solves.

    The table's key is the name of the model's class, or of a class that it extends, together with
    the model's problem type.

    Raises:
        ValueError: the table has no task for the model.
    """
    names = [name for _, name in sorted((model.config.id2label or {}).items())]
    table = {(task.model_class.__name__, task.problem_type): task for task in TASKS.values()}
    for model_class in type(model).__mro__:
        task = table.get((model_class.__name__, getattr(model, "problem", None)))
        if task is not None:
            return task(names)
    raise ValueError(f"expected a classifier or a tagger, got {type(model).__name__}")


def labelling_models() -> dict[str, type[PreTrained]]:
    """Return the model classes that have a task, by their names."""
    return {task.model_class.__name__: task.model_class for task in TASKS.values()}


def guess_task(labels: Sequence[Any], input_kind: InputKind) -> type[Task]:
    """Guess the class of task from raw labels; None is an empty label.

    Strings are read as several labels with commas between them if each part of such a string
    occurs in another label as well.

    >>> guess_task(["1", "2"], "texts").name, guess_task(["0.5", "2"], "texts").name
    ('classification', 'regression')
    >>> guess_task(["red", "big, red", "big"], "texts").name
    'multi-label'

    Args:
        labels: raw labels, strings or lists of strings.
        input_kind: whether texts or words are labelled.

    Raises:
        ValueError: the commas may separate labels or decimals.
    """
    if input_kind == "words":
        return TaggingTask
    if any(isinstance(label, list) for label in labels):
        return MultiLabelTask
    given = [label for label in labels if label is not None]
    if _has_lists_with_commas(given):
        return MultiLabelTask
    try:
        numbers = [float(label) for label in given]
    except ValueError:
        return SingleLabelTask
    integers = all(number.is_integer() for number in numbers)
    return SingleLabelTask if integers else RegressionTask


def _has_lists_with_commas(labels: Sequence[str]) -> bool:
    """Whether strings are lists of labels: each part of one with a comma occurs in another one."""
    parsed = {label: MultiLabelTask.parse(label) for label in {*labels}}
    lists = {label: parts for label, parts in parsed.items() if "," in label}
    if lists and all(DECIMAL.fullmatch(label) for label in labels):
        raise ValueError(
            f"labels as {min(lists)!r} may be one number or two labels; write decimals with a "
            "point, or name the task with --task"
        )
    occurrences = Counter(part for parts in parsed.values() for part in {*parts})
    return bool(lists) and all(occurrences[part] > 1 for parts in lists.values() for part in parts)
