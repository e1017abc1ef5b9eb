"""Run the code blocks of a page, and compare or refresh what they print.

A page is Markdown. Its ```python blocks run in order, in one namespace and in an empty folder. An
```output block directly after one of them contains what that block prints. Every decimal number in
the rest of the page must be a rounded number of the page's code or output.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXECUTED = {"python", "output"}
NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?![\d])")
DECIMAL = re.compile(r"(?<![\w.])[-−]?\d+(?:,\d{3})*\.\d+(?![\w]|\.\d)")
# Numbers that nothing computes: sections and versions, and what a link contains.
CITED = re.compile(
    r"\]\([^)]*\)|(?:[Ss]ections?|[Ee]q(?:uation|s)?\.?|[Ff]igures?|[Vv]ersion|Python|NumPy|A\.)"
    r" ?\d+(?:\.\d+)*(?:(?:,| and| to) \d+(?:\.\d+)*)*"
)


class Block(NamedTuple):
    """A fenced block of a page.

    Attributes:
        language: the word after the fence.
        text: the lines between the fences.
        start, end: offsets of the block in the page, fences included.
        line: number of the first fence's line.
    """

    language: str
    text: str
    start: int
    end: int
    line: int


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page (list of `Block`)."""
    return [
        Block(found[1], found[2], *found.span(), page.count("\n", 0, found.start()) + 1)
        for found in FENCE.finditer(page)
    ]


def run(page: str, name: str) -> Iterator[tuple[Block, str]]:
    """Run the code blocks of a page; yield each with what it has printed.

    Args:
        page (str): the Markdown text.
        name (str): the file's name, for tracebacks.
    """
    namespace: dict[str, Any] = {"__name__": "page"}
    with np.printoptions():  # what the page sets ends with it
        for block in blocks(page):
            if block.language == "python":
                printed = io.StringIO()
                # Empty lines first, so that tracebacks have the line numbers of the page.
                source = "\n" * block.line + block.text
                with contextlib.redirect_stdout(printed):
                    exec(compile(source, name, "exec"), namespace)
                yield block, printed.getvalue()


def refreshed(page: str, name: str) -> str:
    """Return the page with the output blocks that its code prints now (str).

    A block without an output block stays without one, whatever it prints.
    """
    following = {}
    found = blocks(page)
    for block, after in pairwise(found):
        if after.language == "output" and not page[block.end : after.start].strip():
            following[block.start] = after
    parts, end = [], 0
    for block, printed in run(page, name):
        if after := following.get(block.start):
            parts += [page[end : after.start], f"```output\n{printed}```"]
            end = after.end
    return "".join([*parts, page[end:]])


def unexplained_numbers(page: str) -> list[str]:
    r"""Return the decimal numbers of the prose that neither code nor output has (list of str).

    A number may be rounded, be without its sign, or be a percentage of the computed one.

    >>> unexplained_numbers("It is 0.33 or 33.3 %, not 0.34; [1] section 3.1.\n\n"
    ...                     "```output\n0.3333\n```")
    ['0.34']
    """
    computed = [
        abs(float(number(text)))
        for block in blocks(page)
        if block.language in EXECUTED
        for text in NUMBER.findall(block.text)
    ]
    rest = page
    for block in reversed(blocks(page)):
        if block.language in EXECUTED:
            rest = rest[: block.start] + rest[block.end :]
    return [
        text
        for text in DECIMAL.findall(CITED.sub("", rest))
        if not any(is_rounded(number(text), value) for value in computed)
    ]


def is_rounded(text: str, value: float) -> bool:
    """Return whether a number's digits are those of a value or of 100 times the value (bool)."""
    shown, digits = abs(float(text)), len(text.partition(".")[2])
    tolerance = 0.5 * 10**-digits * (1 + 1e-9)
    return abs(shown - value) <= tolerance or abs(shown - 100 * value) <= tolerance


def number(text: str) -> str:
    """Return a number with a plain minus sign and without thousands separators (str)."""
    return text.replace("−", "-").replace(",", "")


def refresh(path: Path) -> bool:
    """Rewrite a page's output blocks; return whether anything has changed (bool)."""
    before = path.read_text("utf-8")
    after = refreshed(before, str(path))
    if after != before:
        path.write_text(after, "utf-8")
    return after != before
