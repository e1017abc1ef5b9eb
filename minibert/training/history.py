"""What a run went through: a line of JSON for each step and evaluation, and the curves of it."""

import json
import os
from pathlib import Path
from typing import Any

from minibert.files import parse_json, replacing

HISTORY = "history.jsonl"
SMOOTH = 0.95  # of the drawn training loss: each step counts for a twentieth


class History:
    """Writes `history.jsonl` in a run's folder, each line at once.

    Args:
        run: the folder; None: nothing is written.
        step: the run goes on after this one; what was written of later ones is dropped.
    """

    def __init__(self, run: str | os.PathLike | None, step: int = 0):
        self.file = None
        self._evaluated: set[int] = set()
        if run is None:
            return
        path = Path(run) / HISTORY
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            kept = [line for line in read_history(run) if line["step"] <= step]
            with replacing(path) as temporary:
                temporary.write_text("".join(map(_line, kept)), "utf-8")
            self._evaluated = {line["step"] for line in kept if "loss" not in line}
        self.file = path.open("a", encoding="utf-8", buffering=1)

    def evaluated(self, step: int) -> bool:
        """Whether there is a line of an evaluation after this step."""
        return step in self._evaluated

    def write(self, step: int, **figures: float) -> None:
        """Add a line."""
        if self.file is not None:
            self.file.write(_line({"step": step, **figures}))

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()


def _line(figures):
    return json.dumps(figures) + "\n"


def read_history(run: str | os.PathLike) -> list[dict[str, Any]]:
    """Return the lines of a run's history; a last one that was cut off by a crash is left out.

    Raises:
        FileNotFoundError: there is no history.
        ValueError: a line is broken; the message names it.
    """
    path = Path(run) / HISTORY
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a run writes its history there")
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [_figures(line, f"{path}, line {n}") for n, line in enumerate(whole.splitlines(), 1)]


def _figures(line, where):
    try:
        figures = parse_json(line)
        numbers = all(type(figure) in (int, float) for figure in figures.values())
    except (ValueError, AttributeError):
        numbers = False
    if not numbers or type(figures.get("step")) is not int:
        raise ValueError(f"{where}: expected a step and figures in JSON")
    return figures


def draw(run: str | os.PathLike, out: str | os.PathLike) -> None:
    """Draw a run's losses with their yardsticks, its learning rate and its speed.

    Args:
        run: the folder.  out: a file whose name ends in .svg or .png.

    Raises:
        ModuleNotFoundError: matplotlib is missing.
        ValueError: the history is empty, or the name ends otherwise.
    """
    out = Path(out)
    if out.suffix not in (".svg", ".png"):
        raise ValueError(f"{out}: expected a name that ends in .svg or .png")
    lines = read_history(run)
    steps = [line for line in lines if "loss" in line]
    if not steps:
        raise ValueError(f"{Path(run) / HISTORY}: no step yet, so there is nothing to draw")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ModuleNotFoundError("drawing needs matplotlib: the extra minibert[plot]") from None
    figure = Figure(figsize=(8, 9), layout="constrained")
    losses, rate, speed = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
    numbers = [line["step"] for line in steps]
    losses.plot(numbers, _smoothed([line["loss"] for line in steps]), label="training, smoothed")
    for name in ("held_out_loss", "yardstick_loss"):
        points = [(line["step"], line[name]) for line in lines if name in line]
        if name == "held_out_loss" and points:
            losses.plot(*zip(*points, strict=True), "o-", label="held out")
        elif points:
            losses.axhline(points[0][1], linestyle="--", color="grey", label="counts of tokens")
    losses.set_ylabel("loss, nats")
    losses.legend()
    rate.plot(numbers, [line["rate"] for line in steps])
    rate.set_ylabel("learning rate")
    speed.plot(numbers, _smoothed([line["tokens_per_second"] for line in steps]))
    speed.set_ylabel("tokens/s")
    speed.set_xlabel("step")
    with replacing(out) as temporary:
        figure.savefig(temporary, format=out.suffix[1:])


def _smoothed(values):
    out, mean = [], None
    for value in values:
        mean = value if mean is None else SMOOTH * mean + (1 - SMOOTH) * value
        out.append(mean)
    return out
