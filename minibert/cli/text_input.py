"""Texts from the command line, from files or from standard input."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from minibert.io.text import read_lines, read_stdin


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
        OSError, ValueError: as `read_lines` and `read_stdin`, or both texts and files are given.
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
        yield from read_stdin()
