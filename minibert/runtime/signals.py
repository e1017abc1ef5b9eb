"""The signals that ask a process to stop, turned into KeyboardInterrupt or into a request."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as in a shell
# Of Ctrl-C, of `kill`, and of a terminal that is closed, which Windows does not have.
STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C, so that unfinished files are removed.

    An existing handler stays in place, also that of `nohup`, which ignores SIGHUP. Nothing changes
    outside the main thread, because Python allows signal handlers only there.
    """
    changed = [n for n, handler in _handlers().items() if handler == signal.SIG_DFL]
    for number in changed:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def stop_request() -> Iterator[SimpleNamespace]:
    """Turn the first signal into a request to stop, `requested`; a second one kills.

    A second SIGHUP does not, because a shell and the system both send one when a terminal is
    closed. Ignored signals stay ignored, and in other threads than the main one nothing is changed.
    """
    stop = SimpleNamespace(requested=False)
    before = {n: handler for n, handler in _handlers().items() if handler != signal.SIG_IGN}

    def request(number: int, frame: Any) -> None:
        stop.requested = True
        if number != getattr(signal, "SIGHUP", None):
            restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        for number in before:
            signal.signal(number, request)
        yield stop
    finally:
        restore()


def _handlers() -> dict[int, Any]:
    """Return the handlers of the signals that may be changed: those that Python knows."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    return {number: handler for number, handler in handlers.items() if handler is not None}
