"""Worker processes, which end with their parent and leave its signals to it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from minibert.runtime.signals import STOPPING

# SIGTERM ends a worker, because the pool sends it when another one was killed.
IGNORED = tuple(number for number in STOPPING if number != signal.SIGTERM)


class Workers(ProcessPoolExecutor):
    """A pool of processes that end when their parent ends, even by `kill -9`.

    They are not forked, because a fork copies locks that other threads hold at this moment. So they
    require an importable main module.

    Args:
        count (int): number of processes.
        start (callable): called in each process before its first work.
        arguments: those of `start`.
    """

    def __init__(self, count: int, start: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        super().__init__(count, context, _start, (start, *arguments))

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start work, and a process if none is free: the parent handles Ctrl-C and SIGHUP.

        A process inherits blocked signals, so Ctrl-C does not interrupt its imports either. Windows
        cannot block any; there they are ignored from the end of the imports.
        """
        if not hasattr(signal, "pthread_sigmask"):
            return super().submit(function, *args, **kwargs)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
            return super().submit(function, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(start: Callable[..., None], *arguments: Any) -> None:
    """Begin a worker process."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    start(*arguments)


def _end_with_parent() -> None:
    """Wait for the end of the parent, then end this process: its queue would never be empty."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
