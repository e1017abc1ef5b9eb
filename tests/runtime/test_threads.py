"""Thread counts, ordered maps and ordered reduction."""

import threading

import numpy as np
import pytest

from minibert.runtime.threads import (
    number_of_threads,
    ordered_map,
    ordered_reduce,
    usable_cores,
)


def test_number_of_threads_is_the_wanted_number_or_one_per_core():
    assert number_of_threads(3) == 3
    assert number_of_threads(None) == usable_cores() >= 1
    assert number_of_threads(None, sharing=10**6) == 1
    with pytest.raises(ValueError, match="threads: expected at least 1, got 0"):
        number_of_threads(0)


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
def test_ordered_reduce_consumes_in_order_on_the_thread_of_the_work(threads):
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

    ordered_reduce(work, consume, 30, threads)
    assert order == list(range(30))
    assert max(most) <= threads


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("where", ["work", "consume"])
def test_ordered_reduce_stops_at_an_exception_and_raises_it(threads, where):
    consumed = []

    def work(i):
        if where == "work" and i == 4:
            raise ArithmeticError("four")

    def consume(i, result):
        if where == "consume" and i == 4:
            raise ArithmeticError("four")
        consumed.append(i)

    with pytest.raises(ArithmeticError, match="four"):
        ordered_reduce(work, consume, 20, threads)
    assert consumed == [0, 1, 2, 3]
    ordered_reduce(work, consume, 0, threads)
