"""How many of mutmut's small changes do the tests notice?

mutmut changes one operator, constant, argument or assignment of a function at a time. A random
sample of its changes is tested one by one by the tests that run the changed function, the fastest
first, up to the first failure. A change is noticed if a test fails, or does not end within 60 CPU
seconds. Hypothesis tries the same examples for every change, and stores none.

    pip install mutmut==3.8.1 '.[test,cover]'
    python -m benchmarks.mutants --out mutants.jsonl

pytest collects the tests of a copy of the repository once; then each change is tested in a fork of
that process, where the changed function gets its new code. (What the package or a test computed at
its import stays as it was; so no test is among them that compares bits with such an array.) The
output has a line of JSON per change. If the file exists, only the missing changes are tested, and
with `--again` those that no failure noticed.
"""

import argparse
import ast
import difflib
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 60  # CPU seconds for one test; the slowest takes 7
WAIT = 600  # seconds for one test that waits, on a busy machine
MEMORY = 6 << 30  # bytes of data for one process
BROKEN = 70  # exit code of a process that could not test its change
ROOMS = ("functional", "layers", "tokenization", "data/masking.py", "optim")
TESTS = (
    "tests/functional",
    "tests/layers",
    "tests/tokenization",
    "tests/optim",
    "tests/data/test_masking.py",
    "tests/plain",
    "tests/test_by_hand.py",
    "tests/test_doctests.py",
    "tests/models/test_models.py",
    "tests/models/test_parts.py",
    "tests/objectives/test_masked_lm.py",
    "tests/properties/test_losses.py",
    "tests/properties/test_numbers.py",
    "tests/properties/test_round_trips.py",
    "tests/testing/test_cases.py",
    "tests/training/test_engine.py",
)


class Change(NamedTuple):
    """One of mutmut's changes.

    Attributes:
        name: the file, the function and the number of the change in the function.
        room: of `ROOMS`.
        path: of the file in the repository.
        function: dotted name in the file.
        module (libcst.Module): the file as it is.
        mutation (mutmut.mutation.file_mutation.Mutation): two nodes, before and after.
    """

    name: str
    room: str
    path: str
    function: str
    module: Any
    mutation: Any

    def source(self) -> str:
        """Return the whole changed file (str)."""
        nodes = self.mutation.original_node, self.mutation.mutated_node
        return self.module.deep_replace(*nodes).code

    def lines(self) -> range:
        """Return the numbers of the lines of the function's body."""
        body: list[Any] = ast.parse(self.module.code).body
        for name in self.function.split("."):
            node = next(node for node in reversed(body) if getattr(node, "name", None) == name)
            body = node.body
        return range(body[0].lineno, node.end_lineno + 1)

    def diff(self) -> list[str]:
        """Return the lines that differ, with `-` and `+` (list of str)."""
        before, after = (text.splitlines() for text in (self.module.code, self.source()))
        return list(difflib.unified_diff(before, after, n=0, lineterm=""))[3:]


def all_changes() -> list[Change]:
    """Return all changes that mutmut makes in the rooms, sorted by name."""
    found = [
        change
        for room in ROOMS
        for path in sorted((ROOT / "minibert").glob(f"{room}/*.py" if "." not in room else room))
        for change in changes_of(path, room)
    ]
    return sorted(found, key=lambda change: change.name)


def changes_of(path: Path, room: str) -> Iterator[Change]:
    """Yield mutmut's changes of the functions and methods of a file."""
    import libcst
    from mutmut.mutation.file_mutation import create_mutations

    where = path.relative_to(ROOT).as_posix()
    module, mutations, *_ = create_mutations(where, path.read_text("utf-8"))
    names = {
        node: f"{owner.name.value}.{node.name.value}" if owner else node.name.value
        for owner in (None, *(node for node in module.body if isinstance(node, libcst.ClassDef)))
        for node in (owner.body if owner else module).body
        if isinstance(node, libcst.FunctionDef)
    }
    numbers: Counter[str] = Counter()
    for mutation in mutations:
        if name := names.get(mutation.contained_by_top_level_function):
            numbers[name] += 1
            full = f"{where}:{name}:{numbers[name]:03d}"
            yield Change(full, room, where, name, module, mutation)


