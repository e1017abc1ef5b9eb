"""How much faster do two processes train than one, and what does the machine allow?

`mpiexec -n 1` and `-n 2` run `minibert pretrain` on the built-in corpus alternately, with one
thread per rank and two shards per step. The result of a round is the median tokens/s in the run's
history, without the first quarter of the steps. For comparison: the speed of two processes that
multiply matrices, divided by that of one.

    pip install '.[mpi]'
    python -m benchmarks.ranks
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import (
    alternate,
    busy_share,
    clocks,
    options,
    parse,
    ratios,
    report,
    sgemm_loops,
    spread,
    table,
)
from benchmarks.texts import corpus, tokenizer_folder
from minibert.training.history import read_history

V = 8192
SIZES = {"tiny": (32, 64), "mini": (32, 128)}  # B, T
HEADS = ("model", "batch", "ranks", "tokens/s", "speed / one rank", "loops: speed / one", "ratio")


class Run:
    """`minibert pretrain` on a number of ranks, as a side of the harness."""

    others = 0.0

    def __init__(self, model: str, ranks: int, steps: int):
        self.model, self.ranks, self.steps = model, ranks, steps

    def round(self) -> float:
        """Train a new model; return the median tokens/s of the steps (float)."""
        batch, length = SIZES[self.model]
        mpiexec = shutil.which("mpiexec", path=Path(sys.executable).parent) or "mpiexec"
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            command = [mpiexec, "-n", self.ranks, sys.executable, "-m", "minibert", "pretrain",
                       corpus() / "train.txt", "--tokenizer", tokenizer_folder(V),
                       "--size", self.model, "--length", length, "--batch-size", batch,
                       "--dropout", 0.1, "--shards", 2, "--threads", 1, "--steps", self.steps,
                       "--save-every", self.steps, "--out", out]  # fmt: skip
            before = clocks()
            subprocess.run(list(map(str, command)), check=True, capture_output=True)
            self.others = busy_share(before)
            speeds = [x["tokens_per_second"] for x in read_history(out) if "loss" in x]
        return statistics.median(speeds[len(speeds) // 4 :])


def main() -> None:
    """Run one and two ranks alternately and print the table."""
    parser = options(__doc__)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    o = parse(parser)
    tokenizer_folder(V)  # learned before the measurements
    rows = []
    for model in o.models:
        steps = 8 if o.quick else {"tiny": 120, "mini": 24}[model]
        loops = {f"{n} loops": sgemm_loops(n, 0.3 if o.quick else 1) for n in (1, 2)}
        found = alternate(o, {**{n: Run(model, n, steps) for n in (1, 2)}, **loops})
        for peak in loops.values():
            peak.close()
        gains, possible = ratios(found[2], found[1]), ratios(found["2 loops"], found["1 loops"])
        columns = map(spread, (gains, possible, ratios(gains, possible)))
        size = "{} x {}".format(*SIZES[model])
        rows += [(model, size, 1, spread(found[1], ",.0f"), "", "", ""),
                 (model, size, 2, spread(found[2], ",.0f"), *columns)]  # fmt: skip
    report(o, "Training on two ranks", table(HEADS, rows))


if __name__ == "__main__":
    main()
