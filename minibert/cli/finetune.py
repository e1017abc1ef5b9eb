"""The sub-command that trains on labels: finetune."""

import argparse
import logging
import shutil
import statistics
from collections import Counter
from dataclasses import replace

from minibert.cli.labelled import (
    label_of,
    measured,
    pairs_of,
    read_examples,
    report_cuts,
    require_kind,
)
from minibert.cli.shared import interactive
from minibert.cli.training import draw_curves, new_config, resumed_model, stated_settings
from minibert.data.conll import CONLL
from minibert.data.sampling import held_out_of
from minibert.data.tables import read_rows
from minibert.data.token_cache import fingerprint
from minibert.files import held, replacing
from minibert.tasks.baselines import baseline
from minibert.tokenization import WordPieceTokenizer
from minibert.training import (
    TASKS,
    Examples,
    FineTuning,
    Interrupted,
    Numbers,
    OneLabel,
    SeveralLabels,
    Tags,
    fine_tune,
    optimizer_for,
)
from minibert.training.checkpoint import checkpoints, restore_optimizer
from minibert.training.defaults import finetuning_recipe
from minibert.training.finetuning import steps_for

log = logging.getLogger("minibert")

IMBALANCE = 3  # times as many texts in the largest class as in the smallest are worth a word
LENGTH = 128  # tokens, of a new model's longest text; short texts cost no more for it
EVALUATE_AT_MOST = 500  # steps between two evaluations; an epoch, if that is less


def finetune(options: argparse.Namespace) -> None:
    """Train a model on labelled texts, once or with several seeds."""
    for name, least in (("seeds", 1), ("seed", 0), ("split_seed", 0)):
        if getattr(options, name) < least:
            raise ValueError(f"{name}: expected at least {least}, got {getattr(options, name)}")
    seeds = range(options.seed, options.seed + options.seeds)
    runs = {
        seed: options.out if len(seeds) == 1 else options.out / f"seed-{seed}" for seed in seeds
    }
    if options.resume and not any(map(checkpoints, runs.values())):
        raise FileNotFoundError(f"{options.out}: no checkpoint to resume from")
    with held(options.out, resume=options.resume):
        _finetune(options, runs)


def _finetune(options, runs):
    for name in ("size", "length", "activation", "positions") if options.model else ():
        if getattr(options, name) is not None:
            raise ValueError(f"--{name}: leave it out, the model in {options.model} decides it")
    task, examples, held_out = _examples(options)
    results = {}
    for seed, run in runs.items():
        if len(runs) > 1:
            print(f"seed {seed}:", flush=True)
        try:
            results[seed] = _one_run(options, task, examples, held_out, seed, run)
        except Interrupted as stop:
            raise Interrupted(f"{stop}; the same command with --resume goes on") from None
    best = max(results, key=lambda seed: results[seed].main)
    if len(runs) > 1:
        for path in runs[best].iterdir():
            if path.is_file():
                with replacing(options.out / path.name) as temporary:
                    shutil.copy(path, temporary)
        _print_spread(list(results.values()))
        print(f"{options.out} has the model of seed {best}")
    _print_baseline(task, examples, held_out, results[best])
    print(f"{options.out}: the model; try: minibert predict {options.out} 'some text'")


def _examples(options):
    """Return the task, and the examples to train on and to measure on."""
    columns = options.text, options.label, options.pair
    rows = read_rows(options.file, *columns, labelled=True)
    kind = TASKS[options.task] if options.task else _guessed(options.file, rows)
    require_kind(kind, options.file)
    labels = [label_of(kind, row, options.file) for row in rows]
    try:
        task = kind.learn(labels)
    except ValueError as error:
        raise ValueError(f"{options.file}: {error}") from None
    examples = Examples([row.text for row in rows], pairs_of(rows), labels)
    if options.dev:
        held_out = read_examples(task, options.dev, *columns)
    else:
        if not 0 < options.dev_share < 1:
            raise ValueError(f"dev_share: expected a share from 0 to 1, got {options.dev_share}")
        classes = labels if kind is OneLabel else [None] * len(labels)
        chosen = set(held_out_of(classes, options.dev_share, options.split_seed).tolist())
        if not chosen:
            raise ValueError(f"{options.file}: too few rows to hold some out; give --dev FILE")
        held_out = examples.chosen(sorted(chosen))
        examples = examples.chosen(i for i in range(len(rows)) if i not in chosen)
    name = next(name for name, each in TASKS.items() if each is kind)
    print(f"{name}: {len(examples):,} texts to train on, {len(held_out):,} to measure on")
    if kind is OneLabel:
        _report_classes(examples, options)
    return task, examples, held_out


