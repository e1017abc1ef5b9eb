"""Does finding replaced tokens teach more than predicting masked ones, in the same CPU time?

    python -m benchmarks.replaced_tokens --minutes 10
    python -m benchmarks.replaced_tokens --minutes 10 --report

Each candidate is pre-trained on 12 MB of the documentation of installed packages, the text of
`benchmarks.recipe`. Then its model, of replaced tokens the discriminator, is fine-tuned with the
default options on two tasks: `modules`, which module a documentation is of (300 texts), and
`situations`, `corpora/situations` (all of its 1,469 sentences). Accuracies are those on the test
texts; seeds are of weights, order, masks and samples, and of the fine-tuning.

Equal time: minutes of one core become a number of steps, by the CPU seconds of a step and of the
initialization on one thread, which are measured first and stored (`--speeds` then stops). Other
processes change CPU seconds less than seconds, and a result depends on the steps alone. So runs may
share the machine, and `--threads` changes no number. Candidates whose steps cost the same share a
measurement.

Every result is appended to a file when its run ends, and the same command skips the runs that it
finds there.
"""

import argparse
import logging
import math
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import few_labels, texts
from benchmarks.harness import options, parse, processor, report, spread, table
from benchmarks.recipe import Contest, named_text, stored
from benchmarks.recipe_worker import EVALUATED_LENGTH, Text
from benchmarks.stored import FOLDER
from minibert import BertForMaskedLM, ElectraConfig
from minibert.models.config import PRESETS
from minibert.models.replaced_tokens import GeneratorAndDiscriminator
from minibert.objectives import MaskedLM, ReplacedTokens
from minibert.tasks import Examples, SingleLabelTask
from minibert.training import Engine, evaluate, pretrain
from minibert.training.defaults import fresh_config
from minibert.training.finetuning import FineTuningRun, ModelSource
from minibert.training.initialization import initialize_from_text
from minibert.training.pretraining import optimizer_for
from minibert.training.recipes import RECIPES, PreTraining, PretrainingRecipe

WARM_UP, TIMED = 3, 12  # steps
EVALUATED_ROWS = 1024  # held-out sequences
TASKS = ("modules", "situations")
HEADS = ("candidate", "steps", "CPU ms of a step", "seeds",
         *(head for task in TASKS for head in (task, f"{task}, minus masked LM")),
         "held out, first seed")  # fmt: skip
METHOD = (
    """Medians, with minimum and maximum over the seeds; differences are those of equal seeds."""
)


@dataclass(frozen=True)
class Side:
    """What is trained.

    Attributes:
        objective: "masked-lm" or "replaced-tokens".
        recipe: its name is not part of what is measured.
    """

    objective: str
    recipe: PretrainingRecipe


def variant(objective: str, **how: Any) -> Side:
    """Return recipe 2 with changes."""
    return Side(objective, replace(RECIPES["2"], **how))


FIFTEEN = {"masked_share": 0.15, "last_masked_share": 0.15}  # as in the papers; recipe 2 has 0.3
FIRST = "masked LM"  # with which the others are compared
CANDIDATES = {
    FIRST: variant("masked-lm"),
    "replaced tokens": variant("replaced-tokens"),
    "masked LM, 15 %": variant("masked-lm", **FIFTEEN),
    "replaced tokens, 15 %": variant("replaced-tokens", **FIFTEEN),
    "replaced tokens, AdamW": variant("replaced-tokens", optimizer="adamw"),
    "replaced tokens, random start": variant("replaced-tokens", initialization="random"),
}
DEFAULT = [*CANDIDATES][:4]


