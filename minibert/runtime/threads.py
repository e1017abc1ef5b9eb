"""Thread counts, maps over a thread pool that keep the order of the items, and teams of threads."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def number_of_threads(wanted: int | None, sharing: int = 1) -> int:
    """Return the number of threads to use.

    Args:
        wanted (int or None): the number of threads; None means one per available core, or as
            `threads_of_worker`.
        sharing (int): the number of processes that share the cores.

    Raises:
        ValueError: `wanted` is below 1.
    """
    if wanted is not None and wanted < 1:
        raise ValueError(f"threads: expected at least 1, got {wanted}")
    return wanted or threads_of_worker() or max(usable_cores() // sharing, 1)


def threads_of_worker() -> int | None:
    """Return the number of threads for a worker of joblib (`n_jobs`); elsewhere None.

    The workers share the cores. joblib tells a worker process its share in OMP_NUM_THREADS; other
    workers get one thread each.
    """
    parallel = sys.modules.get("joblib.parallel")  # a worker has imported it
    backend = parallel.get_active_backend()[0] if parallel else None
    if not getattr(backend, "nesting_level", 0):
        return None
    share = os.environ.get("OMP_NUM_THREADS", "")
    return max(int(share), 1) if share.isdecimal() else 1


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int = 0
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, computed by `threads` threads.

    An item is started only after the result of the item `threads + ahead` before it has been
    yielded and the caller has asked for the next one. So `threads + ahead` buffers are enough for
    any number of items. `ahead` keeps threads busy while an earlier item takes longer.
    """
    if threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from bounded_map(pool, function, items, threads + ahead)


def bounded_map(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], limit: int
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, with at most `limit` items in progress."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            if len(waiting) == limit:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()
    finally:  # after an error or Ctrl-C, those that have not begun are not waited for
        for future in waiting:
            future.cancel()


def _renew_bar_lock() -> None:
    """Give a forked process a lock of its own for bars: a thread it lacks may hold the parent's."""
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.set_lock(threading.RLock())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_bar_lock)


class Team:
    """The thread of the caller and `threads - 1` others, which do one piece of work together.

    The others wait for the next piece of work until `rest`.

    Args:
        threads (int): number of threads.
    """

    def __init__(self, threads: int):
        self.threads = threads
        self._others: Executor | None = None
        self._process = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the number alone; the threads are made again."""
        return type(self), (self.threads,)

    def run(self, work: Callable[[], None], most: int | None = None) -> None:
        """Call `work()` once on each thread, on `most` of them at most; wait until all are done.

        Raises:
            Exception: the first one of any thread, this one's before those of others.
        """
        number = min(self.threads, most or self.threads) - 1
        if number <= 0:
            work()
            return
        if self._process != os.getpid():  # the threads do not exist in a fork
            self._others, self._process = ThreadPoolExecutor(self.threads - 1), os.getpid()
        assert self._others is not None
        futures = [self._others.submit(work) for _ in range(number)]
        try:
            work()
        finally:
            wait(futures)
        for future in futures:
            future.result()

    def rest(self) -> None:
        """End the other threads; they are started again when there is work."""
        if self._others is not None and self._process == os.getpid():
            self._others.shutdown()
        self._others, self._process = None, 0

    def run_all(self, jobs: Sequence[Callable[[], Result]]) -> list[Result]:
        """Call independent functions, and return their results in order.

        Raises:
            Exception: raised by a function; no further one is started.
        """
        results: dict[int, Result] = {}
        numbers = iter(range(len(jobs)))

        def work() -> None:
            try:
                for i in numbers:  # each number goes to one thread
                    results[i] = jobs[i]()
            except BaseException:
                deque(numbers, maxlen=0)
                raise

        self.run(work, len(jobs))
        return [results[i] for i in range(len(jobs))]

    def reduce(
        self, work: Callable[[int], Result], consume: Callable[[int, Result], None], count: int
    ) -> None:
        """Call `work(i)` for i in range(count), and `consume(i, result)` in order.

        A thread takes the next index as soon as it is free. It consumes its own result, after all
        earlier results have been consumed. So there are at most as many results at a time as
        threads, and no result is handed from one thread to another.

        Args:
            work (callable): computes a result; calls run in parallel.
            consume (callable): takes an index and its result; calls never overlap.
            count (int): number of indices.

        Raises:
            Exception: raised by `work` or `consume`; no later result is consumed.
        """
        indices, turn = iter(range(count)), threading.Condition()
        consumed, failed = 0, False

        def run() -> None:
            nonlocal consumed, failed
            while True:
                with turn:
                    i = next(indices, None)
                if i is None or failed:
                    return
                try:
                    result = work(i)
                    with turn:
                        while consumed != i and not failed:
                            turn.wait()
                    if failed:
                        return
                    consume(i, result)
                except BaseException:
                    with turn:
                        failed = True
                        turn.notify_all()
                    raise
                with turn:
                    consumed += 1
                    turn.notify_all()

        self.run(run, count)
