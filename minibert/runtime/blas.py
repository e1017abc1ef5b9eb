"""Limit BLAS to one thread, so that results do not depend on its threads."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")


class _SharedLimit:
    """The process's BLAS limit: the first user sets it, the last user restores it."""

    def __init__(self) -> None:
        self.lock, self.users = threading.Lock(), 0
        self.limiter: Any = None


_shared_limit = _SharedLimit()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread inside a `with` block or a decorated function.

    With two threads BLAS splits a matrix product in another place, and the sum rounds differently.
    So the limit also holds when a single thread of ours is at work.

    NumPy's OpenBLAS has one limit per process, so its users are counted. Other libraries, for
    example MKL, have a limit per thread, so every function that multiplies matrices on a thread is
    decorated with `@one_blas_thread()`.
    """
    with _shared_limit.lock:
        if _shared_limit.users == 0:
            _shared_limit.limiter = run_in_fresh_thread(_limit_blas)
        _shared_limit.users += 1
    try:
        with _limit_blas():  # the limit of this thread, or the process's limit once more
            yield
    finally:
        with _shared_limit.lock:
            _shared_limit.users -= 1
            if _shared_limit.users == 0:
                run_in_fresh_thread(_shared_limit.limiter.restore_original_limits)


def run_in_fresh_thread(function: Callable[[], Result]) -> Result:
    """Return `function()`, called in a new thread that ends afterwards.

    Since version 3.8, threadpoolctl lets only the thread that first set OpenBLAS's limit set it
    again, as long as that thread lives. Here the last user need not be the first one.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def _limit_blas() -> AbstractContextManager[Any]:
    limiter: AbstractContextManager[Any] = _blas().limit(limits=1)
    return limiter


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
    return ThreadpoolController().select(user_api="blas")
