"""Fail and kill every command that writes at every file-system call, and lose power at every flush.

    python -m tests.faults.harness --out benchmarks/results/faults.md

After a failure: one line on stderr names the file, or the result is right nevertheless. After each
failure, kill and loss of power: the same command, continued, writes the same bits as one that was
never disturbed. Options select commands and a sample of the calls, and keep the results, so that
several processes can share the work and a run can be continued.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks.records import Records
from minibert.io import leftovers
from minibert.io.atomic import TEMPORARY
from tests.faults.commands import COMMANDS, make_room
from tests.faults.crashes import Disk, write_state
from tests.faults.injection import KILL, KINDS, Injection, Killed
from tests.faults.targets import TARGETS
from tests.gradcheck.rates import commit, table

HEAD = """\
# Injected faults

Written by `tests/faults/harness.py`, which `.ci/full` runs. Each command below runs on small
inputs, once for each of its file-system calls (`demo`: for a tenth) and each kind of fault:

- **Failed**: the call fails, with "No space left on device" or an input/output error; or the disk
  is full from the call on, and of a write a half fits. Either one line on stderr names the file, or
  the result is right.
- **Killed**: the process ends at the call; a write has stored a half.
- **Power losses**: the states of the disk, around each flush, rename and removal, that a loss of
  power can leave: what was not flushed is there or not, in every combination of `crashes.MODES`.

After each, the same command (with `--resume` if it has it) writes the bits of a run that was never
disturbed, and leaves no temporary file in its folder. Fuzzing feeds mutated files to each reader.
"""
FIXED = [
    ["failed calls", "the error of a failed read, or of a write to a lock, a history or a store's "
     "files, or of a model card, named no file", "`test_harness.py`, "
     "`test_card.py`"],
    ["power losses", "a history lost lines of steps before the checkpoint from which the run "
     "continued", "`test_harness.py`"],
    ["links", "`--out` and `--html` replaced links, devices and pipes by files; the file behind a "
     "lock, a history or a store's array that was a link was truncated", "`test_outputs.py`"],
    ["links", "an empty folder behind a link, with a lock, or that is a mount point was refused "
     "after the work", "`test_outputs.py`"],
    ["kills", "a check that was killed left a folder which made the output folder count as full, "
     "and which nothing removed", "`test_outputs.py`, `test_leftovers.py`"],
    ["bad files", "`pretrain` named the text instead of the held-out file; a store with a bad line "
     "left an empty store; a file of a byte order mark alone was read as no lines",
     "`test_refusals.py`"],
    ["bad files", "standard input followed the locale, kept its byte order mark, and did not name "
     "the line of a bad byte", "`test_printed.py`"],
    ["bad files", "a vector store of more rows than any file has, and names of inputs that could "
     "not be saved, ended in another error than one of the project", "`test_vector_store.py`, "
     "`test_saved.py`"],
]  # fmt: skip


def end_writers(folder):
    """Release the locks of temporary files, as the end of a process does, some time ago."""
    for path in list(leftovers._held):
        leftovers.release(path)
    for path in folder.rglob(TEMPORARY):
        os.utime(path, (0, 0))


@dataclass
class Count:
    """The figures of one command."""

    command: str
    commit: str
    calls: int = 0
    failed: int = 0
    killed: int = 0
    states: int = 0
    findings: list[str] = field(default_factory=list)


class Rig:
    """Runs one command again and again in new folders.

    Args:
        name (str): in `COMMANDS`.
        folder (path): for inputs, outputs and copies.
    """

    def __init__(self, name: str, folder: Path):
        self.command, self.folder = COMMANDS[name], folder
        self.count = Count(name, commit())
        self.work = folder / "work"  # one name for all copies, which outputs contain
        make_room(folder / "room")
        self.fresh()
        self.before = self._result()
        with Injection(self.work).active() as counted:
            status, errors = self.command.start(self.work)
        if status:
            raise AssertionError(f"{name}: {errors}")
        self.expected = self._result()
        assert self.expected
        self.count.calls = len(counted.calls)

    def fresh(self):
        """Make the folder with the inputs again."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.folder / "room", self.work)
        self.command.prepare(self.work)

    def spoil(self, at, kind):
        """Spoil one call; return what is wrong afterwards (str), or None."""
        self.fresh()
        status, errors = None, ""
        with suppress(Killed), Injection(self.work, at, kind).active() as spoiled:
            status, errors = self.command.start(self.work)
        call = spoiled.calls[at - 1] if at <= len(spoiled.calls) else "none"
        try:
            if kind == KILL:
                assert status is None or at > len(spoiled.calls), f"ended with status {status}"
            else:
                self._check_failure(status, errors, call)
            self._check_whole()
            self._check_end()
        except Exception as error:
            return f"{kind} at {at} ({call}): {type(error).__name__}: {error}"
        return None

    def _check_failure(self, status, errors, call):
        if status == 0:  # a call without which the result is right
            assert self._result() == self.expected, "success, and the result is another one"
        else:
            lines = errors.splitlines()
            last = lines[-1] if lines else ""
            assert status in (1, 2), f"status {status}"
            assert last.startswith("minibert: "), f"no message: {errors!r}"
            assert not any(line.startswith("minibert: ") for line in lines[:-1]), errors
            assert "Traceback" not in errors, errors
            assert str(self.work) in last or "standard input" in last, f"names no file: {last}"
        removes = call.split()[0] in ("unlink", "rmdir", "open", "remove")
        left = [] if removes else [path for path in self.work.rglob(TEMPORARY) if "cache" not in
                                   path.parts]  # fmt: skip
        assert not left, f"left {left}"

    def _check_whole(self):
        if self.command.is_atomic:
            assert self._result() in (self.before, self.expected), "neither the old nor the new"

    def _check_end(self):
        end_writers(self.work)
        self.command.finish(self.work)
        found = self._result()
        different = sorted(name for name in {*found, *self.expected}
                           if found.get(name) != self.expected.get(name))  # fmt: skip
        assert not different, f"continued, and different: {different}"
        for name in self.command.outputs:
            left = list((self.work / name).rglob(TEMPORARY))
            assert not left, f"continued, and left {left}"

    def _result(self):
        return self.command.result(self.work)

    def spoil_all(self, share=1.0):
        """Spoil a share of the calls, spread over all, in each way."""
        step = self._step(share, self.count.calls)
        for kind in KINDS:
            first = 1 + zlib.crc32(kind.encode()) % step
            for at in range(first, self.count.calls + 1, step):
                if finding := self.spoil(at, kind):
                    self.count.findings.append(finding)
                if kind == KILL:
                    self.count.killed += 1
                else:
                    self.count.failed += 1

    def _step(self, share, count):
        return min(max(round(1 / (share * self.command.share)), 1), count)

    def lose_power(self, share=1.0):
        """Continue a share of the states that a loss of power can leave."""
        self.fresh()
        disk = Disk(self.work)
        with pytest.MonkeyPatch.context() as patch, disk.watched(patch):
            self.command.start(self.work)
        states = list({repr(sorted(state.items())): state for state in disk.states}.values())
        for i, state in enumerate(states[:: self._step(share, len(states))]):
            shutil.rmtree(self.work)
            write_state(state, self.work)
            self.count.states += 1
            try:
                self._check_whole()
                self._check_end()
            except Exception as error:
                self.count.findings.append(f"state {i}: {type(error).__name__}: {error}")


