"""Tasks: labels, predictions, metrics and baselines."""

from minibert.tasks.base import Task
from minibert.tasks.classification import MultiLabelTask, SingleLabelTask
from minibert.tasks.examples import Examples
from minibert.tasks.metrics import (
    ClassificationMetrics,
    F1Metrics,
    Metrics,
    RegressionMetrics,
)
from minibert.tasks.registry import TASKS, guess_task, task_for
from minibert.tasks.regression import RegressionTask
from minibert.tasks.tagging import TaggingTask

__all__ = [
    "TASKS",
    "ClassificationMetrics",
    "Examples",
    "F1Metrics",
    "Metrics",
    "MultiLabelTask",
    "RegressionMetrics",
    "RegressionTask",
    "SingleLabelTask",
    "TaggingTask",
    "Task",
    "guess_task",
    "task_for",
]
