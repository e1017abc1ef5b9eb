"""Which recipe of pre-training learns most in the same time? A contest, which can be interrupted.

    python -m benchmarks.recipe --minutes 2 --sizes tiny mini
    python -m benchmarks.recipe --minutes 10 --candidates 2 1 linear pytorch-2
    python -m benchmarks.recipe --text FILE --report

The candidates are the named recipes, recipe 2 with one change each, and peers on PyTorch. All train
on the same text: 12 MB of the documentation of installed packages, or a file. All are evaluated on
the same held-out sequences of 32 tokens, of which the same 15 % are masked, without dropout; and a
classifier of modules by their documentation is fine-tuned from each result.

Equal seconds: minutes become a number of steps, from the time of a few steps, without the seconds
in which weights are initialized from the text. All times are measured first, on a quiet machine
(`--speeds` then stops), and stored. From there on a result depends on the steps alone, so the runs
may share the machine. Candidates whose steps cost the same share one measurement.

Every result is appended to a file when its run ends, and the same command skips the runs that it
finds there. For successive halving, run it again with more minutes and fewer candidates.
`run_mlm` is the default of transformers' script of this name, for information: it is made for
longer runs, and for checkpoints that are trained further.

    pip install torch==2.13.0 && pip install '.[parity]'
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import texts
from benchmarks.harness import (
    Missing,
    Worker,
    machine,
    options,
    parse,
    processor,
    report,
    spread,
    table,
)
from benchmarks.recipe_worker import (
    EVALUATED_LENGTH,
    Candidate,
    Text,
    require,
    run,
    time_initialization,
    time_step,
)
from benchmarks.records import Records
from benchmarks.stored import FOLDER
from minibert.models.config import PRESETS
from minibert.runtime.threads import usable_cores
from minibert.training.recipes import RECIPES, PretrainingRecipe

MEGABYTES, BUILTIN_MINUTES = 12, 4  # of text; with the built-in corpus
HEADS = ("size", "candidate", "steps", "seeds", "loss", "minus recipe 1", "minus recipe 2",
         "bits per character", "accuracy", "classifier")  # fmt: skip
METHOD = """Medians, with minimum and maximum over the seeds; differences are those of equal seeds.
Other processes matter while the time of a step is measured, not to a run of stated steps."""
BUSY = 0.1  # share of the machine by other processes above which a measured time is doubtful

RATE = RECIPES["2"].rate_times_width
VARIANTS: dict[str, dict[str, Any]] = {  # what differs from recipe 2
    "adamw": {"optimizer": "adamw"},
    "adamw-half-rate": {"optimizer": "adamw", "rate_times_width": RATE / 2},
    "random-start": {"initialization": "random"},
    "masked-15": {"masked_share": 0.15, "last_masked_share": 0.15},
    "masked-20": {"masked_share": 0.2, "last_masked_share": 0.2},
    "masked-40": {"masked_share": 0.4, "last_masked_share": 0.4},
    "masked-30-to-15": {"masked_share": 0.3, "last_masked_share": 0.15},
    "linear": {"schedule": "linear"},
    "cosine": {"schedule": "cosine"},
    "triangle": {"schedule": "triangle"},
    "beta2-999": {"beta2": 0.999},
    "batch-32": {"batch_size": 32},
    "batch-128": {"batch_size": 128},
    "batch-256": {"batch_size": 256},
    "batch-128-double-rate": {"batch_size": 128, "rate_times_width": RATE * 2},
    "half-rate": {"rate_times_width": RATE / 2},
    "double-rate": {"rate_times_width": RATE * 2},
    "warmup-10": {"warmup": 0.1},
    "dropout-10": {"dropout": 0.1},
    "length-64": {"length": 64},
    "no-decay": {"weight_decay": 0.0},
}
RUN_MLM = PretrainingRecipe(
    "run_mlm", length=512, dropout=0.1, batch_size=8, warmup=0.0, weight_decay=0.0
)
CANDIDATES: dict[str, Candidate] = {
    **{name: Candidate(recipe) for name, recipe in RECIPES.items()},
    **{name: Candidate(replace(RECIPES["2"], **how)) for name, how in VARIANTS.items()},
    **{f"pytorch-{name}": Candidate(RECIPES[name], "PyTorch") for name in ("1", "2")},
    "run_mlm": Candidate(RUN_MLM, "PyTorch", {"initializer_range": 0.02}, {"learning_rate": 5e-5}),
}
QUICK = ["2", "1", "pytorch-2"]


@dataclass
class Contest:
    """The measurements of a contest: stored ones, and new ones where they are missing.

    Attributes:
        text: the text.
        records: the stored measurements.
        threads: of every measurement; None: one per core.
        labelled: number of texts to fine-tune a classifier on.
        only_stored: measure nothing.
        others: shares of the machine that other processes used, in the times and runs looked up.
        machines: the machines and commits that these were measured with.
    """

    text: Text
    records: Records
    threads: int | None = None
    labelled: int = 300
    only_stored: bool = False
    others: dict[str, list[float]] = field(default_factory=lambda: {"time": [], "run": []})
    machines: set[str] = field(default_factory=set)

    def measured(self, what: dict, name: str, job, *arguments) -> dict | None:
        """Return a stored result, or measure it and store it; None if nothing may be measured.

        Raises:
            Missing: a package is not installed.
        """
        record = self.records.get(what)
        if record is None:
            if self.only_stored:
                return None
            print(f"{name}: {job.__name__} {what.get('size')}, seed {what.get('seed', 0)}",
                  file=sys.stderr, flush=True)  # fmt: skip
            with closing(Worker(job, *arguments)) as worker:
                found, others = worker.round(), worker.others
            found = found if isinstance(found, dict) else {"seconds": found}
            self.records.add(what, found, {"name": name, "others": others, "machine": machine()})
            record = self.records.get(what)
            if "time" in what and others > BUSY:
                print(f"{self.records.path}: a time was measured while other processes used "
                      f"{others:.0%} of the machine; remove its line to measure again",
                      file=sys.stderr, flush=True)  # fmt: skip
        self.others["time" if "time" in what else "run"].append(record["about"]["others"])
        self.machines.add(record["about"]["machine"])
        return record["found"]

    def steps(self, name: str, size: str, minutes: float) -> int | None:
        """Return the number of steps of a candidate in some minutes; None if it is not known."""
        candidate = CANDIDATES[name]
        recipe = candidate.recipe
        share = (recipe.masked_share + recipe.last_masked_share) / 2
        mean = replace(recipe, masked_share=share, last_masked_share=share)
        here = {
            "size": size,
            "length": recipe.length,
            "vocabulary": self.text.vocabulary,
            "threads": self.threads,
            "processor": f"{usable_cores()} cores of {processor()}",
        }
        what = {"time": "step", "side": candidate.side, **here, "masked_share": round(share, 4)}
        # Whatever else differs between recipes does not change the time of a step.
        what |= {each: getattr(recipe, each) for each in ("batch_size", "dropout", "optimizer")}
        job = (time_step, replace(candidate, recipe=mean), size, self.text, self.threads)
        step = self.measured(what, name, *job)
        before: dict | None = {"seconds": 0.0}
        if recipe.initialization == "text":
            what = {"time": "initialization", **here, **self.text.names}
            job = (time_initialization, candidate, size, self.text, self.threads)
            before = self.measured(what, name, *job)
        if step is None or before is None:
            return None
        return max(round((60 * minutes - before["seconds"]) / step["seconds"]), 1)

    def result(self, name: str, size: str, steps: int, seed: int) -> dict | None:
        """Return the figures of one run."""
        candidate = CANDIDATES[name]
        what = {"run": asdict(candidate), "size": size, "steps": steps, "seed": seed,
                "labelled": self.labelled, **self.text.names}  # fmt: skip
        del what["run"]["recipe"]["name"]
        return self.measured(what, name, run, candidate, size, self.text, self.threads, steps,
                             seed, self.labelled)  # fmt: skip


def main() -> None:
    """Measure what is missing and print the table."""
    o = arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = o.runs or (Path(folder) if o.quick else FOLDER) / "recipe_runs.jsonl"
        contest = Contest(
            Text(named_text(o.text), o.vocabulary),
            stored(path),
            o.threads,
            labelled=24 if o.quick else 300,
            only_stored=o.report,
        )
        steps, missing = budgets(contest, o)
        if o.speeds:
            print(*(f"{name}, {size}: {count:,} steps" for (name, size), count in steps.items()),
                  sep="\n")  # fmt: skip
            return
        found: dict[tuple[str, str], dict[int, dict]] = {each: {} for each in steps}
        for seed in range(o.seeds):
            for (name, size), count in steps.items():
                result = contest.result(name, size, count, seed)
                if result is not None:
                    found[name, size][seed] = result
    o.others = contest.others["time"] or contest.others["run"] or [0.0]
    report(
        o,
        "Recipes of pre-training",
        table(HEADS, [row for size in o.sizes for row in standings(size, found, steps)]),
        describe(contest, o),
        "Measured on:\n\n" + "\n".join(f"- {each}" for each in sorted(contest.machines)),
        *(f"{name}: {reason}." for name, reason in missing.items()),
        method=METHOD,
    )


def stored(path: Path) -> Records:
    """Return the measurements in a file; end the program if it is damaged."""
    try:
        return Records(path)
    except ValueError as error:
        raise SystemExit(str(error)) from None


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = options(__doc__)
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, metavar="NAME",
                        help=f"(default: all; --quick: {' '.join(QUICK)}): "
                        f"{', '.join(CANDIDATES)}")  # fmt: skip
    parser.add_argument("--sizes", nargs="+", default=["tiny"], choices=PRESETS, metavar="SIZE",
                        help="presets (default: tiny)")  # fmt: skip
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="of training per run (default: 2)")
    budget.add_argument("--steps", type=int, help="instead of minutes (--quick: 4)")
    parser.add_argument("--seeds", type=int, help="from 0 upwards (default: 2; --quick: 1)")
    parser.add_argument(
        "--text",
        help="a file, documentation, or builtin up to 4 minutes (default: documentation; "
        "--quick: builtin)",
    )
    parser.add_argument("--vocabulary", type=int, help="(default: 8192; --quick: 1024)")
    parser.add_argument("--threads", type=int, help="of each run (default: one per core)")
    parser.add_argument("--runs", type=Path, help="the file of all results (default: "
                        "recipe_runs.jsonl among the results; --quick: none)")  # fmt: skip
    parser.add_argument("--speeds", action="store_true", help="measure the times of steps, stop")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    o = parse(parser)
    for name in ("minutes", "steps", "seeds"):
        if getattr(o, name) is not None and not getattr(o, name) > 0:
            parser.error(f"--{name}: expected more than 0, got {getattr(o, name):g}")
    if o.text not in (None, "documentation", "builtin") and not Path(o.text).is_file():
        parser.error(f"--text: expected a file, documentation or builtin, got {o.text}")
    o.candidates = o.candidates or (QUICK if o.quick else list(CANDIDATES))
    if o.quick and not o.minutes:
        o.steps = o.steps or 4
    if not o.steps:
        o.minutes = o.minutes or 2.0
    o.seeds = o.seeds or (1 if o.quick else 2)
    o.text = o.text or ("builtin" if o.quick else "documentation")
    o.vocabulary = o.vocabulary or (1024 if o.quick else 8192)
    if o.text == "builtin" and (o.minutes or 0) > BUILTIN_MINUTES:
        parser.error(f"--minutes: expected at most {BUILTIN_MINUTES} with the built-in corpus, "
                     f"which is memorized later, got {o.minutes:g}")  # fmt: skip
    return o


def named_text(name: str) -> Path:
    """Return the folder of a text (Path): "documentation", "builtin", or a file."""
    match name:
        case "documentation":
            return texts.documentation(MEGABYTES)
        case "builtin":
            return texts.corpus()
    return texts.of_file(Path(name))


def budgets(
    contest: Contest, o: argparse.Namespace
) -> tuple[dict[tuple[str, str], int], dict[str, str]]:
    """Return the steps of each candidate and size, and why other candidates cannot run."""
    steps, missing = {}, {}
    for size in o.sizes:
        for name in o.candidates:
            try:
                require(CANDIDATES[name].side)
                count = o.steps or contest.steps(name, size, o.minutes)
            except (ImportError, Missing) as reason:
                missing[name] = f"left out, {reason}"
            else:
                if count is not None:
                    steps[name, size] = count
    return steps, missing


def standings(
    size: str,
    found: Mapping[tuple[str, str], Mapping[int, Mapping[str, float]]],
    steps: Mapping[tuple[str, str], int],
) -> list[tuple[str, ...]]:
    """Return the rows of a size, the lowest median loss first.

    Args:
        size (str): a preset.
        found (dict): figures by (candidate, size) and seed.
        steps (dict): steps by (candidate, size).
    """
    runs = {name: seeds for (name, own), seeds in found.items() if own == size and seeds}

    def values(name: str, figure: str) -> list[float]:
        return [figures[figure] for figures in runs[name].values()]

    def minus(name: str, other: str) -> str:
        both = runs[name].keys() & runs.get(other, {}).keys()
        gaps = [runs[name][seed]["loss"] - runs[other][seed]["loss"] for seed in sorted(both)]
        return spread(gaps, "+.3f") if gaps and name != other else ""

    return [
        (
            size,
            name,
            f"{steps[name, size]:,}",
            f"{len(runs[name])}",
            spread(values(name, "loss"), ".3f"),
            minus(name, "1"),
            minus(name, "2"),
            spread(values(name, "bits"), ".3f"),
            spread(values(name, "accuracy"), ".1%"),
            spread(values(name, "classifier"), ".1%"),
        )
        for name in sorted(runs, key=lambda name: statistics.median(values(name, "loss")))
    ]


def describe(contest: Contest, o: argparse.Namespace) -> str:
    """Describe budget, text and evaluation (str)."""
    budget = f"{o.steps:,} steps" if o.steps else f"{o.minutes:g} minutes"
    text = contest.text
    tokens, characters = text.tokens_and_characters()
    ids, _ = text.masked()
    checksums = " and ".join(text.names.values())
    name = o.text if o.text in ("documentation", "builtin") else Path(o.text).name
    return (
        f"{budget} of training per run. Text: {name}, {len(text.corpus.train.stream):,} tokens; "
        f"vocabulary {o.vocabulary:,} (checksums {checksums}). {len(ids):,} held-out sequences of "
        f"{EVALUATED_LENGTH} tokens are evaluated; the held-out text has {tokens:,} tokens and "
        f"{characters:,} characters. The classifier learns from {contest.labelled} texts."
    )


if __name__ == "__main__":
    main()
