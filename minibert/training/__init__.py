"""Training: the optimizer, one step, the loop around it, pre-training and fine-tuning."""

from minibert.objectives.evaluation import MaskedScore, unigram_score
from minibert.optim.adamw import AdamW, linear_schedule
from minibert.training.engine import Engine, StepResult, split_batch
from minibert.training.finetuning import FineTuning, evaluate, fine_tune, optimizer_for
from minibert.training.loop import Interrupted, Settings, train
from minibert.training.pretraining import train_masked_lm

__all__ = [
    "AdamW",
    "Engine",
    "FineTuning",
    "Interrupted",
    "MaskedScore",
    "Settings",
    "StepResult",
    "evaluate",
    "fine_tune",
    "linear_schedule",
    "optimizer_for",
    "split_batch",
    "train",
    "train_masked_lm",
    "unigram_score",
]
