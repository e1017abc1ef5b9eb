"""Thread counts, ordered maps, and teams of threads."""

import os
import pickle
import sys
import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from minibert.runtime.threads import (
    Team,
    number_of_threads,
    ordered_map,
    threads_of_worker,
    usable_cores,
)


def test_number_of_threads_is_the_wanted_number_or_one_per_core():
    assert number_of_threads(3) == 3
    assert number_of_threads(None) == usable_cores() >= 1
    assert number_of_threads(None, sharing=10**6) == 1
    with pytest.raises(ValueError, match="threads: expected at least 1, got 0"):
        number_of_threads(0)


@pytest.mark.parity
@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_workers_of_joblib_share_the_cores(backend, monkeypatch):
    joblib = pytest.importorskip("joblib")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    jobs = [joblib.delayed(number_of_threads)(wanted) for wanted in (None, None, 5)]
    with joblib.parallel_backend(backend, n_jobs=2):
        share = max(joblib.cpu_count() // 2, 1) if backend == "loky" else 1
        assert joblib.Parallel()(jobs) == [share, share, 5]
    assert joblib.Parallel(n_jobs=1)(jobs) == [usable_cores(), usable_cores(), 5]


@pytest.mark.parametrize(
    ("nesting", "share", "expected"),
    [(0, "3", None), (None, "3", None), (1, "3", 3), (1, None, 1), (2, "4,2", 1), (1, "0", 1)],
)
def test_threads_of_worker_is_the_share_that_joblib_states(monkeypatch, nesting, share, expected):
    backend = SimpleNamespace(nesting_level=nesting)
    parallel = SimpleNamespace(get_active_backend=lambda: (backend, None))
    monkeypatch.setitem(sys.modules, "joblib.parallel", parallel)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if share is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", share)
    assert threads_of_worker() == expected
    assert number_of_threads(None) == (expected or usable_cores())
    assert number_of_threads(7) == 7


def test_ordered_map_yields_in_order_with_at_most_threads_items_in_progress():
    at_work, most = [], []

    def work(i):
        at_work.append(i)
        most.append(len(at_work))
        if i == 3:
            raise ArithmeticError("three")
        return i

    results = ordered_map(work, range(9), 2)
    for expected in range(3):
        assert next(results) == expected
        at_work.remove(expected)
    with pytest.raises(ArithmeticError, match="three"):
        next(results)
    assert max(most) <= 2


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_reduce_consumes_in_order_on_the_thread_of_the_work(threads):
    rng = np.random.default_rng(0)
    sizes = rng.integers(0, 400, 30)
    order, makers, in_progress, most = [], {}, set(), []

    def work(i):
        in_progress.add(i)
        most.append(len(in_progress))
        makers[i] = threading.get_ident()
        np.linalg.norm(rng.random((int(sizes[i]), 50)))  # of different durations
        return i * i

    def consume(i, result):
        assert result == i * i
        assert makers[i] == threading.get_ident()
        order.append(i)
        in_progress.discard(i)

    Team(threads).reduce(work, consume, 30)
    assert order == list(range(30))
    assert max(most) <= threads


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("where", ["work", "consume"])
def test_reduce_stops_at_an_exception_and_raises_it(threads, where):
    consumed = []

    def work(i):
        if where == "work" and i == 4:
            raise ArithmeticError("four")

    def consume(i, result):
        if where == "consume" and i == 4:
            raise ArithmeticError("four")
        consumed.append(i)

    team = Team(threads)
    with pytest.raises(ArithmeticError, match="four"):
        team.reduce(work, consume, 20)
    assert consumed == [0, 1, 2, 3]
    team.reduce(work, consume, 0)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_run_all_returns_results_in_order_and_stops_at_an_exception(threads):
    team, called = Team(threads), []

    def job(i):
        called.append(i)
        if i == 4:
            raise ArithmeticError("four")
        return i * i

    assert team.run_all([partial(job, i) for i in range(4)]) == [0, 1, 4, 9]
    with pytest.raises(ArithmeticError, match="four"):
        team.run_all([partial(job, i) for i in range(100)])
    assert len(called) < 104
    assert team.run_all([]) == []


def test_a_team_uses_the_same_threads_again():
    team, threads = Team(3), []
    barrier = threading.Barrier(3)

    def work():
        barrier.wait()
        threads.append(threading.get_ident())

    for _ in range(4):
        team.run(work)
    assert len(set(threads)) == 3


def test_a_team_and_its_copy_and_its_fork_have_threads_of_their_own():
    team = Team(2)
    assert team.run_all([threading.get_ident] * 2)
    copied = pickle.loads(pickle.dumps(team))
    assert copied.threads == 2
    assert copied.run_all([lambda: 1] * 3) == [1, 1, 1]
    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            os._exit(0 if team.run_all([lambda: 1] * 3) == [1, 1, 1] else 1)
        assert os.waitpid(child, 0)[1] == 0
