"""How accurate are the strategies for few labels, and SetFit, and how long do they train?

    python -m benchmarks.strategies
    python -m benchmarks.strategies --sizes 16 50 --sides pairs SetFit --threads 1
    python -m benchmarks.strategies --report

On 16, 50 and 300 labelled texts of `corpora/situations` and of `corpora/questions`, balanced over
the classes and another sample for each seed, from MiniLM's checkpoint: `TextClassifier` with pairs
and with fine-tuning; logistic regression on the vectors as they are, and on TF-IDF; and SetFit with
`num_iterations=20`. Without the package `setfit` its recipe is trained with sentence-transformers:
40 pairs for each text, the squared error of their cosines, one epoch of batches of 16 pairs at
2e-5, and logistic regression. `auto` is the result of the strategy that `TextClassifier` chooses by
itself, which gives the same bits. Accuracies are measured on test.tsv, which was used for no
choice. Times are CPU seconds of all threads of the training alone, because these depend little on
what else the machine does; seconds that passed are stored with them.

Every run is appended to a file when it ends, and the same command skips the runs that it finds
there, so the sides may be measured by several commands. A run of minibert with another recipe is
another run.
"""

import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Missing, Worker, machine, options, parse, report, spread, table
from benchmarks.peers import about_numpy, about_torch, use_torch
from benchmarks.records import Records
from benchmarks.stored import FOLDER
from benchmarks.texts import minilm
from minibert import AutoConfig, FeatureExtractor, TextClassifier
from minibert.data.tables import read_records
from minibert.objectives.few_labels import INVERSE_PENALTY, SMOOTHING
from minibert.runtime.threads import usable_cores
from minibert.tasks.baselines import tfidf_logistic_regression
from minibert.tasks.examples import Examples
from minibert.tasks.logistic import logistic_regression
from minibert.training.defaults import finetuning_recipe, pair_recipe, pairs_are_better

MODEL = "minilm"
CORPORA = Path(__file__).parents[1] / "corpora"
SETS = ("situations", "questions")
SIZES = (16, 50, 300)
ITERATIONS = 20  # of SetFit: pairs of each kind for each text
METHOD = """Medians, with minimum and maximum over n seeds from 0 on. Each run has its own process;
each side is given the same texts. Several commands may have measured at the same time."""


@dataclass
class Runs:
    """The stored runs, and new ones where they are missing.

    Attributes:
        records: the stored runs.
        threads: of every run; None: one per core.
        is_quick: train for one epoch.
        only_stored: measure nothing.
        others: shares of the machine that other processes used, in the runs looked up.
        about: what each side ran with.
        machines: the machines and commits that these ran with.
    """

    records: Records
    threads: int | None = None
    is_quick: bool = False
    only_stored: bool = False
    others: list[float] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)
    machines: set[str] = field(default_factory=set)

    def result(self, side: str, name: str, size: int, seed: int) -> dict[str, float] | None:
        """Return `accuracy`, `cpu` and `seconds` of a run; None if it is not stored or cannot run.

        Args:
            side: a name of `SIDES`.
            name: of the set.
            size: number of labelled texts.
            seed: of the sample and of the training.
        """
        what = {"side": side, "set": name, "size": size, "seed": seed, "threads": self.threads,
                **settings_of(side, size)}  # fmt: skip
        record = self.records.get(what)
        if record is None:
            if self.only_stored or self.about.get(side, "").startswith("left out"):
                return None
            print(f"{side}: {name}, {size} texts, seed {seed}", file=sys.stderr, flush=True)
            job = (run, side, name, size, seed, self.threads, self.is_quick)
            try:
                with closing(Worker(*job)) as worker:
                    found, others, versions = worker.round(), worker.others, worker.ready
            except Missing as reason:
                self.about[side] = f"left out: {reason}"
                return None
            self.records.add(what, found, {"others": others, "versions": versions,
                                           "machine": machine()})  # fmt: skip
            record = self.records.get(what)
        about = record["about"]
        self.others.append(about["others"])
        self.machines.add(about["machine"])
        self.about[side] = about["versions"]
        return record["found"]


