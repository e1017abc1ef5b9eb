"""The figures of the documentation: drawn from data in the repository, always the same bytes.

Each module here has a table `FIGURES` of names and functions that return an SVG image, and, if its
data are results of training or of a model, a table `RECORDS` of names and functions that return
them. Records are stored as `docs/figures/data/NAME.json`; only `python -m docs.make --record NAME`
computes them again.
"""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from docs.make import data

FOLDER = Path(__file__).parents[2] / "figures"
MODULES = [import_module(f"{__name__}.{one.name}") for one in iter_modules(__path__)]


def table(name: str) -> dict[str, Callable[[], Any]]:
    """Return the tables of all modules as one (dict): "FIGURES" or "RECORDS"."""
    found: dict[str, Callable[[], Any]] = {}
    for module in MODULES:
        found.update(getattr(module, name, {}))
    return found


def path_of(name: str) -> Path:
    """Return the file of a figure (Path)."""
    return FOLDER / f"{name}.svg"


def draw_all() -> None:
    """Draw all figures."""
    for name, draw in table("FIGURES").items():
        path_of(name).write_text(draw(), "utf-8")


def record(name: str) -> None:
    """Compute and store the data of figures; this may train models.

    Args:
        name (str): a key of a module's `RECORDS`.
    """
    text = json.dumps(table("RECORDS")[name](), indent=1, ensure_ascii=False)
    (data.FOLDER / f"{name}.json").write_text(text + "\n", "utf-8")
