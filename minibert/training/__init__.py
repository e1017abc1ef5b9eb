"""Training: the optimizer, one step, the loop around it, and the two things it is used for."""

from minibert.training.engine import Engine, StepResult, split_batch
from minibert.training.evaluation import MaskedScore, unigram_score
from minibert.training.finetune import Examples, FineTuning, evaluate, fine_tune, optimizer_for
from minibert.training.loop import Interrupted, Settings, train
from minibert.training.optimizer import AdamW, linear_schedule
from minibert.training.pretrain import train_masked_lm
from minibert.training.tasks import TASKS, Numbers, OneLabel, SeveralLabels, Tags, Task, task_of

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
