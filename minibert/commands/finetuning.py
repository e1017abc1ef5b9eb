"""The sub-commands about labels: finetune, evaluate, predict."""

import argparse
import json
import logging
import shutil
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import Any

from minibert.commands.shared import interactive, lines_of
from minibert.commands.training import draw_curves, new_config, resumed_model, stated_settings
from minibert.data.batching import held_out_of
from minibert.data.conll import CONLL
from minibert.data.tables import Row, quote, read_rows, stream_rows
from minibert.data.tokens import fingerprint
from minibert.files import claim
from minibert.models import BertForSequenceClassification, BertForTokenClassification
from minibert.models.pretrained import read_architectures
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
    Task,
    fine_tune,
    optimizer_for,
    task_of,
)
from minibert.training.baselines import baseline
from minibert.training.checkpoint import checkpoints, restore_optimizer
from minibert.training.entities import entities, is_bio
from minibert.training.finetune import steps_for
from minibert.training.recipes import finetuning_recipe

log = logging.getLogger("minibert")

IMBALANCE = 3  # times as many texts in the largest class as in the smallest are worth a word
MISTAKES = 5  # to show
BLOCK = 4096  # rows at a time, where labels are written as they come
LENGTH = 128  # tokens, of a new model's longest text; short texts cost no more for it
EVALUATE_AT_MOST = 500  # steps between two evaluations; an epoch, if that is less


def finetune(options: argparse.Namespace) -> None:
    """Train a model on labelled texts, once or with several seeds."""
    if options.seeds < 1:
        raise ValueError(f"seeds: expected at least 1, got {options.seeds}")
    seeds = range(options.seed, options.seed + options.seeds)
    runs = {
        seed: options.out if len(seeds) == 1 else options.out / f"seed-{seed}" for seed in seeds
    }
    if options.resume and not any(map(checkpoints, runs.values())):
        raise FileNotFoundError(f"{options.out}: no checkpoint to resume from")
    if not options.resume:
        claim(options.out)
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
        _print_spread(list(results.values()))
        for path in runs[best].iterdir():
            if path.is_file():
                shutil.copy(path, options.out / path.name)
        print(f"{options.out} has the model of seed {best}")
    _print_baseline(task, examples, held_out, results[best])
    print(f"{options.out}: the model; try: minibert predict {options.out} 'some text'")


def _examples(options):
    """Return the task, and the examples to train on and to measure on."""
    columns = options.text, options.label, options.pair
    rows = read_rows(options.file, *columns, labelled=True)
    kind = TASKS[options.task] if options.task else _guessed(options.file, rows)
    _require_kind(kind, options.file)
    labels = [_label(kind, row, options.file) for row in rows]
    try:
        task = kind.learn(labels)
    except ValueError as error:
        raise ValueError(f"{options.file}: {error}") from None
    examples = Examples([row.text for row in rows], _pairs(rows), labels)
    if options.dev:
        held_out = _read_examples(task, options.dev, *columns)
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


def _read_examples(task, path, *columns):
    """Read labelled texts for a task that is known."""
    _require_kind(type(task), path)
    rows = read_rows(path, *columns, labelled=True)
    labels = [_label(type(task), row, path, task) for row in rows]
    return Examples([row.text for row in rows], _pairs(rows), labels)


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


def _require_kind(kind, path):
    if (kind is Tags) != (path.suffix.lower() in CONLL):
        raise ValueError(
            f"{path}: words are tagged in files that end in {', '.join(CONLL)}, texts labelled in "
            f"others, and this model is for {'words' if kind is Tags else 'texts'}"
        )


def _label(kind, row, path, task=None):
    """Return a row's label as its task takes it; refuse one that the task doesn't know."""
    label = row.label
    try:
        if kind is Numbers:
            label = float(label)
            if label - label != 0:
                raise ValueError(f"expected a finite number as label, got {row.label!r}")
        elif kind is SeveralLabels and isinstance(label, str):
            label = [name.strip() for name in label.split(",") if name.strip()]
        elif kind is OneLabel and isinstance(label, list):
            raise ValueError(f"expected one label, got {len(label)}; see --task multi-label")
        if task is not None:
            task.number(label)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}, line {row.line}: {error}") from None
    return label


def _pairs(rows: Sequence[Row]) -> list[str] | None:
    return [row.pair or "" for row in rows] if rows and rows[0].pair is not None else None


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
        _report_cuts(task, model, tokenizer, texts)
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
    return _measured(task, model, tokenizer, held_out, options.threads)


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


