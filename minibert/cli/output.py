"""Output to a terminal."""

import sys


def interactive() -> bool:
    """Whether somebody is there to watch a progress bar."""
    return sys.stderr.isatty()
