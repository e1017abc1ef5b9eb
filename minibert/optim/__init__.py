"""Optimizers, learning-rate schedules and gradient clipping."""

from minibert.optim.adamw import AdamW
from minibert.optim.base import (
    Job,
    Optimizer,
    OptimizerFactory,
    made_optimizer,
    pieces,
    run_jobs,
    spans,
)
from minibert.optim.clipping import clip_scale
from minibert.optim.schedule import linear_schedule

__all__ = [
    "AdamW",
    "Job",
    "Optimizer",
    "OptimizerFactory",
    "clip_scale",
    "linear_schedule",
    "made_optimizer",
    "pieces",
    "run_jobs",
    "spans",
]
