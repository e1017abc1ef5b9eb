"""Measurements: each side in its own process, alternately, over several rounds.

A side is a generator. Up to its first `yield`, of a description, it loads and warms up; then each
step of the generator is one round, which yields the round's measurements. It runs in its own
process, where it may use all cores, and waits at a pipe between its rounds.
"""

import argparse
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import avx2
from minibert.runtime.threads import usable_cores

PAUSE = 0.5  # seconds between two rounds, until the threads of the last one sleep
METHOD = """Medians, with minimum and maximum; ratios are computed within a round. Each side runs in
its own process, one at a time, alternately, {} rounds."""


class Missing(Exception):
    """A side cannot run, because a package is not installed."""


class Worker:
    """A generator in its own process, which runs to its next `yield` on request.

    Args:
        job (function): the generator function.
        args: its arguments.

    Attributes:
        ready: its first value.
        others (float): the share of the machine that other processes used during its last round.
    """

    def __init__(self, job: Callable, *args):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, job, args), daemon=True)
        self._process.start()
        theirs.close()
        self.ready = self.answer()

    def go(self) -> None:
        """Start a round."""
        self._pipe.send("go")

    def answer(self):
        """Wait for the next value and return it."""
        found, self.others = self._pipe.recv()
        if isinstance(found, Exception):
            raise found
        return found

    def round(self):
        """Run one round and return its value."""
        self.go()
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(5)
        self._process.kill()


def _serve(pipe, job, args):
    try:
        before = clocks()
        for found in job(*args):
            if avx2.is_limited():
                avx2.check()
            pipe.send((found, busy_share(before)))
            pipe.recv()
            before = clocks()
    except EOFError:  # the pipe was closed: no more rounds
        pass
    except (ImportError, Missing) as error:
        pipe.send((Missing(str(error)), 0))
    except Exception as error:
        pipe.send((RuntimeError(f"{type(error).__name__}: {error}"), 0))
        raise


def clocks() -> np.ndarray:
    """Return CPU seconds of all processes and of this one with its children, and the time (3,)."""
    user, nice, system, _, _, *more = map(int, Path("/proc/stat").read_text().split()[1:9])
    ticks = user + nice + system + sum(more)
    own = sum(os.times()[:4])
    return np.array([ticks / os.sysconf("SC_CLK_TCK"), own, time.perf_counter()])


def busy_share(before: np.ndarray) -> float:
    """Return the share of the machine that other processes used since `clocks()` (float)."""
    busy, own, wall = clocks() - before
    return max(busy - own, 0) / wall / os.cpu_count()


class Processes:
    """Several workers that run one job at the same time; their values are numbers, which are added.

    Args:
        count (int): number of processes.
        job (function): the generator function.
        args: its arguments.
    """

    def __init__(self, count: int, job: Callable, *args):
        self._workers = [Worker(job, *args) for _ in range(count)]

    def round(self) -> float:
        """Run one round in all processes and return the sum of their values."""
        for worker in self._workers:
            worker.go()
        values = [worker.answer() for worker in self._workers]
        known = (len(values) - 1) / os.cpu_count()  # each process counts the others
        self.others = max(statistics.mean(worker.others for worker in self._workers) - known, 0)
        return sum(values)

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.close()


def sgemm_loops(loops: int, seconds: float) -> Processes:
    """Return processes that measure the machine's speed of matrix products, one thread each."""
    return Processes(loops, sgemm, seconds)


def sgemm(seconds: float, size: int = 1024) -> Iterator[float]:
    """Multiply square float32 matrices on one thread; yield GFLOP/s."""
    a, b, out = np.ones((3, size, size), np.float32)
    with threadpool_limits(1):
        np.matmul(a, b, out)
        yield 0.0
        while True:
            count, spent = repeat(lambda: np.matmul(a, b, out), seconds)
            yield 2e-9 * size**3 * count / spent


def repeat(call: Callable, seconds: float) -> tuple[int, float]:
    """Call repeatedly for a number of seconds; return the count and the elapsed time."""
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        call()
        count += 1
    return count, spent


