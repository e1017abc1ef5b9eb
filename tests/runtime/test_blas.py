"""The limit of one BLAS thread, for nested and overlapping users."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

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
