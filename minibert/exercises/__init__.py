"""Exercises that grade themselves: `minibert exercises DIR` writes them, `pytest DIR` grades them.

Each exercise is a file to complete, such as `ex04_linear_backward.py`, and the test beside it. The
files in `files` are what a learner gets, unchanged. `grading` compares a learner's result with the
right one and names the mistake. The tests need pytest and Hypothesis (extra: test).
"""

import ast
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from minibert.io.atomic import atomic_dir
from minibert.io.leftovers import remove
from minibert.io.locks import ensure_writable

__all__ = ["FILES", "Exercise", "read_exercises", "write_exercises"]

FILES = Path(__file__).with_name("files")  # the folder with the files of all exercises

README = """\
# Exercises

Each exercise is a file to complete and a test. Read the file, replace `raise NotImplementedError`,
or repair the planted bug, and run

    pytest {name}

An exercise that passes is solved. A wrong one gets a hint that depends on the mistake. To grade one
alone: `pytest {name} -k ex04`. The formulas and their derivations are in the chapters of the course
(`docs/course`); the notation is that of `minibert/by_hand.py`. A test file compares with the
results of usual mistakes, so read it after you have solved the exercise.

| chapter | file | exercise |
|---|---|---|
{rows}
"""
SETTINGS = """\
[pytest]
addopts = -q -rN --no-header --tb=no -p no:randomly
"""
CONFTEST = '''\
"""Print a line for each exercise after the tests: solved, not solved yet, or wrong with a hint."""

import os
from pathlib import Path

from minibert.exercises.grading import pytest_terminal_summary  # noqa: F401

# Hypothesis writes its files here, not into the current folder.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(__file__).with_name(".hypothesis")))
'''


class Exercise(NamedTuple):
    """An exercise.

    Attributes:
        path: the file that the learner completes.
        chapter: the number of the course's chapter that explains it.
        title: what is to be done.
    """

    path: Path
    chapter: int
    title: str


def read_exercises(folder: Path = FILES) -> list[Exercise]:
    """Return the exercises in a folder (list), in the order of the course.

    >>> exercise = read_exercises()[3]
    >>> exercise.path.name, exercise.chapter, exercise.title
    ('ex04_linear_backward.py', 2, 'write the backward of a linear map')

    Args:
        folder: contains the exercises' files.
    """
    exercises = []
    for path in sorted(folder.glob("ex*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        # "Chapter 2: write the backward of a linear map."
        chapter, title = docstring.splitlines()[0].removeprefix("Chapter ").split(": ", 1)
        exercises.append(Exercise(path, int(chapter), title.removesuffix(".")))
    return exercises


def write_exercises(folder: str | os.PathLike[str]) -> list[Exercise]:
    """Write all exercises, their tests and a README to a folder; return the exercises (list).

    Args:
        folder: missing or empty.

    Raises:
        ValueError: it is a file or contains something.
        OSError: it cannot be written.
    """
    folder = Path(folder)
    _require_empty(folder)
    ensure_writable(folder)
    with _filled(folder) if folder.exists() else atomic_dir(folder) as temporary:
        for exercise in read_exercises():
            for path in (exercise.path, exercise.path.with_name(f"test_{exercise.path.name}")):
                shutil.copyfile(path, temporary / path.name)
        written = read_exercises(temporary)
        rows = [f"| {chapter} | `{path.name}` | {title} |" for path, chapter, title in written]
        name = shlex.quote(folder.name or ".")
        readme = README.format(name=name, rows="\n".join(rows))
        for name, text in (
            ("README.md", readme), ("pytest.ini", SETTINGS), ("conftest.py", CONFTEST)
        ):  # fmt: skip
            (temporary / name).write_text(text, encoding="utf-8")
    return [exercise._replace(path=folder / exercise.path.name) for exercise in written]


@contextmanager
def _filled(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, and empty it again after an error.

    It is not replaced by another one, because it may be the shell's current folder.
    """
    try:
        yield folder
    except BaseException:
        for path in list(folder.iterdir()):
            remove(path)
        raise


def _require_empty(folder):
    """Raise ValueError unless `folder` is missing or an empty folder."""
    if not os.path.lexists(folder):  # a broken link exists
        return
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected an empty folder, got a file")
    content = sorted(path.name for path in folder.iterdir())
    if content:
        raise ValueError(
            f"{folder}: expected an empty folder, got one that contains {content[0]}; name another"
        )
