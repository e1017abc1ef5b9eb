"""The commands that write, on small inputs: what each writes, and how it is continued."""

import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    TextClassifier,
    VectorStore,
)
from minibert.cli import main
from minibert.data.builtin import corpus
from minibert.data.builtin.corpus import Corpus
from minibert.data.tables import write_tsv
from minibert.io.atomic import TEMPORARY
from minibert.models.config import PRESETS
from minibert.training.history import HISTORY, History
from tests.conftest import small_tokenizer

TEXTS = ["the cat sat on the mat", "a dog ran under the tree", "then it was red and big"]
# The last line on stderr of a command that cannot be continued: a user removes its folder.
NOTHING_TO_RESUME, EXISTS = "no checkpoint to resume from", "exists already; name a new folder"
SMALL = {
    "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12
}  # fmt: skip
TRAINING = ["--threads", "1", "--save-every", "2"]


def make_room(folder: Path) -> None:
    """Write the inputs of all commands."""
    tokenizer = small_tokenizer()
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=16, **SMALL)
    for name, kind in (("mlm", BertForMaskedLM), ("labels", BertForSequenceClassification)):
        tokenizer.save_pretrained(folder / name)
        kind(config, seed=1).save_pretrained(folder / name)
    documents = [f"{text} {i}" for i in range(20) for text in TEXTS]
    (folder / "corpus.txt").write_text("\n\n".join(documents) + "\n", "utf-8")
    (folder / "lines.txt").write_text("\n".join(TEXTS) + "\n", "utf-8")
    rows = [[str(i % 2), TEXTS[i % 2]] for i in range(16)]
    write_tsv(folder / "rows.tsv", ["label", "text"], rows)
    pairs = [[f"{TEXTS[i % 3]} {i}", f"{TEXTS[i % 3]} {i} too"] for i in range(16)]
    write_tsv(folder / "pairs.tsv", ["text1", "text2"], pairs)
    history = History(folder / "run")
    history.write(1, loss=1.0, norm=1.0, rate=0.1, tokens_per_second=9.0)
    history.close()


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        words: its words; {} is the folder of its inputs and outputs.
        outputs: the names of what it writes in this folder.
        more: words with which an unfinished one is continued.
        prepare: makes something in the folder before it.
        run: runs it instead of the command line; returns its exit status.
        share: of the calls that are spoiled; 1: all, unless that takes hours.
    """

    words: str
    outputs: tuple[str, ...]
    more: str = ""
    prepare: Callable[[Path], object] = lambda folder: None
    run: Callable[[list[str]], int] = main
    share: float = 1.0

    def start(self, folder: Path, is_continued: bool = False) -> tuple[int, str]:
        """Run it; return its status, and what it wrote to stderr."""
        words = f"{self.words} {self.more if is_continued else ''}".replace(
            "{}", str(folder)
        ).split()
        printed, errors = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors),
        ):  # fmt: skip
            patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
            for name in ("pretrain", "finetune", "train_embeddings", "distill"):
                # It takes most of the time, and is a command of its own.
                patch.setattr(f"minibert.cli.{name}.draw_curves", lambda run: None)
            patch.setattr(corpus, "read_documents", lambda progress: [])  # which takes long
            patch.setattr(corpus, "builtin_corpus", lambda documents: SPLIT)
            patch.setattr(corpus, "builtin_labelled", lambda documents: LABELLED)
            patch.setattr("minibert.cli.demo.VOCABULARY", 34)  # which so few texts give
            patch.setattr("minibert.models.config.PRESETS", dict.fromkeys(PRESETS, SMALL))
            patch.setattr("minibert.testing.cases.cases", lambda every: [])
            status = self.run(words)
        return status, errors.getvalue()

    def finish(self, folder: Path) -> None:
        """Run a command again that was killed or that failed, to its end."""
        if self.is_done(folder):
            return
        status, errors = self.start(folder, is_continued=True)
        if status == 2 and (NOTHING_TO_RESUME if self.more else EXISTS) in errors:
            for name in self.outputs:  # as a user does who starts again
                shutil.rmtree(folder / name, ignore_errors=True)
            status, errors = self.start(folder)
        assert status == 0, f"continued: status {status}: {errors.strip()}"

    @property
    def is_atomic(self) -> bool:
        """Whether its outputs are the old ones or the new ones at any time."""
        are_files = all("." in name and not name.endswith(".store") for name in self.outputs)
        return are_files or self.words.startswith(NEW)

    def is_done(self, folder: Path) -> bool:
        """Return whether it has written a new folder, which it does not write twice."""
        return self.words.startswith(NEW) and bool(self.result(folder))

    def result(self, folder: Path) -> dict[str, bytes]:
        """Return the content of all outputs by path, without what depends on the clock (dict)."""
        found = {}
        for name in self.outputs:
            paths = [folder / name, *sorted((folder / name).rglob("*"))]
            for path in paths:
                # A temporary file that could not be removed is removed by the next run.
                is_left = any(parent.match(TEMPORARY) for parent in (path, *path.parents))
                if path.is_file() and not is_left:
                    content = path.read_bytes()
                    if path.name == HISTORY:
                        content = b"".join(map(_timeless, content.splitlines()))
                    found[path.relative_to(folder).as_posix()] = content
        return found


NEW = "train-tokenizer", "corpus", "exercises"  # commands that write a new folder at once
SPLIT = Corpus([["A list of words.", "Another paragraph."], ["A tree."]], [["A set."]])
LABELLED = {
    name: [("one", f"A {name} text."), ("two", "More.")] for name in ("train", "dev", "test")
}


def _timeless(line):
    figures = json.loads(line)
    figures.pop("tokens_per_second", None)
    return json.dumps(figures).encode() + b"\n"


def _old(name):
    return lambda folder: (folder / name).write_text("old")


def _store(folder):
    VectorStore.create(folder / "a.store", str(folder / "mlm")).append_files([folder / "lines.txt"])
    with (folder / "lines.txt").open("a") as file:
        file.write("one more\nand another\n")


@cache
def _classifier():
    with tempfile.TemporaryDirectory() as folder:
        make_room(Path(folder))
        labels = [str(i % 2) for i in range(16)]
        return TextClassifier(f"{folder}/mlm", strategy="direct", epochs=1).fit(
            [TEXTS[i % 2] for i in range(16)], labels
        )


def _save(words):
    """Save a classifier as from Python."""
    try:
        _classifier().save_pretrained(words[0])
    except OSError as error:
        sys.stderr.write(f"minibert: {error}\n")
        return 1
    return 0


def _save_another(folder):
    _save([folder / "out"])
    (folder / "out" / "estimator.json").write_text("{}")


COMMANDS = {
    "train-tokenizer": Command(
        "train-tokenizer {}/corpus.txt --vocab-size 60 --out {}/out", ("out",)
    ),
    "train-tokenizer to an empty folder": Command(
        "train-tokenizer {}/corpus.txt --vocab-size 60 --out {}/out", ("out",),
        prepare=lambda folder: (folder / "out").mkdir(),
    ),
    "corpus": Command("corpus --out {}/out", ("out",)),
    "demo": Command("demo --steps 2 --out {}/out", ("out",), share=0.1),
    "exercises": Command("exercises {}/out", ("out",)),
    "pretrain": Command(
        "pretrain {}/corpus.txt --model {}/mlm --steps 6 "
        "--batch-size 4 --out {}/out " + " ".join(TRAINING), ("out",), "--resume"
    ),
    "pretrain with checkpoints": Command(
        "pretrain {}/corpus.txt --model {}/mlm --steps 4 --keep-checkpoints "
        "--batch-size 4 --out {}/out " + " ".join(TRAINING), ("out",), "--resume"
    ),
    "finetune": Command(
        "finetune {}/rows.tsv --dev {}/rows.tsv --model {}/mlm --strategy direct --epochs 2 "
        "--batch-size 8 --evaluate-every 2 --out {}/out " + " ".join(TRAINING), ("out",), "--resume"
    ),
    "finetune with two seeds": Command(
        "finetune {}/rows.tsv --dev {}/rows.tsv --model {}/mlm --strategy direct --epochs 1 "
        "--batch-size 8 --seeds 2 --out {}/out " + " ".join(TRAINING), ("out",), "--resume"
    ),
    "train-embeddings": Command(
        "train-embeddings {}/pairs.tsv --dev {}/pairs.tsv --model {}/mlm --epochs 1 "
        "--batch-size 4 --out {}/out " + " ".join(TRAINING), ("out",), "--resume"
    ),
    "distill": Command(
        "distill {}/mlm {}/corpus.txt --layers 1 --length 12 --steps 4 --batch-size 4 "
        "--out {}/out " + " ".join(TRAINING), ("out",), "--resume"
    ),
    "embed npy": Command(
        "embed {}/mlm --file {}/lines.txt --out {}/v.npy", ("v.npy",), prepare=_old("v.npy")
    ),
    "embed csv": Command("embed {}/mlm --file {}/lines.txt --out {}/v.csv", ("v.csv",)),
    "embed jsonl": Command(
        "embed {}/mlm --file {}/lines.txt --out {}/v.jsonl", ("v.jsonl",), prepare=_old("v.jsonl")
    ),
    "embed store": Command("embed {}/mlm --file {}/lines.txt --out {}/a.store", ("a.store",)),
    "embed store, extended": Command(
        "embed {}/mlm --file {}/lines.txt --out {}/a.store", ("a.store",), prepare=_store
    ),
    "inspect": Command(
        "inspect {}/labels cat --html {}/look.html", ("look.html",), prepare=_old("look.html")
    ),
    "plot": Command("plot {}/run --out {}/c.png", ("c.png",), prepare=_old("c.png")),
    "save_pretrained": Command("{}/out", ("out",), run=_save),
    "save_pretrained over another": Command(
        "{}/out", ("out",), prepare=_save_another, run=_save
    ),
    "gradcheck": Command("gradcheck --out {}/g.md", ("g.md",), prepare=_old("g.md")),
}  # fmt: skip
