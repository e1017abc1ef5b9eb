"""`minibert plot`: plot the curves of a run."""

import argparse
import importlib.util
from pathlib import Path

from minibert.training.history import draw

DESCRIPTION = """
Reads history.jsonl in the run's folder.
"""
EXAMPLE = "minibert plot model --out curves.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert plot`."""
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument(
        "--out", type=Path, help="an .svg or .png file to write (default: RUN/curves.svg)"
    )


def run(options: argparse.Namespace) -> None:
    """Plot the curves of a run to a file."""
    out = options.out or options.run / "curves.svg"
    draw(options.run, out)
    print(out)


def draw_curves(run: Path) -> None:
    """Plot a finished run's curves to curves.svg, if matplotlib is installed."""
    if importlib.util.find_spec("matplotlib"):
        draw(run, run / "curves.svg")
