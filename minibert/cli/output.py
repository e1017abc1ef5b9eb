"""Output to a terminal."""

import sys


def is_interactive() -> bool:
    """Return whether stderr is a terminal, which can show a progress bar (bool)."""
    return sys.stderr.isatty()