class Tests:
    """A pytest plugin that runs the collected tests in forks, once for each change.

    Args:
        copy: folder of the copy of the repository.
        sample: the changes.
        write: is given the line of the output for each.
    """

    def __init__(self, copy: Path, sample: list[Change], write: Callable[[dict[str, Any]], None]):
        self.copy, self.sample, self.write = copy, sample, write
        self.failed: str | None = None

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Start the time limits of a test."""
        limit_time(LIMIT, WAIT)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the first test that fails."""
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests without a change, and then for each change those that it concerns."""
        code, found = forked(lambda: self.measure(session.items))
        if code:
            raise RuntimeError(f"expected tests that pass without a change, got {found}")
        for number, change in enumerate(self.sample, start=1):
            body = change.lines()
            concerned = [
                (seconds, index)
                for index, (seconds, lines) in enumerate(found)
                if any(line in body for line in lines.get(change.path, []))
            ]
            items = [session.items[index] for _, index in sorted(concerned)]
            self.write(self.line(change, items, number))
        return True

    def run(self, items: list[pytest.Item]) -> Iterator[pytest.Item]:
        """Run tests up to the first failure; yield each after it has run."""
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            yield item
            if self.failed:
                return

    def measure(self, items: list[pytest.Item]) -> tuple[int, Any]:
        """Return 0 and each test's seconds and lines by path, or 1 and the test that failed."""
        measured = coverage.Coverage(data_file=None, config_file=False, source=["minibert"])
        measured.start()
        measured.switch_context("0")
        seconds, start = [], time.perf_counter()
        for _ in self.run(items):
            seconds.append(time.perf_counter() - start)
            measured.switch_context(str(len(seconds)))
            start = time.perf_counter()
        measured.stop()
        limit_time(0, 0)
        if self.failed:
            return 1, self.failed
        data = measured.get_data()
        lines: list[dict[str, list[int]]] = [{} for _ in [*items, "after the last"]]
        for path in {change.path for change in self.sample}:
            for line, contexts in data.contexts_by_lineno(str(self.copy / path)).items():
                for context in filter(None, contexts):
                    lines[int(context)].setdefault(path, []).append(line)
        return 0, list(zip(seconds, lines[:-1], strict=True))

    def line(self, change: Change, items: list[pytest.Item], number: int) -> dict[str, Any]:
        """Test a change in a fork and return the line of the output (dict)."""
        file, after = self.copy / change.path, change.source()
        start = time.perf_counter()
        try:
            file.write_text(after, "utf-8")  # for tests that start a process
            os.utime(file, (number, number))  # no two changes share a file of bytecode
            code, by = forked(lambda: self.test(change, file, items))
        finally:
            file.write_text(change.module.code, "utf-8")
        if code == BROKEN:
            raise RuntimeError(f"{change.name}: {by}")
        late = dict.fromkeys((-signal.SIGPROF, -signal.SIGALRM), "time limit")
        return {
            "name": change.name,
            "room": change.room,
            "outcome": {0: "not noticed", **late}.get(code, "noticed"),
            "by": by or f"exit code {code}",
            "tests": len(items),
            "seconds": round(time.perf_counter() - start, 1),
            "diff": change.diff(),
        }

    def test(self, change: Change, file: Path, items: list[pytest.Item]) -> tuple[int, Any]:
        """Plant the change and run the tests; return an exit code and the test that failed."""
        try:
            plant(change, file)
        except Exception as error:
            return 1, f"import: {error!r}"
        for _ in self.run(items):
            pass
        return (1, self.failed) if self.failed else (0, "no test")