def main() -> None:
    """Measure what is missing and print a table for each set."""
    parser = options(__doc__)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--sizes", nargs="+", default=SIZES, type=int)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--threads", type=int, help="of each run (default: one per core)")
    parser.add_argument("--runs", type=Path, help="the file of all runs (default: "
                        "strategies_runs.jsonl among the results; --quick: none)")  # fmt: skip
    parser.add_argument("--report", action="store_true", help="measure nothing")
    o = parse(parser, rounds=3)
    sizes = [12] if o.quick else o.sizes
    with tempfile.TemporaryDirectory() as folder:
        path = o.runs or (Path(folder) if o.quick else FOLDER) / "strategies_runs.jsonl"
        runs = Runs(Records(path), o.threads, o.quick, o.report)
        found: dict[tuple[str, int, str], list[dict[str, float]]] = {}
        for seed in range(o.rounds):
            for size in sizes:
                for name in o.sets:
                    for side in o.sides:
                        result = runs.result(side, name, size, seed)
                        if result is not None:
                            found.setdefault((name, size, side), []).append(result)
    o.others = runs.others or [0.0]
    report(
        o,
        "Strategies for few labels",
        *(part for name in o.sets for part in standings(name, sizes, o.sides, found)),
        table(("side", ""), [(side, runs.about.get(side, "no runs")) for side in o.sides]),
        "Measured on:\n\n" + "\n".join(f"- {each}" for each in sorted(runs.machines)),
        method=METHOD,
    )


def standings(name: str, sizes: list[int], sides: list[str], found: dict) -> Iterator[str]:
    """Yield a table of the accuracies and one of the CPU seconds of a set (str).

    Args:
        name: of the set.
        sizes: numbers of labelled texts.
        sides: names of `SIDES`.
        found (dict): results by set, size and side.
    """
    chosen = {size: auto(name, size) for size in sizes}
    for what, figure, form in (("accuracy", "accuracy", ".1%"), ("CPU seconds", "cpu", ".0f")):
        rows = []
        for size in sizes:
            cells = []
            for side in sides:
                values = [result[figure] for result in found.get((name, size, side), [])]
                cells.append(f"{spread(values, form)}, n = {len(values)}" if values else "")
            rows.append([size, chosen[size], *cells])
        yield f"## {name}: {what}\n\n" + table(("texts", "auto is", *sides), rows)


def auto(name: str, size: int) -> str:
    """Return the side that `TextClassifier` chooses by itself."""
    train, _ = sample(name, size, 0)
    return "pairs" if pairs_are_better(len(train), len(set(train.labels))) else "direct"


def settings_of(side: str, size: int) -> dict[str, Any]:
    """Return what decides the result of a side, apart from the sample and the seed (dict)."""
    config = AutoConfig.from_pretrained(minilm())
    if side == "pairs":
        classifier = {"C": INVERSE_PENALTY, "smoothing": SMOOTHING}
        return {"recipe": asdict(pair_recipe(size, config)), "classifier": classifier}
    if side == "direct":
        return {"recipe": asdict(finetuning_recipe(size, config, pretrained=True))}
    return {"iterations": ITERATIONS} if side == "SetFit" else {}


def sample(name: str, size: int, seed: int) -> tuple[Examples, Examples]:
    """Return labelled texts, as many of each class as possible, and the test texts."""
    train, test = (
        Examples([row.text for row in rows], None, [row.label for row in rows])
        for rows in (read_records(CORPORA / name / f"{split}.tsv", labelled=True)
                     for split in ("train", "test"))
    )  # fmt: skip
    order = np.random.default_rng(seed).permutation(len(train))
    place, seen = {}, dict.fromkeys(train.labels, 0)
    for i in order.tolist():
        place[i] = seen[train.labels[i]]  # its number in its class
        seen[train.labels[i]] += 1
    chosen = sorted(order.tolist(), key=lambda i: (place[i], train.labels[i]))[:size]
    return train.select(chosen), test


def run(
    side: str, name: str, size: int, seed: int, threads: int | None, is_quick: bool
) -> Iterator[Any]:
    """Yield a description of a side, then accuracy, CPU seconds and seconds of one run (dict).

    Args:
        side: a name of `SIDES`.
        name: of the set.
        size: number of labelled texts.
        seed: of the sample and of the training.
        threads: of the training; None: one per core.
        is_quick: train for one epoch, or on one pair of each kind for each text.
    """
    train, test = sample(name, size, seed)
    steps = SIDES[side](train, test, seed, threads, is_quick)
    yield next(steps)
    begin, cpu = time.perf_counter(), time.process_time()
    next(steps)
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - begin
    predicted = np.array(next(steps))
    accuracy = float((predicted == np.array(test.labels)).mean())
    yield {"accuracy": accuracy, "cpu": cpu, "seconds": seconds}


def pairs(train, test, seed, threads, is_quick) -> Iterator[Any]:
    """`TextClassifier` with pairs: yield a description, None once it is trained, predictions."""
    return _ours("pairs", train, test, seed, threads, is_quick)


