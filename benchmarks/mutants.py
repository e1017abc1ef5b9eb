"""How many of mutmut's small changes do the tests notice?

mutmut changes one operator, constant, argument or assignment of a function at a time. A random
sample of its changes is tested one by one, in a copy of the repository: first by the test file that
mirrors the changed file, then by the other tests of the room, up to the first failure. A change is
noticed if a test fails, or does not end within 60 seconds. Hypothesis tries the same examples for
every change, and stores none.

    pip install mutmut==3.8.1
    python -m benchmarks.mutants --out mutants.jsonl

The output has a line of JSON per change. If the file exists, only the missing changes are tested;
a change that was not noticed is tested again with `--again`. The table is of all in the file.
"""

import argparse
import difflib
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
BROKEN = 70
LIMIT = 60  # seconds for one test; the slowest takes 7
MEMORY = 6 << 30  # bytes of data for one process
MODELS = (
    "tests/layers",
    "tests/functional",
    "tests/properties/test_numbers.py",
    "tests/test_by_hand.py",
    "tests/plain",
    "tests/models/test_models.py",
    "tests/models/test_parts.py",
    "tests/properties/test_losses.py",
    "tests/testing/test_cases.py",
)
ROOMS = {  # where the changes are made, and the tests: the fast ones first
    "functional": MODELS,
    "layers": MODELS,
    "tokenization": ("tests/tokenization", "tests/properties/test_round_trips.py"),
    "data/masking.py": (
        "tests/data/test_masking.py",
        "tests/objectives/test_masked_lm.py",
        "tests/test_by_hand.py",
        "tests/properties/test_round_trips.py",
    ),
    "optim": (
        "tests/optim",
        "tests/properties/test_numbers.py",
        "tests/test_by_hand.py",
        "tests/training/test_engine.py",
        "tests/training/test_loop.py",
    ),
}


class Change(NamedTuple):
    """One of mutmut's changes.

    Attributes:
        name: the file, the function and the number of the change.
        room: key of `ROOMS`.
        path: of the file in the repository.
        module (libcst.Module): the file as it is.
        mutation (mutmut.mutation.file_mutation.Mutation): two nodes, before and after.
    """

    name: str
    room: str
    path: str
    module: Any
    mutation: Any

    def source(self) -> str:
        """Return the whole changed file (str)."""
        nodes = self.mutation.original_node, self.mutation.mutated_node
        return self.module.deep_replace(*nodes).code


def changes() -> list[Change]:
    """Return all changes that mutmut makes in the rooms, sorted by name."""
    found = [
        change
        for room in ROOMS
        for path in python_files(ROOT / "minibert" / room)
        for change in changes_of(path, room)
    ]
    return sorted(found, key=lambda change: change.name)


def changes_of(path: Path, room: str) -> Iterator[Change]:
    """Yield mutmut's changes of the functions of a file."""
    import libcst
    from mutmut.mutation.file_mutation import create_mutations

    where = path.relative_to(ROOT).as_posix()
    module, mutations, *_ = create_mutations(where, path.read_text("utf-8"))
    numbers: Counter[str] = Counter()
    for mutation in mutations:
        function = mutation.contained_by_top_level_function
        if isinstance(function, libcst.FunctionDef):
            numbers[function.name.value] += 1
            name = f"{where}:{function.name.value}:{numbers[function.name.value]:03d}"
            yield Change(name, room, where, module, mutation)


def python_files(path: Path) -> list[Path]:
    """Return the file itself, or the sorted files of a folder."""
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def test_files(change: Change) -> list[str]:
    """Return the test files for a change, its mirror first."""
    files = [
        file.relative_to(ROOT).as_posix()
        for each in ROOMS[change.room]
        for file in python_files(ROOT / each)
        if file.name.startswith("test_")
    ]
    folder = Path("tests", Path(change.path).relative_to("minibert").parent).as_posix()
    mirror = f"{folder}/test_{Path(change.path).stem}.py"
    return sorted(files, key=lambda file: (file != mirror, not file.startswith(folder)))


class Watch:
    """A pytest plugin that limits the time of each test and records the first failure."""

    def __init__(self) -> None:
        self.failed: str | None = None

    def pytest_runtest_setup(self, item: Any) -> None:
        """Start the limit anew; SIGALRM ends the process."""
        signal.alarm(LIMIT)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Record the test that failed."""
        if report.failed and self.failed is None:
            self.failed = report.nodeid


def run(change: Change, copy: Path, number: int) -> dict[str, Any]:
    """Test a change in a process of its own and return the line of the output (dict)."""
    file = copy / change.path
    before, after = change.module.code, change.source()
    start = time.perf_counter()
    with tempfile.NamedTemporaryFile("r+") as failed:
        try:
            file.write_text(after, "utf-8")
            os.utime(file, (number, number))  # no two changes share a file of bytecode
            child = os.fork()
            if child == 0:
                try:
                    os._exit(test(change, copy, failed.name))
                except BaseException:
                    traceback.print_exc()
                    os._exit(BROKEN)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finally:
            file.write_text(before, "utf-8")
        by = failed.read()
    if code >= pytest.ExitCode.USAGE_ERROR:
        raise RuntimeError(f"{change.name}: expected a result of tests, got exit code {code}")
    outcome = {0: "not noticed", -signal.SIGALRM: "time limit"}.get(code, "noticed")
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return {
        "name": change.name,
        "room": change.room,
        "outcome": outcome,
        "code": code,
        "by": by,
        "seconds": round(time.perf_counter() - start, 1),
        "diff": list(diff)[2:],
    }


def test(change: Change, copy: Path, failed: str) -> int:
    """Run pytest in the copy, up to the first failure, and return its exit code (int)."""
    os.chdir(copy)
    sys.path[:] = [str(copy), *(each for each in sys.path if each not in ("", str(ROOT)))]
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    signal.alarm(LIMIT)
    watch = Watch()
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of what was loaded before
    code = int(pytest.main([*options, *test_files(change)], plugins=[watch]))
    Path(failed).write_text(watch.failed or "", "utf-8")
    return code


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
    parser.add_argument("--again", action="store_true", help="test the unnoticed changes again")
    options = parser.parse_args()
    everything = changes()
    sample = random.Random(options.seed).sample(everything, min(options.count, len(everything)))
    lines = [json.loads(line) for line in options.out.open()] if options.out.exists() else []
    done = {
        line["name"]: line
        for line in lines
        if not (options.again and line["outcome"] == "not noticed")
    }
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "repository"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        os.environ |= {"CI": "1", "PYTHONPATH": str(copy)}  # CI: Hypothesis repeats its examples
        import hypothesis  # noqa: F401  (loaded once, for all processes)
        import numpy  # noqa: F401  (likewise)

        for number, change in enumerate(sample, start=1):
            if change.name not in done:
                done[change.name] = line = run(change, copy, number)
                shown = [line[key] for key in ("outcome", "name", "by", "seconds")]
                print(number, *shown, flush=True)
                with options.out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    print(f"{len(everything)} changes, of which a sample of {len(sample)} (seed {options.seed}):\n")
    print(table([done[change.name] for change in sample]))


if __name__ == "__main__":
    main()
