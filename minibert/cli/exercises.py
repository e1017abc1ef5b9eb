"""`minibert exercises`: write exercises that grade themselves."""

import argparse
import importlib.util
import shlex

from minibert.exercises import write_exercises
from minibert.io.atomic import settled

DESCRIPTION = """
Each exercise is a Python file to complete, with a test beside it. `pytest DIR` reports which are
solved, and gives a hint for each mistake (extra: test).
"""
EXAMPLE = "minibert exercises exercises"
NEEDED = ("pytest", "hypothesis")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert exercises`."""
    parser.add_argument("dir", metavar="DIR", type=settled, help="new folder for the exercises")


def run(options: argparse.Namespace) -> None:
    """Write the exercises and print how to grade them.

    Raises:
        ModuleNotFoundError: pytest or Hypothesis is missing.
        ValueError: the folder is a file or contains something.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        raise ModuleNotFoundError(f"the exercises need {names}: the extra minibert[test]")
    exercises = write_exercises(options.dir)
    print(f"{options.dir}: {len(exercises)} exercises, the first is {exercises[0].path}")
    print(f"Grade them: pytest {shlex.quote(str(options.dir))}")
