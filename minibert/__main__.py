"""`python -m minibert`, and the command `minibert`."""

import faulthandler
import sys
from contextlib import suppress

from minibert.runtime.signals import EXIT_INTERRUPTED


def main() -> int:
    """Run the command line and return its exit status (int).

    Ctrl-C prints one line, also while the modules are imported, which takes most of a second.
    """
    if not faulthandler.is_enabled():
        with suppress(Exception):  # stderr is closed, or not a file
            faulthandler.enable()  # so that a mapped file that is cut ends no process silently
    try:
        from minibert.cli import main as run

        return run()
    except KeyboardInterrupt:
        sys.stderr.write("minibert: stopped\n")
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(main())
