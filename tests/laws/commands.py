"""Small files and models for the commands, and a record of what a command trains with."""

import dataclasses
import json
import zlib

import numpy as np
import pytest

from minibert import BertConfig
from minibert import models as m
from minibert.cli import build_parser, main
from minibert.models.config import PRESETS
from minibert.training.finetuning import FineTuningRun
from tests.conftest import small_tokenizer

SENTENCES = ["the cat sat on the mat", "a dog ran under the tree", "then it was red and big"]
SMALL = {**PRESETS["tiny"], "num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 8}
SIZES = {"nano": SMALL, "tiny": SMALL, "mini": {**SMALL, "num_hidden_layers": 1}}
CONFIG = BertConfig(
    vocab_size=len(small_tokenizer()), hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=6, max_position_embeddings=16, initializer_range=0.4,
    id2label={0: "cats", 1: "dogs"},
)  # fmt: skip


def run(*words):
    """Run the command line and return its exit status."""
    return main([str(word) for word in words])


def options_of(command):
    """Return the names of a command's options and arguments (set of str), in the parsed form.

    Without those that all commands share: tests/cli/test_revision.py has --revision.
    """
    commands = next(a for a in build_parser()._actions if a.choices).choices
    commands[command].load()
    return {action.dest for action in commands[command]._actions} - {"help", "debug", "revision"}


def write_workspace(folder):
    """Write texts, labelled files, a tokenizer and models of each kind to a folder."""
    rng = np.random.default_rng(0)
    documents = [f"{a}\n{b} {n % 7}" for n, (a, b) in enumerate(rng.choice(SENTENCES, (60, 2)))]
    (folder / "corpus.txt").write_text("\n\n".join(documents) + "\n", "utf-8")
    (folder / "other.txt").write_text("\n\n".join(documents[:40]) + "\n", "utf-8")
    words = ["cat", "dog"]
    rows = [
        {"text": f"the {a} sat {n % 3}", "label": f"{a}s", "second": f"the {b} ran {n % 5}",
         "content": f"a {b} was red", "kind": f"{b}s", "extra": f"it was a {a} or {n}"}
        for n, (a, b) in enumerate((a, b) for a in words for b in words * 5)
    ]  # fmt: skip
    for name, part in (("rows", rows), ("dev", rows[::2]), ("test", rows[::3])):
        lines = "\n".join(map(json.dumps, part))
        (folder / f"{name}.jsonl").write_text(lines + "\n", "utf-8")
    tokenizer = small_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    cased = type(tokenizer)(list(tokenizer.vocab), do_lower_case=False)
    cased.save_pretrained(folder / "cased")
    kinds = {"model": m.BertForMaskedLM, "body": m.BertModel,
             "classifier": m.BertForSequenceClassification}  # fmt: skip
    for name, kind in kinds.items():
        tokenizer.save_pretrained(folder / name)
        kind(CONFIG).save_pretrained(folder / name)


class Stopped(Exception):
    """Raised instead of training."""


def flat(name, value):
    """Return the fields of a dataclass as a dictionary of dotted names."""
    fields = dataclasses.fields(value)
    return {f"{name}.{field.name}": getattr(value, field.name) for field in fields}


def seen_of(model, settings, run, threads, **more):
    return {
        **flat("settings", settings),
        **flat("config", model.config),
        "kind": type(model).__name__,
        "block": type(model.bert.encoder.blocks[0]).__name__,
        "weights": zlib.crc32(model.params.vector.tobytes()),
        "run": run,
        "threads": threads,
        **more,
    }


def training_with(*words):
    """Run a training command up to its training; return what it would train with (dict)."""
    seen = []

    def pretrain(model, objective, settings, tokenizer, *, run, threads, optimizer, **_):
        seen.append(seen_of(
            model, settings, run, threads,
            vocabulary=tokenizer.normalizer, rows=len(objective.rows), width=objective.rows.length,

            held_out=zlib.crc32(objective.held_out_labels.tobytes()),
            evaluation_threads=objective.threads,
            step=optimizer.step if optimizer else 0,
        ))  # fmt: skip
        raise Stopped

    def fine_tune(self, held_out, run, threads, **_):
        seen.append(seen_of(
            self.model, self.settings, run, threads,
            **flat("recipe", self.recipe), **flat("examples", self.examples),
            **flat("held_out", held_out), task=self.task.name, names=self.task.names,
            vocabulary=list(self.tokenizer.vocab), normalizer=self.tokenizer.normalizer,
            step=self.optimizer.step if self.optimizer else 0,
        ))  # fmt: skip
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minibert.cli.pretrain.pretrain", pretrain)
        patch.setattr(FineTuningRun, "train", fine_tune)
        run(*words)
    return seen[0]
