"""`minibert plot`: draw the curves of a run."""

import argparse
import importlib.util
from pathlib import Path

from minibert.training.history import draw


def run(options: argparse.Namespace) -> None:
    """Draw a run's curves."""
    out = options.out or options.run / "curves.svg"
    draw(options.run, out)
    print(out)


def draw_curves(run: Path) -> None:
    """Draw a run's curves at its end, if there is matplotlib to draw with."""
    if importlib.util.find_spec("matplotlib"):
        draw(run, run / "curves.svg")
