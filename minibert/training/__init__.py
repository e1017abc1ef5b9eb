"""Training: the optimizer, one step, the loop around it, and the two things it is used for."""

from minibert.training.engine import Engine, StepResult, split_batch
from minibert.training.evaluation import MaskedScore, unigram_score
from minibert.training.finetune import (
    Examples,
    evaluate_classifier,
    predict_proba,
    train_classifier,
)
from minibert.training.loop import Interrupted, Settings, train
from minibert.training.optimizer import AdamW, linear_schedule
from minibert.training.pretrain import train_masked_lm

__all__ = [
    "AdamW",
    "Engine",
    "Examples",
    "Interrupted",
    "MaskedScore",
    "Settings",
    "StepResult",
    "evaluate_classifier",
    "linear_schedule",
    "predict_proba",
    "split_batch",
    "train",
    "train_classifier",
    "train_masked_lm",
    "unigram_score",
]