@contextmanager
def workers(jobs: Mapping[str, tuple]) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """Start a worker for each job; yield them, and why others cannot run."""
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
    """Run the sides alternately, every other time in reverse order; return their values.

    Args:
        o (Namespace): the options; appends to `others` the share that other processes used.
        sides (dict): by name, objects with `round()` and `others`.
        turns (int): turns per round.

    Returns:
        lists of values by side.
    """
    found: dict[str, list] = {name: [] for name in sides}
    for number in range(o.rounds * turns):
        for name in reversed(sides) if number % 2 else sides:
            time.sleep(PAUSE)
            found[name].append(sides[name].round())
            o.others.append(sides[name].others)
    return found


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return the ratio of each round (list of float)."""
    return [a / b for a, b in zip(values, others, strict=True)]


def spread(values: Sequence[float], form: str = ",.2f") -> str:
    """Format the median, minimum and maximum (str).

    >>> spread([1.5, 1.25, 2])
    '1.50 (1.25 to 2.00)'
    """
    middle, low, high = (f"{f(values):{form}}" for f in (statistics.median, min, max))
    return f"{middle} ({low} to {high})"


def table(heads: Sequence[str], rows: Sequence[Sequence]) -> str:
    """Format a Markdown table (str)."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def processor() -> str:
    """Return the name of the processor, and whether it has AVX-512 (str)."""
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*: (.*)", text)
    name = found[1].strip() if found else "an unknown processor"
    return f"{name} {'with' if ' avx512f ' in text else 'without'} AVX-512"


def memory_mib(field: str = "VmHWM") -> float:
    """Return a field of this process's status in MiB (float): VmRSS, or its peak VmHWM."""
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024


def elapsed(call: Callable) -> float:
    """Return the seconds that a call takes (float)."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def machine() -> str:
    """Describe the machine, Python and the commit of this repository (str).

    The commit is "-dirty" if code has changed since; stored results may have.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    git = ["git", "-C", str(Path(__file__).parent)]
    described = subprocess.run([*git, "describe", "--always"], capture_output=True, text=True)
    code = [*git, "diff", "--quiet", "HEAD", "--", "../minibert", "*.py"]
    is_dirty = subprocess.run(code, capture_output=True).returncode == 1
    commit = (described.stdout.strip() or "unknown") + "-dirty" * is_dirty
    return (
        f"{usable_cores()} cores of {processor()}, {memory:.0f} GiB; "
        f"Python {platform.python_version()}; minibert at {commit}."
    )


def options(doc: str, can_limit: bool = False) -> argparse.ArgumentParser:
    """Return the parser of a script (ArgumentParser).

    Args:
        doc (str): the script's docstring.
        can_limit (bool): offer `--avx2`; all processes that count must be a `Worker`.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short run, as a test of the script")
    parser.add_argument("--out", type=Path, help="also write the result to this file")
    parser.add_argument("--rounds", type=int, help="number of rounds (--quick: 2)")
    if can_limit:
        parser.add_argument("--avx2", action="store_true", help="use no AVX-512, on any side")
    parser.set_defaults(avx2=False)
    return parser


def parse(parser: argparse.ArgumentParser, rounds: int = 5) -> argparse.Namespace:
    """Parse the command line; `others` will contain the load by other processes."""
    o = parser.parse_args()
    o.rounds = o.rounds or (2 if o.quick else rounds)
    o.others = []
    if o.avx2:
        avx2.limit()
    return o


def report(o: argparse.Namespace, title: str, *parts: str, method: str = METHOD) -> None:
    """Print the parts of a result below a title, and write them to `--out`."""
    title += ", limited to AVX2" * o.avx2
    warning = ["A quick run, as a test of the script: its figures mean nothing."] * o.quick
    limit = ["NumPy, OpenBLAS and PyTorch were limited to AVX2."] * o.avx2
    others = f"Other processes used {spread(o.others, '.0%')} of the machine."
    paragraphs = (
        f"# {title}",
        *warning,
        *parts,
        *limit,
        method.format(o.rounds),
        others,
        machine(),
    )
    text = "\n\n".join(part.strip() for part in paragraphs) + "\n"
    print(text)
    if o.out:
        o.out.write_text(text, encoding="utf-8")
