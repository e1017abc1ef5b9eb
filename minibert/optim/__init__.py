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
from minibert.optim.muon import Muon, hidden_matrices, orthogonalize
from minibert.optim.schedule import (
    SCHEDULES,
    Schedule,
    cosine_schedule,
    linear_schedule,
    trapezoid_schedule,
    triangle_schedule,
)

__all__ = [
    "SCHEDULES",
    "AdamW",
    "Job",
    "Muon",
    "Optimizer",
    "OptimizerFactory",
    "Schedule",
    "clip_scale",
    "cosine_schedule",
    "hidden_matrices",
    "linear_schedule",
    "made_optimizer",
    "orthogonalize",
    "pieces",
    "run_jobs",
    "spans",
    "trapezoid_schedule",
    "triangle_schedule",
]
