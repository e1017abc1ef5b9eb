"""Fuzz one target for minutes: `python -m tests.faults vocab --minutes 10`.

Guided by code coverage if `atheris` is installed, otherwise random. The first finding ends the run:
its bytes are written to a file, and the exit status is 1.
"""

import argparse
import faulthandler
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

HANG = 60  # seconds; a file that takes longer is a finding
SIZES = 1 << 18  # maximum bytes of an input of atheris


def main() -> int:
    """Fuzz a target and print the number of executions."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--by-chance", action="store_true", help="without atheris")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for a finding")
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris is None or options.by_chance:
        atheris, targets = None, _targets()
    else:
        with atheris.instrument_imports(include=["minibert"], enable_loader_override=False):
            targets = _targets()
    if options.target not in targets:
        parser.error(f"there is no such target; there are {', '.join(targets)}")
    finding = options.out.absolute() / f"finding-{options.target}"
    os.chdir(tempfile.mkdtemp(prefix="minibert-faults-"))
    return _Fuzzing(options, targets[options.target], finding).run(atheris)


def _targets():
    from tests.faults.targets import TARGETS

    return TARGETS


class _Fuzzing:
    def __init__(self, options, target, finding):
        self.options, self.target, self.finding = options, target, finding
        self.folder = Path("files").absolute()
        self.valid = target.valid(self.folder)
        self.runs, self.refused = 0, 0
        self.end = time.monotonic() + 60 * options.minutes

    def run(self, atheris):
        # After a timeout the traceback is printed and the process ends, also within a C function.
        faulthandler.register(signal.SIGALRM, chain=True)
        if atheris is None:
            while time.monotonic() < self.end:
                self.feed(self.mutated(self.options.seed * 1_000_003 + self.runs))
            return self.report()

        def mutator(content, most, seed):
            return self.mutated(seed)[:most] if seed % 2 else atheris.Mutate(content, most)

        def once(content):
            if time.monotonic() > self.end:
                self.leave(self.report())
            self.feed(content)

        Path("corpus").mkdir()
        Path("corpus/valid").write_bytes(self.valid)
        arguments = [f"-max_len={SIZES}", f"-seed={self.options.seed + 1}", "-verbosity=0"]
        arguments.append("-timeout=0")  # the timeout is the alarm's
        atheris.Setup(["faults", "corpus", *arguments], once, custom_mutator=mutator)
        atheris.Fuzz()
        return 0

    def mutated(self, seed):
        from tests.faults.mutation import mutate

        return mutate(self.valid, random.Random(seed).randrange)

    def feed(self, content):
        if not (self.folder / self.target.file).parent.is_dir():
            self.target.valid(self.folder)
        self.runs += 1
        signal.alarm(HANG)
        try:
            self.refused += self.target.feed(self.folder, content) is not None
        except BaseException:
            traceback.print_exc()
            self.finding.write_bytes(content)
            sys.stdout.write(f"{self.finding}: {len(content)} bytes cause the failure\n")
            self.leave(self.report(failed=True))
        finally:
            signal.alarm(0)

    def report(self, failed=False):
        sys.stdout.write(f"{self.options.target}: {self.runs:,} executions, "
                         f"{self.refused:,} refused\n")  # fmt: skip
        sys.stdout.flush()
        return int(failed)

    def leave(self, status):
        """End the process immediately, because libFuzzer would report a crash."""
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
