"""Training: the optimizer, one step, the loop around it, and the two things it is used for."""

from minibert.objectives.evaluation import MaskedScore, unigram_score
from minibert.optim.adamw import AdamW, linear_schedule
from minibert.tasks.tasks import TASKS, Numbers, OneLabel, SeveralLabels, Tags, Task, task_of
from minibert.training.engine import Engine, StepResult, split_batch
from minibert.training.finetuning import Examples, FineTuning, evaluate, fine_tune, optimizer_for
from minibert.training.loop import Interrupted, Settings, train
from minibert.training.pretraining import train_masked_lm

__all__ = [
    "TASKS",
    "AdamW",
    "Engine",
    "Examples",
    "FineTuning",
    "Interrupted",
    "MaskedScore",
    "Numbers",
    "OneLabel",
    "Settings",
    "SeveralLabels",
    "StepResult",
    "Tags",
    "Task",
    "evaluate",
    "fine_tune",
    "linear_schedule",
    "optimizer_for",
    "split_batch",
    "task_of",
    "train",
    "train_masked_lm",
    "unigram_score",
]
