"""Limit BLAS to one thread, so that results do not depend on its threads."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import numpy as np  # noqa: F401  loads the library whose threads are limited
import threadpoolctl

Result = TypeVar("Result")


class _SharedLimit:
    """The process's BLAS limit: it is set while there are users.

    `settle` may be called at any time and any number of times. So a user that Ctrl-C interrupts
    while it enters or leaves only has to leave once more.
    """

    def __init__(self) -> None:
        self.lock, self.users, self.is_set = threading.RLock(), set[object](), False
        self.before: list[int] | None = None  # the threads of each library, while it is limited

    def enter(self, user: object) -> None:
        """Add a user, and limit BLAS if it is the first one."""
        with self.lock:
            self.users.add(user)
            if not self.is_set:
                self.settle()

    def leave(self, user: object) -> None:
        """Remove a user if it is one, and restore the number of threads if it was the last."""
        with self.lock:
            self.users.discard(user)
            if not self.users:
                self.settle()

    def settle(self) -> None:
        """Limit BLAS if there are users, and restore the number of threads if there are none."""
        if self.users:
            if self.before is None:
                self.before = [library.num_threads for library in _blas().lib_controllers]
            _set_threads([1] * len(self.before))
            self.is_set = True
        elif self.before is not None:
            self.is_set = False
            _set_threads(self.before)
            self.before = None

    def after_fork(self) -> None:
        """Forget the users in a forked process, which has none of their threads."""
        self.users.clear()
        self.settle()
        self.lock.release()


_shared_limit = _SharedLimit()
if hasattr(os, "register_at_fork"):
    # No other thread changes the limit during a fork. So the child finds the lock and the locks of
    # threadpoolctl free.
    os.register_at_fork(
        before=_shared_limit.lock.acquire,
        after_in_parent=_shared_limit.lock.release,
        after_in_child=_shared_limit.after_fork,
    )


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread inside a `with` block or a decorated function.

    With two threads BLAS splits a matrix product in another place, and the sum rounds differently.
    So the limit also holds when a single thread of ours is at work.

    NumPy's OpenBLAS has one limit per process, so its users are counted. Other libraries, for
    example MKL, have a limit per thread, so every function that multiplies matrices on a thread is
    decorated with `@one_blas_thread()`. Ctrl-C in the block, or while it is entered or left,
    restores the number of threads, too.
    """
    user = object()
    try:
        _shared_limit.enter(user)
        limiter = _blas_of_threads().limit(limits=1)
        try:
            yield
        finally:
            limiter.restore_original_limits()
    finally:
        try:
            _shared_limit.leave(user)
        except KeyboardInterrupt:
            _shared_limit.leave(user)
            raise


def _set_threads(numbers: list[int]) -> None:
    """Set the number of threads of each library for the process."""
    others = []
    for library, number in zip(_blas().lib_controllers, numbers, strict=True):
        if _is_per_process(library):
            _release_control()
            library.set_num_threads(number)
            _release_control()
        else:
            others.append((library, number))
    if others:
        # In a thread that ends, because the limit may be one of the thread that sets it.
        run_in_fresh_thread(lambda: [library.set_num_threads(n) for library, n in others])


def _is_per_process(library: Any) -> bool:
    """Return whether a library is OpenBLAS with threads of its own, not those of OpenMP."""
    return bool(library.internal_api == "openblas" and library.threading_layer != "openmp")


def _release_control() -> None:
    """Let each thread set OpenBLAS's limit.

    Since version 3.8, threadpoolctl lets only the thread that first set it set it again, as long as
    that thread lives. Here the last user need not be the first one.
    """
    clear = getattr(threadpoolctl.OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


def run_in_fresh_thread(function: Callable[[], Result]) -> Result:
    """Return `function()`, called in a new thread that ends afterwards."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def blas_name() -> str:
    """Return the BLAS libraries with versions and the kernels they chose for this processor."""
    names = {
        " ".join(
            str(each[key]) for key in ("internal_api", "version", "architecture") if each.get(key)
        )
        for each in _blas().info()
    }
    return ", ".join(sorted(names)) or "unknown"


@cache
def _blas() -> Any:
    # Cached, because the search through the loaded libraries takes milliseconds.
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


@cache
def _blas_of_threads() -> Any:
    """Return the libraries that may have a limit per thread."""
    libraries = _blas().lib_controllers
    return _blas().select(
        filepath=[each.filepath for each in libraries if not _is_per_process(each)]
    )
