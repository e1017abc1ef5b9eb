"""Texts from the command line, from files or from standard input."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from minibert.io.text import bounded_lines, read_lines


def add_text_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `read_texts` reads."""
    parser.add_argument("texts", nargs="*", help="texts")
    parser.add_argument(
        "--file", type=Path, nargs="+", default=[], help="text files, one text per line"
    )


def read_texts(options: argparse.Namespace) -> Iterator[str]:
    """Yield texts: the arguments, or the lines of files or of standard input.

    Args:
        options (Namespace): with `file` (list of Path) and, optionally, `texts` (list of str).

    Raises:
        ValueError: both texts and files are given, or standard input is empty.
    """
    texts, files = getattr(options, "texts", []), options.file
    if texts and files:
        raise ValueError("expected texts or --file, got both")
    if texts:
        yield from texts
    elif files:
        for path in files:
            yield from read_lines(path)
    else:
        line = None
        lines: Iterable[str] = sys.stdin or ()  # None if it is closed
        if hasattr(lines, "readline"):  # a caller may put an iterator in its place
            lines = bounded_lines(sys.stdin, "standard input")
        for line in lines:
            yield line.rstrip("\r\n")
        if line is None:
            raise ValueError("standard input: expected lines of text, got none")
