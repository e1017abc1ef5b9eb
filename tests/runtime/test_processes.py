"""Worker processes end with their parent, and leave Ctrl-C to it."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from minibert.runtime.processes import Workers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")

PARENT = """
import os, signal, sys, time
from minibert.runtime.processes import Workers

def start():
    print("begun", flush=True)

def work(name):
    if name:  # of a signal to the whole group, as a terminal sends it
        os.kill(os.getpid(), getattr(signal, name))
    return os.getpid()

if __name__ == "__main__":
    with Workers(2, start) as pool:
        assert pool.submit(work, "SIGINT").result() != os.getpid()
        assert pool.submit(work, "SIGHUP").result() != os.getpid()
        others = [pool.submit(time.sleep, 0.01) for _ in range(4)]
        print("ready", flush=True)
        if sys.argv[1] == "idle":
            time.sleep(60)
        for other in others:
            other.result()
        pool.submit(time.sleep, 60).result()
"""


@pytest.fixture
def parent(tmp_path):
    """Return a function that starts a process with workers, and waits until they are at work."""
    (tmp_path / "parent.py").write_text(PARENT, "utf-8")
    started = []

    def start(mode):
        command = [sys.executable, tmp_path / "parent.py", mode]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        started.append(process)
        while process.stdout.readline() != "ready\n":
            assert process.poll() is None, process.stderr.read()
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("mode", ["idle", "at work"])
def test_workers_end_when_their_parent_is_killed(parent, mode):
    process = parent(mode)
    process.kill()
    # The pipes are at their end when no process holds them any more.
    process.communicate(timeout=30)


IMPORTS = """
import os, signal
from minibert.runtime.processes import Workers

if __name__ == "__main__":
    with Workers(1, os.getpid) as pool:
        print(pool.submit(len, "abc").result())
else:  # a worker imports this
    os.kill(os.getpid(), signal.SIGINT)
"""


def test_workers_leave_ctrl_c_to_their_parent_also_while_they_import(tmp_path):
    """A terminal sends it to all of them; each would print a traceback."""
    (tmp_path / "main.py").write_text(IMPORTS, "utf-8")
    done = subprocess.run(
        [sys.executable, tmp_path / "main.py"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_workers_blocks_no_signal_of_the_caller():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with Workers(1, os.getpid) as pool:
        assert pool.submit(len, "abc").result() == 3
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
