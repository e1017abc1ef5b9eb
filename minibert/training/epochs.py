"""The history of a run by epochs: the mean training loss, and the latest held-out figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from minibert.io.html import Markup, curve, table
from minibert.objectives.supervised import SCORE


@dataclass(frozen=True, repr=False)
class TrainingHistory(Sequence[dict[str, Any]]):
    """A run's epochs, each a dict: `epoch`, `step`, `loss`, and the figures of an evaluation.

    `loss` is the mean of the epoch's steps. The figures, such as `held_out_accuracy` and
    `held_out_score`, by which the weights are chosen, are those of the epoch's last evaluation; an
    epoch without one has none. The last epoch of a run that stopped early may be incomplete.

    >>> lines = [{"step": 1, "loss": 0.75}, {"step": 2, "loss": 0.25}, {"step": 3, "loss": 0.125}]
    >>> history = TrainingHistory(lines, steps_per_epoch=2)
    >>> history[0], len(history)
    ({'epoch': 1, 'step': 2, 'loss': 0.5}, 2)
    >>> history
    TrainingHistory(2 epochs, loss 0.5 to 0.125)

    Args:
        lines: of the history, as `read_history` returns them.
        steps_per_epoch: the number of steps of one epoch.

    Raises:
        ValueError: the number of steps is below 1.
    """

    lines: list[dict[str, Any]]
    steps_per_epoch: int

    def __post_init__(self) -> None:
        """Check the number of steps."""
        if self.steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch: expected at least 1, got {self.steps_per_epoch}")

    @cached_property
    def _epochs(self) -> list[dict[str, Any]]:
        losses: dict[int, list[float]] = {}
        steps: dict[int, int] = {}
        figures: dict[int, dict[str, Any]] = {}
        for line in self.lines:
            epoch = max(math.ceil(line["step"] / self.steps_per_epoch), 1)
            if "loss" in line:
                losses.setdefault(epoch, []).append(line["loss"])
                steps[epoch] = line["step"]
            else:
                figures[epoch] = {name: value for name, value in line.items() if name != "step"}
        return [
            {"epoch": epoch, "step": steps[epoch], "loss": math.fsum(found) / len(found),
             **figures.get(epoch, {})}
            for epoch, found in sorted(losses.items())
        ]  # fmt: skip

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """Return an epoch (dict), or several (list); the first one has the index 0."""
        return self._epochs[index]

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self._epochs)

    def __repr__(self) -> str:
        """Return the number of epochs, and the first and the last figures."""
        parts = [f"{len(self)} epoch{'s' * (len(self) != 1)}"]
        for key, name in (("loss", "loss"), (SCORE, "held-out score")):
            found = [epoch[key] for epoch in self if key in epoch]
            if found:
                parts.append(f"{name} {found[0]:.4g} to {found[-1]:.4g}")
        return f"TrainingHistory({', '.join(parts)})"

    def _repr_html_(self) -> Markup:
        """Return curves and a table for a notebook."""
        columns = list(dict.fromkeys(name for epoch in self for name in epoch))
        shown = [name for name in ("loss", SCORE) if name in columns]
        curves = [curve(name, [epoch[name] for epoch in self if name in epoch]) for name in shown]
        rows = [[epoch.get(name, "") for name in columns] for epoch in self]
        return Markup(f"<div>{''.join(curves)}{table(columns, rows)}</div>")