def main():
    """Run the harness, write the figures, and return 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--share", type=float, default=1.0, help="of the calls and the states")
    parser.add_argument("--fuzz-minutes", type=float, default=0.0, help="for each target")
    parser.add_argument("--out", type=Path, help="a Markdown file")
    parser.add_argument("--runs", type=Path, help="a file of results, to which this adds what it "
                        "lacks, so a run that was stopped continues")  # fmt: skip
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records = Records(options.runs or Path(folder) / "runs.jsonl")
        counts = [inject(name, options.share, records) for name in options.only]
        fuzzed = [fuzz(name, options.fuzz_minutes, records)
                  for name in TARGETS if options.fuzz_minutes]  # fmt: skip
    rows = [[count.command, count.calls, count.failed, count.killed, count.states,
             len(count.findings), count.commit] for count in counts]  # fmt: skip
    findings = [f"{count.command}: {finding}" for count in counts for finding in count.findings]
    findings += [f"fuzzing {each.target}: {each.last}" for each in fuzzed if not each.is_good]
    sums = [
        sum(getattr(count, name) for count in counts) for name in ("failed", "killed", "states")
    ]
    text = [
        HEAD,
        f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.system()}.\n",
        table(["figure", "number"], [
            ["failed calls", sums[0]], ["kills", sums[1]], ["states after a power loss", sums[2]],
            ["minutes of fuzzing", f"{options.fuzz_minutes * len(fuzzed):g}"],
            ["files that were fed", f"{sum(map(_executions, fuzzed)):,}"],
            ["commits of the fuzzing", ", ".join(sorted({each.commit for each in fuzzed}))],
            ["findings at these commits", len(findings)],
        ]),
        table(["command", "calls", "failed", "killed", "power losses", "findings", "commit"], rows),
        *[f"- {finding}\n" for finding in findings],
        "## Findings that were fixed\n",
        table(["found by", "what", "test"], FIXED),
    ]  # fmt: skip
    if options.out:
        options.out.write_text("\n".join(text) + "\n", "utf-8")
    return int(bool(findings))


def inject(name, share, records):
    """Return the figures (`Count`) of a command: those in the records, or new ones."""
    what = {"command": name, "share": share}
    record = records.get(what)
    if record is not None:
        return Count(name, **record["about"], **record["found"])
    with tempfile.TemporaryDirectory(prefix="minibert-faults-") as folder:
        rig = Rig(name, Path(folder))
        rig.spoil_all(share)
        rig.lose_power(share)
    found = vars(rig.count).copy()
    del found["command"]
    about = {"commit": found.pop("commit")}
    records.add(what, found, about)
    _say(rig.count)
    return rig.count


class Fuzzed(NamedTuple):
    """The result of fuzzing a reader: the last line that it printed, and whether that is good."""

    target: str
    commit: str
    last: str
    is_good: bool


def fuzz(name, minutes, records):
    """Return the result (`Fuzzed`) of a target: that in the records, or a new one."""
    what = {"target": name, "minutes": minutes}
    record = records.get(what)
    if record is not None:
        return Fuzzed(name, **record["about"], **record["found"])
    command = [sys.executable, "-m", "tests.faults", name, "--minutes", str(minutes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = (done.stdout.splitlines() or ["no output"])[-1]
    found = Fuzzed(name, commit(), last, done.returncode == 0)
    _say(last)
    records.add(what, {"last": last, "is_good": found.is_good}, {"commit": found.commit})
    return found


def _say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _executions(fuzzed):
    match = re.search(r"([\d,]+) executions", fuzzed.last)
    return int(match[1].replace(",", "")) if match else 0


if __name__ == "__main__":
    sys.exit(main())
