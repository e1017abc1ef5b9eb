"""The limit of one BLAS thread: nested and overlapping users, Ctrl-C, and forks."""

import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from minibert.runtime import blas
from minibert.runtime.blas import _blas, one_blas_thread, run_in_fresh_thread


def blas_threads():
    """Return the number of threads of each BLAS that was loaded at the first use.

    Libraries that were loaded later, for example by scikit-learn, multiply nothing of ours.
    """
    return [pool["num_threads"] for pool in _blas().info()]


@pytest.fixture(autouse=True)
def three_threads():
    """Set a number that no test before can have left behind."""
    limits = run_in_fresh_thread(lambda: _blas().limit(limits=3))
    assert set(blas_threads()) == {3}
    yield
    run_in_fresh_thread(limits.restore_original_limits)


def test_one_blas_thread_restores_the_number_of_threads():
    before = blas_threads()
    with one_blas_thread():
        assert set(blas_threads()) == {1}
        with one_blas_thread():
            pass
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_one_blas_thread_holds_until_the_last_user_leaves():
    """In any order of users: threadpoolctl lets only the first thread restore, while it lives."""
    before = blas_threads()
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as last:
        for one, other in (first, last), (last, first), (first, first):
            limits = one_blas_thread(), one_blas_thread()
            one.submit(limits[0].__enter__).result()
            other.submit(limits[1].__enter__).result()
            assert set(blas_threads()) == {1}
            one.submit(limits[0].__exit__, None, None, None).result()
            assert set(blas_threads()) == {1}
            other.submit(limits[1].__exit__, None, None, None).result()
            assert blas_threads() == before


def test_run_in_fresh_thread_returns_the_result_from_a_thread_that_ends():
    before = threading.active_count()
    assert run_in_fresh_thread(threading.get_ident) != threading.get_ident()
    assert threading.active_count() == before


@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("is_set", [False, True])
def test_ctrl_c_while_blas_is_limited_or_restored_leaves_its_threads_as_they_were(
    monkeypatch, call, is_set
):
    """Before or after the number is set, for the first user that enters and the last one."""
    before, right = blas_threads(), blas._set_threads
    calls = []

    def set_threads(numbers):
        calls.append(numbers)
        if is_set:
            right(numbers)
        if len(calls) == call + 1:
            raise KeyboardInterrupt
        if not is_set:
            right(numbers)

    monkeypatch.setattr(blas, "_set_threads", set_threads)
    with pytest.raises(KeyboardInterrupt), one_blas_thread():
        assert call == 1
    assert len(calls) > call
    assert blas_threads() == before
    with one_blas_thread():
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")
def test_an_interrupt_at_any_moment_leaves_the_blas_threads_as_they_were():
    before, rng, interrupted = blas_threads(), random.Random(0), 0

    def interrupt(number, frame):
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(400):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 1e-3))
                with one_blas_thread(), one_blas_thread():
                    pass
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            assert blas_threads() == before
            assert not blas._shared_limit.users
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert interrupted


FORKS = """
import os, threading
from minibert.runtime.blas import _blas, one_blas_thread, run_in_fresh_thread

def threads():
    return {pool["num_threads"] for pool in _blas().info()}

def work():
    while not ended:
        with one_blas_thread():
            with one_blas_thread():
                pass

def child():
    limits = [threads()]
    with one_blas_thread():
        limits.append(threads())
    return limits == [{3}, {1}] and threads() == {3}

run_in_fresh_thread(lambda: _blas().limit(limits=3))
ended = []
workers = [threading.Thread(target=work, daemon=True) for _ in range(3)]
for worker in workers:
    worker.start()
for number in range(60):
    if number == 59:  # in a block of the same thread
        with one_blas_thread():
            process = os.fork()
            if not process:
                os._exit(not child())
    else:
        process = os.fork()
        if not process:
            os._exit(not child())
    assert os.waitpid(process, 0)[1] == 0, number
ended.append(True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_while_threads_limit_blas_neither_hangs_nor_keeps_the_limit():
    """Python warns of threads in a process that forks, because other code may hang."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], check=False, timeout=120)
    assert done.returncode == 0