def plant(change: Change, file: Path) -> None:
    """Give the imported function the code and the default values of the changed one."""
    name = change.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec
    assert spec.loader
    changed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(changed)
    old, new = (function_of(module, change.function) for module in (sys.modules[name], changed))
    old.__code__ = new.__code__
    plain = (int, float, str, type(None))  # mutmut changes no other default value
    if old.__defaults__ and new.__defaults__:
        pairs = zip(old.__defaults__, new.__defaults__, strict=True)
        old.__defaults__ = tuple(b if isinstance(b, plain) else a for a, b in pairs)
    for key, value in (new.__kwdefaults__ or {}).items():
        if isinstance(value, plain):
            old.__kwdefaults__[key] = value


def function_of(module: ModuleType, name: str) -> FunctionType:
    """Return a function or method by its dotted name in a module."""
    found: Any = module
    for part in name.split("."):
        found = vars(found)[part]
    return getattr(found, "__func__", found)


def forked(work: Callable[[], tuple[int, Any]]) -> tuple[int, Any]:
    """Do some work in a fork, silently; return its exit code and its result.

    The result goes through JSON. A process that a signal ends has the code -signal.
    """
    with tempfile.NamedTemporaryFile("r+") as file:
        child = os.fork()
        if child == 0:
            silence = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(silence, stream)
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            limit_time(LIMIT, WAIT)
            try:
                code, result = work()
            except BaseException:
                code, result = BROKEN, traceback.format_exc()
            Path(file.name).write_text(json.dumps(result), "utf-8")
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        text = file.read()
    return code, json.loads(text) if text else None


def limit_time(cpu: int, wait: int) -> None:
    """End this process after `cpu` CPU seconds or `wait` seconds; 0: no limit."""
    signal.setitimer(signal.ITIMER_PROF, cpu)
    signal.alarm(wait)


def table(lines: list[dict[str, Any]]) -> str:
    """Return the Markdown table of the counts per room."""
    rows = ["| room | changes | noticed | by the time limit | share |", "| --- " * 5 + "|"]
    for room in (*ROOMS, "all"):
        outcomes = Counter(line["outcome"] for line in lines if room in (line["room"], "all"))
        late, missed = outcomes["time limit"], outcomes["not noticed"]
        noticed = outcomes.total() - missed
        share = noticed / max(outcomes.total(), 1)
        rows.append(f"| {room} | {outcomes.total()} | {noticed} | {late} | {share:.1%} |")
    return "\n".join(rows)


def main() -> None:
    """Test a sample of the changes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=600, help="changes in the sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--again", action="store_true", help="test again what no failure noticed")
    options = parser.parse_args()
    everything = all_changes()
    sample = random.Random(options.seed).sample(everything, min(options.count, len(everything)))
    lines = [json.loads(line) for line in options.out.open()] if options.out.exists() else []
    done = {line["name"]: line for line in lines}
    kept = (
        done.keys() if not options.again else {n for n in done if done[n]["outcome"] == "noticed"}
    )
    missing = [change for change in sample if change.name not in kept]
    output = options.out.resolve()

    def write(line: dict[str, Any]) -> None:
        done[line["name"]] = line
        print(len(done), *(line[key] for key in ("outcome", "name", "by", "tests", "seconds")))
        with output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    if missing:
        test_in_copy(missing, write)
    print(f"{len(everything)} changes, of which a sample of {len(sample)} (seed {options.seed}):\n")
    print(table([done[change.name] for change in sample]))


def test_in_copy(sample: list[Change], write: Callable[[dict[str, Any]], None]) -> None:
    """Copy the repository and test the changes there."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "repository"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        os.environ |= {"CI": "1", "PYTHONPATH": str(copy)}  # CI: Hypothesis repeats its examples
        sys.path[:] = [str(copy), *(each for each in sys.path if each not in ("", str(ROOT)))]
        os.chdir(copy)
        options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:randomly"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning", f"--basetemp={folder}/tests"]
        pytest.main([*options, *TESTS], plugins=[Tests(copy, sample, write)])
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
