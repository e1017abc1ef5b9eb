"""How things are measured: each side in a process of its own, in turns, and never a lone time.

A side is a generator. Up to its first `yield` it loads and warms up, and says what it is; from then
on each step of it is one round, and what it yields are the round's numbers. It runs in a process of
its own, where it may use all cores, and sleeps on a pipe while it isn't its turn.
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from minibert.runtime.threads import usable_cores

PAUSE = 0.5  # seconds between two turns, until the threads of the last one sleep


class Missing(Exception):
    """A side can't run here, for something isn't installed."""


class Worker:
    """A generator in a process of its own, which goes on to its next `yield` when it is asked to.

    Args:
        job: the generator function.  args: its arguments.

    Attributes:
        ready: what it yielded first.
        others: the share of the machine that other processes took during its last round.
    """

    def __init__(self, job: Callable, *args):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, job, args), daemon=True)
        self._process.start()
        theirs.close()
        self.ready = self.answer()

    def go(self) -> None:
        """Let it begin a round."""
        self._pipe.send("go")

    def answer(self):
        """Wait for what it yields."""
        found, self.others = self._pipe.recv()
        if isinstance(found, Exception):
            raise found
        return found

    def round(self):
        """Run one round and return its numbers."""
        self.go()
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(5)
        self._process.kill()


def _serve(pipe, job, args):
    try:
        before = _clocks()
        for found in job(*args):
            everybody, mine, wall = _clocks() - before
            pipe.send((found, max(everybody - mine, 0) / wall / os.cpu_count()))
            pipe.recv()
            before = _clocks()
    except EOFError:  # the pipe was closed: nothing more is asked
        pass
    except ImportError as error:
        pipe.send((Missing(str(error)), 0))
    except Exception as error:
        pipe.send((RuntimeError(f"{type(error).__name__}: {error}"), 0))
        raise


def _clocks():
    """Seconds of all processes on all cores, of this process on all cores, and of the clock."""
    user, nice, system, _, _, *more = map(int, Path("/proc/stat").read_text().split()[1:9])
    ticks = user + nice + system + sum(more)
    return np.array([ticks / os.sysconf("SC_CLK_TCK"), time.process_time(), time.perf_counter()])


class Peak:
    """What the machine's matrix products can do: loops on one thread each, in as many processes.

    Args:
        loops: how many.  seconds: of a round.
    """

    def __init__(self, loops: int, seconds: float):
        self._workers = [Worker(sgemm, seconds) for _ in range(loops)]

    def round(self) -> float:
        """Run all loops side by side and return the sum of their GFLOP/s."""
        for worker in self._workers:
            worker.go()
        speeds = [worker.answer() for worker in self._workers]
        # To each loop the others of these are others.
        known = (len(speeds) - 1) / os.cpu_count()
        self.others = max(statistics.mean(worker.others for worker in self._workers) - known, 0)
        return sum(speeds)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()


def sgemm(seconds: float, size: int = 1024) -> Iterator[float]:
    """Multiply square float32 matrices on one thread: yields GFLOP/s."""
    a, b, out = np.ones((3, size, size), np.float32)
    with threadpool_limits(1):
        np.matmul(a, b, out)
        yield 0.0
        while True:
            count, spent = repeat(lambda: np.matmul(a, b, out), seconds)
            yield 2e-9 * size**3 * count / spent


def repeat(call: Callable, seconds: float) -> tuple[int, float]:
    """Call again and again until so many seconds are over: how often, and how long it took."""
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        call()
        count += 1
    return count, spent


@contextmanager
def workers(jobs: Mapping[str, tuple]) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """Start a worker for each job, one after the other; also say why some can't run here."""
    running, missing = {}, {}
    with ExitStack() as stack:
        for name, job in jobs.items():
            try:
                running[name] = Worker(*job)
            except Missing as reason:
                missing[name] = f"left out: {reason}"
            else:
                stack.callback(running[name].close)
        yield running, missing


def alternate(o: argparse.Namespace, sides: Mapping, turns: int = 1) -> dict[str, list]:
    """Let the sides take turns, every other time in the reverse order: each one's numbers.

    Args:
        o: the options; what other processes took is noted there.
        sides: by their names, each with a `round`.
        turns: that make a round.
    """
    found: dict[str, list] = {name: [] for name in sides}
    for number in range(o.rounds * turns):
        for name in reversed(sides) if number % 2 else sides:
            time.sleep(PAUSE)
            found[name].append(sides[name].round())
            o.others.append(sides[name].others)
    return found


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Divide round by round."""
    return [a / b for a, b in zip(values, others, strict=True)]


def spread(values: Sequence[float], form: str = ",.2f") -> str:
    """Write the median, and the least and the most.

    >>> spread([1.5, 1.25, 2])
    '1.50 (1.25 to 2.00)'
    """
    middle, least, most = (f"{f(values):{form}}" for f in (statistics.median, min, max))
    return f"{middle} ({least} to {most})"


def table(heads: Sequence[str], rows: Sequence[Sequence]) -> str:
    """Write a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def machine() -> str:
    """Describe the machine, Python and the state of this repository."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    return (
        f"{usable_cores()} cores of {model}, {memory:.0f} GiB; "
        f"Python {platform.python_version()}; minibert at {commit}."
    )


def options(doc: str) -> argparse.ArgumentParser:
    """Make the parser of a script that has this docstring."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only to see that it runs")
    parser.add_argument("--out", type=Path, help="write the result to this file too")
    parser.add_argument("--rounds", type=int, help="(5; quick: 2)")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line; `others` will say what other processes took of the machine."""
    o = parser.parse_args()
    o.rounds = o.rounds or (2 if o.quick else 5)
    o.others = []
    return o


def report(o: argparse.Namespace, title: str, *parts: str) -> None:
    """Print the parts of a result under its title, and write them to `--out`."""
    warning = ["A quick run, only to see that it runs: its numbers mean nothing."] * o.quick
    method = (
        "Medians, with the least and the most; ratios are taken within a round. Each side runs in "
        f"a process of its own, one at a time, in turns, {o.rounds} rounds."
    )
    others = f"Meanwhile other processes took {spread(o.others, '.0%')} of the machine."
    paragraphs = (f"# {title}", *warning, *parts, method, others, machine())
    text = "\n\n".join(part.strip() for part in paragraphs) + "\n"
    print(text)
    if o.out:
        o.out.write_text(text, encoding="utf-8")
