"""Write what is generated in `docs/`, or compute the data of a figure again.

`python -m docs.make` writes the reference, all figures and the outputs of all pages; `--pages FILE`
refreshes these pages alone, `--record NAME` computes stored data, and `--notebooks FOLDER` writes
the chapters as notebooks.
"""

import argparse
import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from docs.make import figures, notebooks, pages, reference

DOCS = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the reference, all figures, and the outputs of pages."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.make", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--pages", nargs="+", type=Path, help="only refresh these pages")
    records = figures.table("RECORDS")
    parser.add_argument(
        "--record", choices=records, help="only compute these data; may train models"
    )
    parser.add_argument("--notebooks", type=Path, help="write the chapters as notebooks")
    o = parser.parse_args(arguments)
    if o.notebooks:
        notebooks.write(o.notebooks)
        return
    if o.record:
        figures.record(o.record)
        return
    if not o.pages:
        figures.draw_all()
        reference.write()
    for path in o.pages or sorted(DOCS.rglob("*.md")):
        page = path.resolve()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            if pages.refresh(page):
                print(f"{path}: output refreshed")


if __name__ == "__main__":
    main()