def main() -> None:
    """Measure what is missing and print the table."""
    o = arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = o.runs or (Path(folder) if o.quick else FOLDER) / "replaced_tokens_runs.jsonl"
        contest = Contest(
            Text(named_text(o.text), o.vocabulary),
            stored(path),
            o.threads,
            labelled=24 if o.quick else 300,
            only_stored=o.report,
        )
        costs = {name: cost(contest, name, o.size) for name in o.candidates}
        steps = {name: o.steps or steps_in(o.minutes, *found)
                 for name, found in costs.items() if found}  # fmt: skip
        if o.speeds:
            print(*(f"{name}: {count:,} steps" for name, count in steps.items()), sep="\n")
            return
        found: dict[str, dict[int, dict]] = {name: {} for name in steps}
        for seed in range(o.seeds):
            for name, count in steps.items():
                if (result := result_of(contest, name, o.size, count, seed)) is not None:
                    found[name][seed] = result
    o.others = contest.others["run"] or [0.0]
    report(
        o,
        "Replaced tokens against masked LM",
        table(HEADS, [row(name, found, steps, costs) for name in found if found[name]]),
        describe(contest, o),
        "Measured on:\n\n" + "\n".join(f"- {each}" for each in sorted(contest.machines)),
        method=METHOD,
    )


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = options(__doc__)
    known = ", ".join(CANDIDATES).replace("%", "%%")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, metavar="NAME",
                        help=f"(default: the first {len(DEFAULT)}): {known}")  # fmt: skip
    parser.add_argument("--size", default="tiny", choices=PRESETS, help="(default: tiny)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="of one core per run (default: 10)")
    budget.add_argument("--steps", type=int, help="the same for all, instead (--quick: 4)")
    parser.add_argument("--seeds", type=int, help="from 0 upwards (default: 5; --quick: 1)")
    parser.add_argument("--text", help="a file, documentation, or builtin (default: documentation; "
                        "--quick: builtin)")  # fmt: skip
    parser.add_argument("--vocabulary", type=int, help="(default: 8192; --quick: 1024)")
    parser.add_argument("--threads", type=int, default=1, help="of each run (default: 1)")
    parser.add_argument("--runs", type=Path, help="the file of all results (default: "
                        "replaced_tokens_runs.jsonl among the results; --quick: none)")  # fmt: skip
    parser.add_argument("--speeds", action="store_true", help="measure the CPU times, stop")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    o = parse(parser)
    o.candidates = o.candidates or (DEFAULT[:2] if o.quick else DEFAULT)
    if o.quick and not o.minutes:
        o.steps = o.steps or 4
    if not o.steps:
        o.minutes = o.minutes or 10.0
    o.seeds = o.seeds or (1 if o.quick else 5)
    o.text = o.text or ("builtin" if o.quick else "documentation")
    o.vocabulary = o.vocabulary or (1024 if o.quick else 8192)
    return o


def cost(contest: Contest, name: str, size: str) -> tuple[float, float] | None:
    """Return the CPU seconds of a step and of the initialization; None if they are not known."""
    side = CANDIDATES[name]
    recipe = side.recipe
    what = {"cpu": "step", "objective": side.objective, "size": size, "length": recipe.length,
            "vocabulary": contest.text.vocabulary, "processor": processor(),
            **{each: getattr(recipe, each) for each in
               ("batch_size", "dropout", "optimizer", "masked_share", "last_masked_share")},
            "initialization": recipe.initialization}  # fmt: skip
    found = contest.measured(what, name, time_step, side, size, contest.text)
    return found and (found["step"], found["initialization"])


def steps_in(minutes: float, step: float, initialization: float) -> int:
    """Return the number of steps that fit into some minutes after the initialization.

    >>> steps_in(1.0, 0.5, 10.0)
    100
    """
    return max(round((60 * minutes - initialization) / step), 1)


def result_of(contest: Contest, name: str, size: str, steps: int, seed: int) -> dict | None:
    """Return the figures of one run; None if there are none and nothing may be measured."""
    side = CANDIDATES[name]
    what = {"run": asdict(side), "size": size, "steps": steps, "seed": seed,
            "labelled": contest.labelled, **contest.text.names}  # fmt: skip
    del what["run"]["recipe"]["name"]
    return contest.measured(what, name, run, side, size, contest.text, contest.threads, steps,
                            seed, contest.labelled)  # fmt: skip


def row(name: str, found: dict, steps: dict[str, int], costs: dict) -> tuple[str, ...]:
    """Return the row of a candidate."""
    seeds = found[name]
    cells = [name, f"{steps[name]:,}", f"{1000 * costs[name][0]:.1f}", str(len(seeds))]
    for task in TASKS:
        cells.append(spread([result[task] for result in seeds.values()], ".1%"))
        both = sorted(seeds.keys() & found.get(FIRST, {}).keys())
        gaps = [100 * (seeds[seed][task] - found[FIRST][seed][task]) for seed in both]
        cells.append(f"{spread(gaps, '+.1f')} points" if gaps and name != FIRST else "")
    return *cells, seeds[min(seeds)]["held_out"]


def describe(contest: Contest, o: argparse.Namespace) -> str:
    """Describe budget, text and tasks (str)."""
    budget = f"{o.steps:,} steps" if o.steps else f"{o.minutes:g} minutes of one core"
    name = o.text if o.text in ("documentation", "builtin") else Path(o.text).name
    return (
        f"{budget} of pre-training per run, size {o.size}, recipe 2 with the changes named. Text: "
        f"{name}, {len(contest.text.corpus.train.stream):,} tokens; vocabulary {o.vocabulary:,}. "
        f"modules: {contest.labelled} texts to fine-tune on. A generator has a quarter of its "
        "discriminator's width, and the loss of the discriminator the weight 50."
    )


# The jobs.


def start(
    side: Side, size: str, text: Text, steps: int, seed: int = 0, threads: int = 1
) -> tuple[Any, MaskedLM, PreTraining]:
    """Return a new model with random weights, its objective and its settings."""
    recipe = side.recipe
    how = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), recipe.dropout)
    model: Any
    kind: type[MaskedLM]
    if side.objective == "replaced-tokens":
        width = PRESETS[size]["hidden_size"]
        config = fresh_config(
            size, text.tokenizer, recipe.length, ElectraConfig, embedding_size=width, **how
        )
        model, kind = GeneratorAndDiscriminator(config, seed=seed), ReplacedTokens
    else:
        config = fresh_config(size, text.tokenizer, recipe.length, **how)
        model, kind = BertForMaskedLM(config, seed=seed), MaskedLM
    settings = recipe.settings(config, steps, seed=seed, evaluate_every=steps)
    held_out = text.rows("held_out", EVALUATED_LENGTH)
    places = np.linspace(0, len(held_out) - 1, min(len(held_out), EVALUATED_ROWS)).astype(int)
    rows = text.rows("train", recipe.length)
    objective = kind(model, text.tokenizer, rows, held_out[places], settings, threads)
    return model, objective, settings


