"""Work side by side on the cores, with BLAS on one thread so that the bits don't depend on them."""

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
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


def number_of_threads(wanted: int | None, sharing: int = 1) -> int:
    """Return how many threads to use: as many as wanted, or one for each core.

    Args:
        wanted: this many; None: as many as there are cores for.
        sharing: processes that share the cores.

    Raises:
        ValueError: none are wanted.
    """
    if wanted is not None and wanted < 1:
        raise ValueError(f"threads: expected at least 1, got {wanted}")
    return wanted or max(usable_cores() // sharing, 1)


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
        yield from bounded(pool, function, items, threads + ahead)


def bounded(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], most: int
) -> Iterator[Result]:
    """Yield `function(item)` for each item in order, at most so many of them begun at a time."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        if len(waiting) == most:
            yield waiting.popleft().result()
        waiting.append(pool.submit(function, item))
    while waiting:
        yield waiting.popleft().result()


def in_turns(
    work: Callable[[int], Result],
    deal_with: Callable[[int, Result], None],
    count: int,
    threads: int,
) -> None:
    """Do `work(i)` for the numbers below `count`, and `deal_with(i, result)` in order.

    A thread takes the next number as soon as it is free. What it made it deals with itself, when
    everything before has been dealt with, so that no more results than threads exist at a time, and
    nobody has to be woken to hand one over.

    Args:
        work: called side by side.
        deal_with: never called twice at a time.
        count: how many numbers there are.
        threads: how many threads work.

    Raises:
        Exception: what `work` or `deal_with` raised; nothing later is dealt with.
    """
    numbers, turn = iter(range(count)), threading.Condition()
    state = {"dealt with": 0, "failed": False}

    def run(_: int) -> None:
        while True:
            with turn:
                i = next(numbers, None)
            if i is None or state["failed"]:
                return
            try:
                result = work(i)
                with turn:
                    while state["dealt with"] != i and not state["failed"]:
                        turn.wait()
                if state["failed"]:
                    return
                deal_with(i, result)
            except BaseException:
                with turn:
                    state["failed"] = True
                    turn.notify_all()
                raise
            with turn:
                state["dealt with"] += 1
                turn.notify_all()

    for _ in in_order(run, range(threads), threads):
        pass


class _Limit:
    """How many callers want BLAS on one thread: the first sets it, the last restores it."""

    def __init__(self):
        self.lock, self.users = threading.Lock(), 0
        self.limiter: Any = None


_limit = _Limit()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread, also when only one thread of ours is at work.

    With two threads BLAS cuts a product elsewhere, and adds up other bits. NumPy's own OpenBLAS has
    one limit for the whole process, so callers are counted. Where each thread has a limit of its
    own, as with MKL, each that multiplies must ask: `@one_blas_thread()` stands over their work.
    """
    with _limit.lock:
        if _limit.users == 0:
            _limit.limiter = _apart(_limited)
        _limit.users += 1
    try:
        with _limited():  # this thread's own, or what holds already
            yield
    finally:
        with _limit.lock:
            _limit.users -= 1
            if _limit.users == 0:
                _apart(_limit.limiter.restore_original_limits)


def _limited():
    return _blas().limit(limits=1)


def _apart(function):
    """Call a function in a thread that ends.

    From 3.8 on threadpoolctl lets nobody set OpenBLAS's limit but the thread that set it first, as
    long as that lives. Here the last caller to leave needn't be the first that came.
    """
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@cache
def _blas():
    # Looks through the loaded libraries, which takes milliseconds.
    return ThreadpoolController().select(user_api="blas")


@cache
def keep_freed_memory() -> None:
    """Let the C library keep the memory that is freed, up to the most that was ever in use.

    A step frees what the next one needs again. Given back to the system and fetched anew, page by
    page, filled with zeros, it would cost a step of BERT-mini 5 % of its time. Only glibc is asked.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        # M_TRIM_THRESHOLD, M_TOP_PAD, and M_MMAP_THRESHOLD, which some versions won't raise far.
        for option, size in ((-1, 2**30), (-2, 2**26), (-3, 2**25), (-3, 2**30)):
            mallopt(option, size)
