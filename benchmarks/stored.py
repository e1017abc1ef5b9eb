"""Read results: the tables that `harness.report` writes, their ratios, and the processor.

A ratio column is one whose head begins with `minibert / `. Its row is named by its
cells in the columns of `KEYS`: the model, the job and the side that were measured.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).with_name("results")
KEYS = ("model", "batch", "job", "side")
RATIO = "minibert / "
TABLE = re.compile(r"^\|(.*)\|\n\|[-| ]+\|\n((?:\|.*\|\n)+)", re.MULTILINE)
SPREAD = re.compile(r"([\d,.]+) \(([\d,.]+) to ([\d,.]+)\)")
MACHINE = re.compile(r"cores of (?:an )?(.+?), ")


class Ratio(NamedTuple):
    """The median, minimum and maximum of a ratio over the rounds."""

    median: float
    low: float
    high: float


def path_of(name: str) -> Path:
    """Return the file of a stored result (Path)."""
    return FOLDER / f"{name}.md"


def stored_result(name: str) -> str | None:
    """Return the text of a stored result, None if there is none."""
    path = path_of(name)
    return path.read_text("utf-8") if path.exists() else None


def rows(text: str) -> Iterator[dict[str, str]]:
    """Yield the rows of all tables, their cells by the heads of the columns."""
    for head, body in TABLE.findall(text):
        heads = cells(head)
        for line in body.splitlines():
            yield dict(zip(heads, cells(line[1:-1]), strict=True))


def cells(line: str) -> list[str]:
    """Return the cells of a row, without its outer bars (list of str)."""
    return [cell.strip() for cell in line.split("|")]


def ratios(text: str) -> dict[tuple[str, ...], Ratio]:
    r"""Return the ratios of a result by what was measured (dict).

    >>> ratios("| model | side | minibert / side |\n|---|---|---|\n| tiny | JAX | 2.0 (1 to 3) |\n")
    {('tiny', 'JAX'): Ratio(median=2.0, low=1.0, high=3.0)}
    """
    found = {}
    for row in rows(text):
        for head, cell in row.items():
            if head.startswith(RATIO) and cell:
                found[tuple(row[key] for key in KEYS if key in row)] = read_ratio(cell)
    return found


def read_ratio(cell: str) -> Ratio:
    """Read a median with its minimum and maximum (Ratio), as `harness.spread` formats it.

    Raises:
        ValueError: the cell contains something else.
    """
    numbers = SPREAD.fullmatch(cell)
    if numbers is None:
        raise ValueError(f"expected a ratio such as '1.50 (1.25 to 2.00)', got {cell!r}")
    return Ratio(*(float(number.replace(",", "")) for number in numbers.groups()))


def title(text: str) -> str:
    """Return the title of a result (str)."""
    return text.splitlines()[0].removeprefix("# ")


def processor(text: str) -> str:
    """Return the processor that a result names (str).

    >>> processor("2 cores of AMD EPYC with AVX-512, 24 GiB")
    'AMD EPYC with AVX-512'

    Raises:
        ValueError: it names none.
    """
    found = MACHINE.search(" ".join(text.split()))
    if found is None:
        raise ValueError(f"{title(text)}: expected the name of a processor, got none")
    return found[1]
