"""Work side by side on the cores, with BLAS on one thread so that the bits don't depend on them."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int = 0
) -> Iterator[Result]:
    """Yield `function(item)` for each item in order, `threads` of them side by side.

    An item is started only once the one `threads + ahead` before it has been yielded and dealt
    with, so that many of whatever an item needs are enough for all; and some ahead keep a thread
    busy whose item was the shorter one.
    """
    if threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            if len(waiting) == threads + ahead:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()


class _Limit:
    """How many callers want BLAS on one thread: the first sets it, the last restores it."""

    def __init__(self):
        self.lock, self.users = threading.Lock(), 0
        self.limiter: Any = None


_limit = _Limit()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread, also when only one thread of ours is at work.

    With two threads BLAS cuts a product elsewhere, and adds up other bits. Its limit holds for the
    whole process, so callers are counted.
    """
    with _limit.lock:
        if _limit.users == 0:
            _limit.limiter = _controller().limit(limits=1, user_api="blas")
        _limit.users += 1
    try:
        yield
    finally:
        with _limit.lock:
            _limit.users -= 1
            if _limit.users == 0:
                _limit.limiter.restore_original_limits()


@cache
def _controller():
    return ThreadpoolController()  # looks through the loaded libraries, which takes milliseconds
