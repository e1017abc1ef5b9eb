"""Optimizers, learning-rate schedules and gradient clipping."""

from minibert.optim.adamw import AdamW
from minibert.optim.base import Job, Optimizer, pieces, run_jobs, spans
from minibert.optim.clipping import clip_scale
from minibert.optim.schedule import linear_schedule

__all__ = [
    "AdamW",
    "Job",
    "Optimizer",
    "clip_scale",
    "linear_schedule",
    "pieces",
    "run_jobs",
    "spans",
]