def _measured(task, model, tokenizer, examples, threads=None):
    """Print table, scores, yardstick and the surest mistakes; returns the scores."""
    outputs = task.predict(
        model, tokenizer, examples.texts, examples.pairs, threads=threads, progress=interactive()
    )
    scores = task.scores(examples.labels, outputs)
    print(scores.table())
    print(f"{scores}; {scores.yardstick()}")
    wrong = nlargest(
        MISTAKES,
        task.mistakes(examples.texts, examples.labels, outputs),
        key=lambda mistake: mistake[0],
    )
    if wrong:
        print("the worst mistakes:" if isinstance(task, Numbers) else "the surest mistakes:")
    for sure, true, said, text in wrong:
        print(f"  {sure:.2f}  {said}, but it is {true}:  {' '.join(text.split()):.100}")
    return scores


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


def evaluate(options: argparse.Namespace) -> None:
    """Measure a model on labelled texts."""
    task, model, tokenizer = _labeller(options.model)
    examples = _read_examples(task, options.file, options.text, options.label, options.pair)
    _report_cuts(task, model, tokenizer, examples)
    _measured(task, model, tokenizer, examples)


def predict(options: argparse.Namespace) -> None:
    """Label texts, some thousand at a time."""
    task, model, tokenizer = _labeller(options.model)
    tagging, longest = isinstance(task, Tags), model.config.max_position_embeddings
    rows = _rows_to_label(options, tokenizer if tagging else None)
    cut = total = 0
    while block := list(islice(rows, BLOCK)):
        texts: list[Any] = [row.text for row in block]
        pairs = _pairs(block)
        if not tagging:
            cut += tokenizer.count_truncated(texts, pairs, max_length=longest)
        total += len(block)
        outputs = task.predict(model, tokenizer, texts, pairs)
        for line in (_tagged if tagging else _labelled)(task, texts, outputs, options.form):
            print(line)
    _report_cut(cut, total, longest, sys.stderr)


def _report_cuts(task, model, tokenizer, examples):
    """Say how many texts are too long for the model; where words are tagged, none is."""
    if not isinstance(task, Tags):
        longest = model.config.max_position_embeddings
        cut = tokenizer.count_truncated(examples.texts, examples.pairs, max_length=longest)
        _report_cut(cut, len(examples), longest)


def _report_cut(cut, total, longest, file=None):
    if cut:
        message = f"{cut:,} of {total:,} texts are longer than {longest} tokens and are cut"
        print(message, file=file)


def _rows_to_label(options, tokenizer) -> Iterator[Row]:
    """Yield what is to be labelled; with a tokenizer, cut into words."""
    if options.file and not options.texts:
        rows: Iterable[Row] = stream_rows(options.file, options.text, options.label, options.pair)
    else:
        rows = (Row(text, None, None, n) for n, text in enumerate(lines_of(options), start=1))
    for row in rows:
        if tokenizer is not None and isinstance(row.text, str):
            row = replace(row, text=tokenizer.words_of(row.text))
        elif tokenizer is None and not isinstance(row.text, str):
            raise ValueError(f"{options.file}: expected texts, for this model doesn't tag words")
        yield row


def _labelled(task, texts, outputs, form):
    """Yield a line for each text: its label, how probable that is, and the text."""
    for text, answer, shares in zip(texts, task.answers(outputs), outputs, strict=True):
        if form == "jsonl":
            row: dict[str, Any] = {"text": text, "label": answer}
            if not isinstance(task, Numbers):
                named = zip(task.names, shares.tolist(), strict=True)
                row["probabilities"] = {name: round(share, 5) for name, share in named}
            yield json.dumps(row, ensure_ascii=False)
            continue
        if isinstance(task, Numbers):
            parts = [f"{answer:.4g}"]
        elif isinstance(task, SeveralLabels):
            parts = [",".join(answer), " ".join(f"{share:.3f}" for share in shares)]
        else:
            parts = [answer, f"{shares.max():.3f}"]
        yield "\t".join([*parts, quote(" ".join(text.split()))])


def _tagged(task, texts, outputs, form):
    """Yield a word and its tag a line, as CoNLL files have them; or a text's entities as JSON."""
    for words, tags in zip(texts, task.answers(outputs), strict=True):
        if form == "jsonl":
            row = {"words": words, "tags": tags}
            if is_bio(task.names):
                row["entities"] = [
                    {"label": kind, "text": " ".join(words[start:end]), "start": start, "end": end}
                    for kind, start, end in entities(tags)
                ]
            yield json.dumps(row, ensure_ascii=False)
        else:
            yield from (f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True))
            yield ""


def _labeller(folder: Path) -> tuple[Task, Any, WordPieceTokenizer]:
    """Read a model that labels."""
    kinds = (BertForSequenceClassification, BertForTokenClassification)
    names = read_architectures(folder)
    kind = next((kind for kind in kinds if kind.__name__ in names), None)
    if kind is None:
        had = ", ".join(names) or "a model of an unknown kind"
        raise ValueError(
            f"{folder}: expected a model that labels texts or words, got {had}; "
            "minibert finetune makes one"
        )
    model = kind.from_pretrained(folder, strict=True)
    return task_of(model), model, WordPieceTokenizer.from_pretrained(folder)
