"""The sub-commands that use a model that labels: evaluate, predict."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from minibert.cli.labelled import measured, pairs_of, read_examples, report_cut, report_cuts
from minibert.cli.shared import lines_of
from minibert.data.tables import Row, quote, stream_rows
from minibert.models import BertForSequenceClassification, BertForTokenClassification
from minibert.models.checkpoints import read_architectures
from minibert.tasks.entities import entities, is_bio
from minibert.tokenization import WordPieceTokenizer
from minibert.training import Numbers, SeveralLabels, Tags, Task, task_of

BLOCK = 4096  # rows at a time, where labels are written as they come


def evaluate(options: argparse.Namespace) -> None:
    """Measure a model on labelled texts."""
    task, model, tokenizer = _labeller(options.model)
    examples = read_examples(task, options.file, options.text, options.label, options.pair)
    report_cuts(task, model, tokenizer, examples)
    measured(task, model, tokenizer, examples)


def predict(options: argparse.Namespace) -> None:
    """Label texts, some thousand at a time."""
    task, model, tokenizer = _labeller(options.model)
    tagging, longest = isinstance(task, Tags), model.config.max_position_embeddings
    rows = _rows_to_label(options, tokenizer if tagging else None)
    cut = total = 0
    while block := list(islice(rows, BLOCK)):
        texts: list[Any] = [row.text for row in block]
        pairs = pairs_of(block)
        if not tagging:
            cut += tokenizer.count_truncated(texts, pairs, max_length=longest)
        total += len(block)
        outputs = task.predict(model, tokenizer, texts, pairs)
        for line in (_tagged if tagging else _labelled)(task, texts, outputs, options.form):
            print(line)
    report_cut(cut, total, longest, sys.stderr)


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