def time_step(side: Side, size: str, text: Text) -> Iterator:
    """Yield nothing, then the CPU seconds of a step and of the initialization (dict)."""
    yield
    model, objective, settings = start(side, size, text, steps=10**6)
    begin = time.process_time()
    if settings.initialization == "text":
        initialize_from_text(model, text.corpus.train.stream, text.tokenizer)
    initialization = time.process_time() - begin
    engine = Engine(model, optimizer_for(model, settings), threads=1, objective=objective)
    times = []
    with engine.running():
        for step in range(WARM_UP + TIMED):
            begin = time.process_time()
            engine.step(objective.shards(step), 0.0)
            times.append(time.process_time() - begin)
    yield {"step": statistics.median(times[WARM_UP:]), "initialization": initialization}


def run(side: Side, size: str, text: Text, threads: int, steps: int, seed: int,
        labelled: int) -> Iterator:  # fmt: skip
    """Pre-train and fine-tune: yield nothing, then the figures (dict)."""
    yield
    logging.getLogger("minibert").setLevel(logging.ERROR)  # it logs that the classifier is new
    model, objective, settings = start(side, size, text, steps, seed, threads)
    begin = time.process_time()
    if settings.initialization == "text":
        initialize_from_text(model, text.corpus.train.stream, text.tokenizer, seed)
    try:
        pretrain(model, objective, settings, text.tokenizer, threads=threads)
    except FloatingPointError:  # a result too: this candidate diverges
        yield {"held_out": "diverged", **dict.fromkeys(TASKS, 0.0), "figures": {},
               "cpu_seconds": time.process_time() - begin}  # fmt: skip
        return
    spent = time.process_time() - begin
    metrics = objective.result()
    kept = model.discriminator if isinstance(model, GeneratorAndDiscriminator) else model
    yield {
        "held_out": str(metrics),
        "figures": {
            name: value for name, value in metrics.figures().items() if math.isfinite(value)
        },
        **{task: accuracy(kept, text, task, labelled, seed, threads) for task in TASKS},
        "cpu_seconds": spent,
    }


def examples_of(task: str, text: Text, labelled: int) -> tuple[Examples, Examples]:
    """Return the labelled texts to train on, and those to test on."""
    if task == "situations":
        train, test = (few_labels.sentences(split) for split in ("train", "test"))
        return train if labelled >= 300 else train.select(range(labelled)), test
    train, test = (texts.labelled(split, text.folder) for split in ("train", "test"))
    # Evenly spaced, because they are sorted by label.
    return train.select(np.linspace(0, len(train) - 1, labelled).astype(int)), test


def accuracy(model: Any, text: Text, task: str, labelled: int, seed: int, threads: int) -> float:
    """Fine-tune a model with default options; return its accuracy on the test texts (float)."""
    train, test = examples_of(task, text, labelled)
    kind = SingleLabelTask.from_labels(test.labels)
    with tempfile.TemporaryDirectory() as folder:
        text.tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
        tuned = FineTuningRun.start(kind, train, ModelSource(folder), seed=seed)
    tuned.train(threads=threads)
    return float(evaluate(tuned.model, tuned.tokenizer, kind, test).figures()["accuracy"])


if __name__ == "__main__":
    main()
