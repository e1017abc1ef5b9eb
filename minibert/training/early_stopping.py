"""Early stopping: keep the weights of the best evaluation, and stop without progress."""

import os
from pathlib import Path
from typing import Any

from minibert.io.atomic import atomic_dir, atomic_remove
from minibert.models import PreTrained
from minibert.objectives.supervised import SCORE
from minibert.training.checkpoint import BEST
from minibert.training.history import read_history


class BestCheckpoint:
    """The weights of the best evaluation so far; of equal scores, the last one.

    With a run's folder, the weights are also stored there as `best-STEP`, and a resumed run reads
    the earlier scores from the folder's history. So it stops at the same step as an uninterrupted
    run.

    Args:
        model: the model whose weights are kept.
        patience: the number of evaluations without improvement after which to stop; None: never.
        run: the folder of the run; None: nothing is written.
        step: the number of steps done, of a resumed run.

    Attributes:
        step: the step of the best evaluation.
        score: its score; None before the first evaluation.
        outputs: its outputs for the held-out texts; None before, or if another process made it.
        evals_since_best: the number of evaluations after it.
    """

    def __init__(
        self,
        model: PreTrained,
        patience: int | None = None,
        run: str | os.PathLike | None = None,
        step: int = 0,
    ):
        self.model, self.patience = model, patience
        self.run = None if run is None else Path(run)
        self.step, self.evals_since_best = 0, 0
        self.score: float | None = None
        self.outputs: Any = None
        self._vector = model.params.vector.copy()
        if self.run and step:
            for line in read_history(self.run):
                if SCORE in line and line["step"] <= step:
                    self._record(line["step"], line[SCORE])
            if self._folder.exists():  # else a later evaluation was better, and will be repeated
                self._vector[:] = type(model).from_pretrained(self._folder).params.vector

    @property
    def _folder(self) -> Path:
        return Path(self.run or "") / f"{BEST}{self.step}"

    def _record(self, step: int, score: float) -> bool:
        """Count an evaluation; return whether it is the best so far."""
        is_best = self.score is None or score >= self.score
        if is_best:
            self.step, self.score = step, score
        self.evals_since_best = 0 if is_best else self.evals_since_best + 1
        return is_best

    def update(self, step: int, score: float, outputs: Any = None) -> None:
        """Record the score of the model's current weights.

        Keep the weights, and their outputs for the held-out texts, if it is the best.
        """
        if not self._record(step, score):
            return
        self.outputs = outputs
        self._vector[:] = self.model.params.vector
        if self.run:
            atomic_remove(self._folder)
            with atomic_dir(self._folder) as temporary:
                self.model.save_pretrained(temporary)
            for other in self.run.glob(f"{BEST}*"):
                if other != self._folder:
                    atomic_remove(other)

    def should_stop(self) -> bool:
        """Whether `patience` evaluations have passed without improvement."""
        return self.patience is not None and self.evals_since_best >= self.patience

    def restore(self) -> None:
        """Copy the best weights into the model."""
        self.model.params.vector[:] = self._vector
