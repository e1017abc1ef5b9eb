"""Signals that ask a process to stop."""

import os
import signal
import threading

import pytest

from minibert.runtime.signals import STOPPING, signals_as_interrupt, stop_request

pytestmark = pytest.mark.skipif(os.name == "nt", reason="os.kill ends the process")


@pytest.fixture
def handlers():
    """Set the handlers of a fresh process, and restore those of the tests."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPPING)
def test_each_signal_is_an_interrupt(handlers, number):
    with pytest.raises(KeyboardInterrupt), signals_as_interrupt():
        os.kill(os.getpid(), number)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


@pytest.mark.parametrize("manager", [signals_as_interrupt, stop_request])
@pytest.mark.parametrize("number", STOPPING)
def test_an_ignored_signal_stays_ignored_as_nohup_wants(handlers, number, manager):
    signal.signal(number, signal.SIG_IGN)
    with manager() as stop:
        os.kill(os.getpid(), number)
    assert stop is None or not stop.requested
    assert signal.getsignal(number) == signal.SIG_IGN


def test_a_second_signal_kills_but_a_second_sighup_does_not(handlers):
    with signals_as_interrupt(), stop_request() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_threads_change_no_handler(handlers):
    def work():
        with signals_as_interrupt(), stop_request() as stop:
            found.append(([signal.getsignal(number) for number in STOPPING], stop.requested))

    found = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [([signal.getsignal(number) for number in STOPPING], False)]
