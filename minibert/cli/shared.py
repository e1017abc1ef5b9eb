"""What several sub-commands share: lines to work on, and whether somebody watches."""

import sys
from collections.abc import Iterator

from minibert.files import read_lines


def lines_of(options) -> Iterator[str]:
    """Yield the texts that the options give: arguments, or lines of files, or of standard input.

    Raises:
        ValueError: both texts and files are given, or nothing comes.
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
        for line in sys.stdin or ():  # None where it is closed
            yield line.rstrip("\r\n")
        if line is None:
            raise ValueError("standard input: expected lines of text, got none")


def interactive() -> bool:
    """Whether somebody is there to watch a progress bar."""
    return sys.stderr.isatty()
