"""The best weights of a run so far, and when to give up hope of better ones."""

import os
from pathlib import Path

from minibert.files import creating, discard
from minibert.models import PreTrained
from minibert.training.history import read_history

SCORE = "held_out_score"  # its name in the history; more is better


class Best:
    """Keeps the weights of the best evaluation; of equal ones, of the last.

    With a folder they stand there too, as `best-STEP`, and what came before step `step` is read
    from the folder's history: a run that is taken up again stops where it would have stopped.

    Args:
        model: whose weights are kept.
        patience: evaluations without a better one after which it is enough; None: it never is.
        run: the folder of the run; None: nothing is written.
        step: the run goes on after this one.

    Attributes:
        step, score: of the best evaluation; the score is None before the first.
        since: how many evaluations came after it.
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
        self.step, self.score, self.since = 0, None, 0
        self._vector = model.params.vector.copy()
        if self.run and step:
            for line in read_history(self.run):
                if SCORE in line and line["step"] <= step:
                    self._count(line["step"], line[SCORE])
            if self._folder.exists():  # if not, a better one came later, and will come again
                self._vector[:] = type(model).from_pretrained(self._folder).params.vector

    @property
    def _folder(self):
        return Path(self.run or "") / f"best-{self.step}"

    def _count(self, step, score):
        better = self.score is None or score >= self.score
        if better:
            self.step, self.score = step, score
        self.since = 0 if better else self.since + 1
        return better

    def see(self, step: int, score: float) -> None:
        """Take note of an evaluation of the model as it is now."""
        if not self._count(step, score):
            return
        self._vector[:] = self.model.params.vector
        if self.run:
            discard(self._folder)
            with creating(self._folder) as temporary:
                self.model.save_pretrained(temporary)
            for other in self.run.glob("best-*"):
                if other != self._folder:
                    discard(other)

    def enough(self) -> bool:
        """Whether there was nothing better for so long that it is time to stop."""
        return self.patience is not None and self.since >= self.patience

    def restore(self) -> None:
        """Give the model its best weights."""
        self.model.params.vector[:] = self._vector