def _guessed(path, rows):
    """Return what kind of task the labels of a file are for."""
    labels = [row.label for row in rows]
    if path.suffix.lower() in CONLL:
        return Tags
    if any(isinstance(label, list) for label in labels):
        return SeveralLabels
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return OneLabel
    return OneLabel if all(number.is_integer() for number in numbers) else Numbers


def _report_classes(examples, options):
    counts = Counter(examples.labels).most_common()
    print("classes: " + ", ".join(f"{name} {number:,}" for name, number in counts))
    (most, many), (least, few) = counts[0], counts[-1]
    if many > IMBALANCE * few and options.class_weight is None:
        print(f"{most!r} is {many / few:.0f} times as common as {least!r}; --class-weight balanced "
              "makes both count alike")  # fmt: skip
    for name, number in counts:
        if number == 1:
            log.warning("warning: class %r has one text to train on", name)


def _one_run(options, task, examples, held_out, seed, run):
    """Train with one seed into one folder; returns the scores on the held-out examples."""
    model, tokenizer = _start(options, task, examples, seed)
    recipe = finetuning_recipe(len(examples), model.config, pretrained=bool(options.model))
    recipe = recipe.changed(options)
    print(f"{recipe.epochs} epochs, {recipe.batch_size} texts a step, "
          f"learning rate {recipe.learning_rate:.2g}", flush=True)  # fmt: skip
    epoch = steps_for(len(examples), recipe.batch_size, 1)
    own = {
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "layer_decay": recipe.layer_decay,
        "seed": seed,
        "tokenizer": fingerprint(tokenizer),
        "data": examples.checksum(),
    }
    usual = {
        "steps": epoch * recipe.epochs,
        "evaluate_every": min(epoch, EVALUATE_AT_MOST),
        "shards": min(4, recipe.batch_size),
    }
    settings = FineTuning(**{**usual, **stated_settings(options), **own})
    found = checkpoints(run) if options.resume else []
    optimizer = None
    if found:
        model = resumed_model(found[-1], type(model), model.config, settings)
        optimizer = optimizer_for(model, settings)
        restore_optimizer(found[-1], optimizer)
        print(f"going on after step {optimizer.step}")
    if options.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    for texts in (examples, held_out):
        report_cuts(task, model, tokenizer, texts)
    task = fine_tune(
        model,
        tokenizer,
        task,
        examples,
        settings,
        held_out=held_out,
        optimizer=optimizer,
        run=run,
        threads=options.threads,
        progress=interactive(),
    )
    tokenizer.save_pretrained(run)
    model.save_pretrained(run)
    draw_curves(run)
    return measured(task, model, tokenizer, held_out, options.threads)


def _start(options, task, examples, seed):
    """Return the model to begin with, and its tokenizer."""
    if options.model:
        model = task.kind.from_pretrained(
            options.model,
            seed=seed,
            hidden_dropout_prob=options.dropout,
            attention_probs_dropout_prob=options.dropout,
            **task.config(),
        )
        return model, WordPieceTokenizer.from_pretrained(options.model)
    if options.tokenizer:
        tokenizer = WordPieceTokenizer.from_pretrained(options.tokenizer)
    else:
        tokenizer = task.learned_tokenizer(examples.texts, examples.pairs)
        print(f"from nothing: {tokenizer.vocab_size:,} pieces are learned from the texts")
    config = replace(new_config(options, tokenizer, LENGTH), **task.config())
    return task.kind(config, seed=seed), tokenizer


def _print_spread(results):
    print(f"{len(results)} seeds:")
    for name in results[0].figures():
        values = [scores.figures()[name] for scores in results]
        print(f"  {name}: {statistics.mean(values):.3f} ± {statistics.stdev(values):.3f} "
              f"({min(values):.3f} to {max(values):.3f})")  # fmt: skip


def _print_baseline(task, examples, held_out, scores):
    found = baseline(task, examples, held_out)
    if found is None:
        print("is BERT worth it here? with scikit-learn installed, TF-IDF is measured beside it")
        return
    name, cheap = found
    print(f"{name}: {cheap}")
    if cheap.main >= scores.main:
        print("that is as good as BERT on these texts, and cheaper")
