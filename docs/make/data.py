"""The stored data of figures and chapters: `docs/figures/data/NAME.json`."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "figures" / "data"


def load(name: str) -> Any:
    """Return stored data (what JSON holds)."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
