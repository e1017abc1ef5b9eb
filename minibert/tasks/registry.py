"""The table of tasks, and the task of a model or of a file's labels."""

from collections.abc import Sequence
from typing import Any

from minibert.models import PreTrained
from minibert.tasks.base import InputKind, Task
from minibert.tasks.classification import MultiLabelTask, SingleLabelTask
from minibert.tasks.regression import RegressionTask
from minibert.tasks.tagging import TaggingTask

# By name. A task of your own may be added; `task_for` takes the last one that fits a model.
TASKS: dict[str, type[Task]] = {
    task.name: task for task in (SingleLabelTask, MultiLabelTask, RegressionTask, TaggingTask)
}


def task_for(model: PreTrained) -> Task:
    """Return the task (`Task`) that a trained model solves.

    The table's key is the name of the model's class, or of a class that it extends, together with
    the model's problem type.

    Raises:
        ValueError: the table has no task for the model, or its file had no valid class names.
    """
    if model.label_fault:
        raise ValueError(model.label_fault)
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
    """Guess the class of task from raw labels.

    >>> guess_task(["1", "2"], "texts").name, guess_task(["0.5", "2"], "texts").name
    ('classification', 'regression')

    Args:
        labels: raw labels, strings or lists of strings.
        input_kind: whether texts or words are labelled.
    """
    if input_kind == "words":
        return TaggingTask
    if any(isinstance(label, list) for label in labels):
        return MultiLabelTask
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return SingleLabelTask
    integers = all(number.is_integer() for number in numbers)
    return SingleLabelTask if integers else RegressionTask
