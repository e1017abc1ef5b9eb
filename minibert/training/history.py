"""The history of a run: one JSON line per step and per evaluation, and its plot."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from minibert.io.atomic import atomic_write, own_file, path_in_errors
from minibert.io.json import parse_json
from minibert.io.outputs import ensure_output, output_file

HISTORY = "history.jsonl"
SMOOTHING = 0.95  # of the plotted training loss: weight of the previous mean


class History:
    """Writes `history.jsonl` in the folder of a run, each line immediately.

    Args:
        run: the folder; None: nothing is written.
        step: the step after which the run continues; lines of later steps are removed.
        lines: receives each line, also those that a resumed run has written before; None: none.
    """

    def __init__(
        self,
        run: str | os.PathLike[str] | None,
        step: int = 0,
        lines: list[dict[str, Any]] | None = None,
    ):
        self.file: TextIO | None = None
        self.lines = lines
        self._evaluated: set[int] = set()
        if run is None:
            return
        self.path = path = Path(run) / HISTORY
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            kept = [line for line in read_history(run) if line["step"] <= step]
            write_history(run, kept)
            self._evaluated = {line["step"] for line in kept if "loss" not in line}
            if lines is not None:
                lines += kept
        opened = own_file(str(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.file = os.fdopen(opened, "a", encoding="utf-8", buffering=1)

    def evaluated(self, step: int) -> bool:
        """Return whether the file contains an evaluation after this step (bool)."""
        return step in self._evaluated

    def write(self, step: int, **figures: float) -> None:
        """Write one line.

        Args:
            step: number of the step, from 1; 0 for an evaluation before the first.
            figures: numbers by name.
        """
        line = {"step": step, **figures}
        if self.lines is not None:
            self.lines.append(line)
        if self.file is not None:
            with path_in_errors(self.path):
                self.file.write(_line(line))

    def flush(self) -> None:
        """Write the lines to the disk, before what counts on them: a checkpoint, the best model."""
        if self.file is not None:
            with path_in_errors(self.path):
                self.file.flush()
                os.fsync(self.file.fileno())

    def close(self) -> None:
        """Write the lines to the disk and close the file."""
        if self.file is not None:
            try:
                self.flush()
            finally:
                with path_in_errors(self.path):
                    self.file.close()


def _line(figures: Mapping[str, Any]) -> str:
    return json.dumps(figures) + "\n"


def write_history(run: str | os.PathLike[str], lines: Iterable[Mapping[str, Any]]) -> None:
    """Write the lines of a history to the folder of a run, instead of those that it has.

    Raises:
        OSError: the file can't be written; an existing one is left as it is.
    """
    with atomic_write(Path(run) / HISTORY) as temporary:
        temporary.write_text("".join(map(_line, lines)), "utf-8")


def read_history(run: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the lines of a run's history (list); an incomplete last line is ignored.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: a line is invalid; the message contains its number.
    """
    path = Path(run) / HISTORY
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a run writes its history to it")
    with path_in_errors(path):
        whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [_figures(line, f"{path}, line {n}") for n, line in enumerate(whole.splitlines(), 1)]


def _figures(line: bytes, where: str) -> dict[str, Any]:
    try:
        figures = parse_json(line)
        numbers = all(type(figure) in (int, float) for figure in figures.values())
    except (ValueError, AttributeError):
        numbers = False
    if not numbers or type(figures.get("step")) is not int:
        raise ValueError(f"{where}: expected a step and figures in JSON")
    return figures


def draw(run: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Plot the losses, the baseline, the learning rate and the speed of a run.

    Args:
        run: the folder of the run.
        out: the file to write, whose name ends in .svg or .png.

    Raises:
        ModuleNotFoundError: matplotlib is missing.
        ValueError: the history is empty, or the name has another ending.
    """
    out = Path(out)
    if out.suffix not in (".svg", ".png"):
        raise ValueError(f"{out}: expected a name that ends in .svg or .png")
    ensure_output(out)
    lines = read_history(run)
    steps = [line for line in lines if "loss" in line]
    if not steps:
        raise ValueError(f"{Path(run) / HISTORY}: expected at least one step to draw, got none")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ModuleNotFoundError("drawing needs matplotlib: the extra minibert[plot]") from None
    figure = Figure(figsize=(8, 9), layout="constrained")
    losses, rate, speed = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
    numbers = [line["step"] for line in steps]
    _draw_losses(losses, lines, steps)
    rate.plot(numbers, [line["rate"] for line in steps])
    rate.set_ylabel("learning rate")
    speed.plot(numbers, _smoothed([line["tokens_per_second"] for line in steps]))
    speed.set_ylabel("tokens/s")
    speed.set_xlabel("step")
    with output_file(out) as temporary:
        figure.savefig(temporary, format=out.suffix[1:])


def _draw_losses(axes: Any, lines: list[dict[str, Any]], steps: list[dict[str, Any]]) -> None:
    """Plot the training loss and, if present, the held-out loss and its baseline."""
    losses = _smoothed([line["loss"] for line in steps])
    axes.plot([line["step"] for line in steps], losses, label="training, smoothed")
    held_out, baseline = (
        [(line["step"], line[name]) for line in lines if name in line]
        for name in ("held_out_loss", "yardstick_loss")
    )
    if held_out:
        axes.plot(*zip(*held_out, strict=True), "o-", label="held out")
    if baseline:
        axes.axhline(baseline[0][1], linestyle="--", color="grey", label="unigram baseline")
    axes.set_ylabel("loss, nats")
    axes.legend()


def _smoothed(values: list[float]) -> list[float]:
    """Return the exponential moving average of values (list of float)."""
    out: list[float] = []
    mean = None
    for value in values:
        mean = value if mean is None else SMOOTHING * mean + (1 - SMOOTHING) * value
        out.append(mean)
    return out
