"""Jupyter notebooks made from the chapters: `python -m docs.make --notebooks FOLDER`.

Text becomes Markdown cells and each Python block a code cell. Output blocks are left out, because
the notebook prints them itself.
"""

import json
import re
from pathlib import Path
from typing import Any

from docs.make.pages import blocks

DOCS = Path(__file__).parents[1]
FIGURE = re.compile(r"!\[([^\]]*)\]\(([^)]*)\)")
FORMAT = {"nbformat": 4, "nbformat_minor": 5}
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def notebook(page: str) -> dict[str, Any]:
    """Return the notebook of a page (dict, what a notebook's JSON holds)."""
    cells: list[dict[str, Any]] = []
    end = 0
    for block in blocks(page):
        if block.language in {"python", "output"}:
            add_cell(cells, "markdown", page[end : block.start])
            if block.language == "python":
                add_cell(cells, "code", block.text)
            end = block.end
    add_cell(cells, "markdown", page[end:])
    return {"cells": cells, "metadata": KERNEL, **FORMAT}


def add_cell(cells: list[dict[str, Any]], kind: str, text: str) -> None:
    """Append a cell to `cells`, unless its text is empty."""
    if not text.strip():
        return
    cell = {"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}, "source": text.strip()}
    cells.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))


def write(folder: Path) -> None:
    """Write a notebook for each chapter into a folder, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((DOCS / "course").glob("*.md")):
        # Figures are beside the chapters' folder; notebooks may be anywhere.
        page = FIGURE.sub(
            lambda found: f"![{found[1]}]({(DOCS / 'course' / found[2]).resolve().as_uri()})",
            path.read_text("utf-8"),
        )
        text = json.dumps(notebook(page), indent=1, ensure_ascii=False)
        (folder / f"{path.stem}.ipynb").write_text(text + "\n", "utf-8")