def direct(train, test, seed, threads, is_quick) -> Iterator[Any]:
    """`TextClassifier` with fine-tuning."""
    return _ours("direct", train, test, seed, threads, is_quick)


def _ours(strategy, train, test, seed, threads, is_quick):
    logging.getLogger("minibert").setLevel(logging.ERROR)  # it logs that the classifier is new
    yield about_numpy(threads or usable_cores())
    how = {"epochs": 1} if is_quick else {}
    classifier = TextClassifier(MODEL, strategy=strategy, random_state=seed, threads=threads, **how)
    classifier.fit(train.texts, train.labels)
    yield
    yield classifier.predict(test.texts)


def vectors(train, test, seed, threads, is_quick) -> Iterator[Any]:
    """Logistic regression on the checkpoint's vectors."""
    extractor = FeatureExtractor.from_pretrained(minilm())
    yield about_numpy(threads or usable_cores())
    names, ids = np.unique(train.labels, return_inverse=True)
    classifier = logistic_regression(extractor(train.texts, threads=threads), ids, len(names))
    yield
    yield names[classifier.logits(extractor(test.texts)).argmax(axis=1)]


def tfidf(train, test, seed, threads, is_quick) -> Iterator[Any]:
    """Logistic regression on TF-IDF features."""
    import sklearn

    yield f"scikit-learn {sklearn.__version__}"
    names, ids = np.unique(train.labels, return_inverse=True)
    outputs = tfidf_logistic_regression(train, test, ids)
    yield
    yield names[outputs.argmax(axis=1)]


def setfit(train, test, seed, threads, is_quick) -> Iterator[Any]:
    """SetFit, or its recipe with sentence-transformers."""
    torch = use_torch(threads)
    import sentence_transformers

    steps: Callable[..., Iterator[Any]]
    try:
        import setfit

        steps, about = setfit_steps, f"SetFit {setfit.__version__}"
    except ImportError:
        steps, about = recipe_steps, "SetFit's recipe"
    yield (f"{about}, sentence-transformers {sentence_transformers.__version__}, "
           f"{about_torch(torch)}")  # fmt: skip
    warnings.simplefilter("ignore")
    torch.manual_seed(seed)
    yield from steps(train, test, seed, 1 if is_quick else ITERATIONS)


def setfit_steps(train, test, seed, iterations):
    """Train the package's own model with its own trainer."""
    import tempfile

    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    names, ids = np.unique(train.labels, return_inverse=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=SetFitModel.from_pretrained(str(minilm())),
            args=TrainingArguments(
                folder, num_iterations=iterations, seed=seed, report_to="none",
                save_strategy="no", show_progress_bar=False,
            ),
            train_dataset=Dataset.from_dict({"text": train.texts, "label": ids.tolist()}),
        )  # fmt: skip
        trainer.train()
        yield
        yield names[np.asarray(trainer.model.predict(test.texts))]


def recipe_steps(train, test, seed, iterations):
    """Train sentence-transformers' model on the pairs that SetFit draws."""
    import torch
    from sentence_transformers import SentenceTransformer, util
    from sklearn.linear_model import LogisticRegression

    names, ids = np.unique(train.labels, return_inverse=True)
    rng, everyone = np.random.default_rng(seed), np.arange(len(ids))
    pairs = []
    for _ in range(iterations):
        for i in everyone:
            for is_same in (True, False):
                others = np.flatnonzero((ids == ids[i]) == is_same)
                others = others[others != i]
                if len(others):
                    pairs.append((i, rng.choice(others), float(is_same)))
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    model = SentenceTransformer(str(minilm()), device="cpu").train()
    adam = torch.optim.AdamW(model.parameters(), lr=2e-5)
    steps = -(-len(pairs) // 16)
    warmup = max(round(0.1 * steps), 1)
    for step in range(steps):
        rate = min((step + 1) / warmup, (steps - step) / max(steps - warmup, 1))
        first, second, scores = zip(*pairs[16 * step : 16 * step + 16], strict=True)
        sides = [
            model(model.preprocess([train.texts[i] for i in side]))["sentence_embedding"]
            for side in (first, second)
        ]
        loss = torch.square(util.pairwise_cos_sim(*sides) - torch.tensor(scores)).mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in adam.param_groups:
            group["lr"] = 2e-5 * rate
        adam.step()
    model.eval()
    classifier = LogisticRegression(max_iter=1000).fit(model.encode(train.texts), ids)
    yield
    yield names[classifier.predict(model.encode(test.texts))]


SIDES = {
    "pairs": pairs,
    "direct": direct,
    "SetFit": setfit,
    "vectors": vectors,
    "TF-IDF": tfidf,
}

if __name__ == "__main__":
    main()
