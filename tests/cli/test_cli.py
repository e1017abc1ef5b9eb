"""The command line: each job on small files, and one clear line for each kind of bad input."""

import csv
import gzip
import hashlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from minibert import BertForMaskedLM, BertForPreTraining, BertForSequenceClassification
from minibert.cli import main, parser
from minibert.data.token_cache import fingerprint
from minibert.inference.features import FeatureExtractor
from minibert.tokenization import WordPieceTokenizer
from minibert.training.history import read_history

TEXTS = ["the cat sat on the mat", "a dog ran under the tree", "then it was red and big"]


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def room(tmp_path_factory, tokenizer, monkeypatch_module):
    """A folder with a corpus, labelled texts, a tokenizer, a tiny model and a classifier."""
    folder = tmp_path_factory.mktemp("room")
    rng = np.random.default_rng(0)
    monkeypatch_module.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    documents = [f"{a}\n{b} {n % 7}" for n, (a, b) in enumerate(rng.choice(TEXTS, (90, 2)))]
    (folder / "corpus.txt").write_text("\n\n".join(documents) + "\n", "utf-8")
    rows = [
        f"{word}s\tthe {word} sat on {place}"
        for word in ("cat", "dog")
        for place in ("a mat", "the tree", "it", "red", "big and red", "the mat", "trees", "mats")
    ]
    (folder / "labelled.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n", "utf-8")
    tokenizer.save_pretrained(folder / "tokenizer")
    assert run(pretrain(folder, "model")) == 0
    assert run(finetune(folder, "classifier", "--model", folder / "model")) == 0
    return folder


def pretrain(folder, out, *more):
    return ["pretrain", folder / "corpus.txt", "--tokenizer", folder / "tokenizer", "--length", 16,
            "--steps", 12, "--batch-size", 4, "--out", folder / out, *more]  # fmt: skip


def finetune(folder, out, *more):
    rows = folder / "labelled.tsv"
    return ["finetune", rows, "--dev", rows, "--epochs", 2, "--batch-size", 8,
            "--out", folder / out, *more]  # fmt: skip


def run(arguments):
    return main([str(argument) for argument in arguments])


def refused(capsys, arguments, *parts, status=2):
    """Run bad input: the status, one line on stderr, and what the line must say."""
    capsys.readouterr()
    assert run(arguments) == status
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    assert error.startswith("minibert: ")
    for part in parts:
        assert str(part) in error, error


def test_pretraining_prints_the_yardstick_and_leaves_a_model(room, capsys):
    assert run(pretrain(room, "another", "--held-out", room / "corpus.txt")) == 0
    printed = capsys.readouterr().out
    assert "tokens to train on" in printed
    assert "held out:" in printed
    assert "counts of tokens:" in printed
    assert BertForMaskedLM.from_pretrained(room / "another").config.max_position_embeddings == 16
    assert not list(room.glob(".*tmp"))


def test_a_run_interrupted_goes_on_and_ends_like_one_unbroken(room, capsys, monkeypatch):
    from minibert.training import loop

    right = loop.Engine.step

    def interrupted(self, shards, rate):
        result = right(self, shards, rate)
        if self.optimizer.step == 5:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)
        return result

    monkeypatch.setattr(loop.Engine, "step", interrupted)
    refused(capsys, pretrain(room, "broken"), "stopped after step 5 of 12", "checkpoint-5",
            "--resume", status=130)  # fmt: skip
    monkeypatch.setattr(loop.Engine, "step", right)
    refused(capsys, pretrain(room, "broken", "--resume", "--learning-rate", 0.5),
            "learning_rate: the run", "has 0.002, got 0.5")  # fmt: skip
    (room / "other.txt").write_text("a dog\n\n" * 40 + (room / "corpus.txt").read_text())
    other = [
        room / "other.txt" if a == room / "corpus.txt" else a for a in pretrain(room, "broken")
    ]
    refused(capsys, [*other, "--resume"], "data: the run")
    cased = WordPieceTokenizer.from_pretrained(room / "tokenizer")
    WordPieceTokenizer(list(cased.vocab), do_lower_case=False).save_pretrained(room / "cased")
    other = [room / "cased" if a == room / "tokenizer" else a for a in pretrain(room, "broken")]
    refused(capsys, [*other, "--resume"], "tokenizer: the run")
    refused(capsys, pretrain(room, "broken", "--resume", "--size", "mini"), "hidden_size: the run")
    refused(capsys, pretrain(room, "broken", "--resume", "--dropout", 0.3), "dropout_prob: the run")
    (room / "broken" / "checkpoint-old").mkdir()
    assert run(pretrain(room, "broken", "--resume", "--save-every", 7)) == 0
    assert "going on after step 5" in capsys.readouterr().out
    whole = BertForMaskedLM.from_pretrained(room / "model")
    resumed = BertForMaskedLM.from_pretrained(room / "broken")
    assert (whole.params.vector == resumed.params.vector).all()


def test_a_run_of_version_1_is_resumed_with_its_texts_and_with_no_others(room, tmp_path, capsys):
    """Its key of the texts was another one, as was the name of its tokens in the cache."""
    out = tmp_path / "run"
    shutil.copytree(room / "model", out, ignore=shutil.ignore_patterns("model*", "checkpoint-12"))
    shutil.copytree(room / "model" / "checkpoint-12", out / "checkpoint-12")
    tokenizer = WordPieceTokenizer.from_pretrained(room / "tokenizer")
    digest = hashlib.blake2b(repr((2, 1, 0.05, fingerprint(tokenizer))).encode(), digest_size=8)
    digest.update((room / "corpus.txt").read_bytes() + b"end of file")
    path = out / "checkpoint-12" / "trainer_state.json"
    state = json.loads(path.read_text())
    assert state["settings"]["data"].startswith("3-")
    state["settings"]["data"] = digest.hexdigest()
    path.write_text(json.dumps(state))
    (tmp_path / "other.txt").write_text("a dog\n\n" * 40 + (room / "corpus.txt").read_text())
    other = [tmp_path / "other.txt" if a == room / "corpus.txt" else a for a in pretrain(room, out)]
    refused(capsys, [*other, "--resume"], f"data: the run in {out} has {digest.hexdigest()}, got 3")
    assert run(pretrain(room, out, "--resume")) == 0
    assert "going on after step 12" in capsys.readouterr().out
    resumed, whole = (BertForMaskedLM.from_pretrained(name) for name in (out, room / "model"))
    assert (resumed.params.vector == whole.params.vector).all()


def test_a_loss_that_is_no_number_ends_the_run_with_status_one(room, capsys, monkeypatch):
    from minibert.training import loop

    right = loop.Engine.step

    def burst(self, shards, rate):
        if self.optimizer.step == 7:
            self.model.params.vector[:] = np.nan
        return right(self, shards, rate)

    monkeypatch.setattr(loop.Engine, "step", burst)
    arguments = pretrain(room, "nan", "--save-every", 3)
    refused(capsys, arguments, "step 8: the loss is nan", status=1)
    kept = sorted(path.name for path in (room / "nan").iterdir())
    assert kept == ["checkpoint-3", "checkpoint-6", "history.jsonl"]
    good = BertForMaskedLM.from_pretrained(room / "nan" / "checkpoint-6")
    assert np.isfinite(good.params.vector).all()


def test_weights_that_burst_in_the_last_step_are_a_failure(room, capsys):
    arguments = pretrain(room, "burst", "--learning-rate", 1e30, "--warmup", 0, "--save-every", 1)
    refused(capsys, arguments, "step ", status=1)
    assert not (room / "burst" / "model.safetensors").exists()
    for checkpoint in room.glob("burst/checkpoint-*"):
        refused(capsys, pretrain(room, "burst", "--resume"), "learning_rate: the run")
        assert np.isfinite(BertForMaskedLM.from_pretrained(checkpoint).params.vector).all()


def test_a_stop_after_the_last_step_loses_nothing(room, capsys, monkeypatch):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("minibert.objectives.evaluation.score", stopped)
        refused(capsys, pretrain(room, "late"), "stopped", status=130)
    kept = sorted(path.name for path in (room / "late").iterdir())
    assert kept == ["checkpoint-12", "history.jsonl"]
    assert run(pretrain(room, "late", "--resume")) == 0
    late, whole = (BertForMaskedLM.from_pretrained(room / name) for name in ("late", "model"))
    assert (late.params.vector == whole.params.vector).all()


@pytest.mark.parametrize(
    ("name", "content"),
    [("trainer_state.json", b"{"), ("trainer_state.json", b"{}"), ("optimizer.safetensors", b"x")],
)
def test_a_broken_checkpoint_is_refused_by_file(room, tmp_path, capsys, name, content):
    shutil.copytree(room / "model" / "checkpoint-12", tmp_path / "run" / "checkpoint-3")
    (tmp_path / "run" / "checkpoint-3" / name).write_bytes(content)
    refused(capsys, pretrain(room, tmp_path / "run", "--resume"), tmp_path / "run", name)


KILLED = """
import os, signal, sys
from minibert.cli import main
from minibert.training import {module}
right = {module}.{name}
calls = []
def killing(*arguments, **options):
    calls.append(arguments)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return right(*arguments, **options)
{module}.{name} = killing
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("module", "name", "call", "kept"),
    [("engine", "split_batch", 8, 6), ("checkpoint", "write_tensors", 3, 6)],
)
def test_a_run_killed_at_any_moment_goes_on_and_ends_like_one_unbroken(
    room, module, name, call, kept
):
    place = "pretrain" if name == "split_batch" else module
    code = KILLED.format(module=place, name=name, call=call)
    arguments = pretrain(room, f"killed-{call}", "--save-every", 3, "--keep", 3)
    killed = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False)
    assert killed.returncode == -9
    checkpoints = sorted((room / f"killed-{call}").glob("checkpoint-*"))
    assert [path.name for path in checkpoints] == [f"checkpoint-{n}" for n in range(3, kept + 1, 3)]
    assert run([*arguments, "--resume"]) == 0
    found, whole = (
        BertForMaskedLM.from_pretrained(room / name) for name in (f"killed-{call}", "model")
    )
    assert (found.params.vector == whole.params.vector).all()
    steps = [line["step"] for line in read_history(room / f"killed-{call}") if "loss" in line]
    assert steps == list(range(1, 13))
    assert len(list((room / f"killed-{call}").glob("checkpoint-*"))) == 3


def test_threads_shards_and_recomputing_change_no_bit(room, capsys):
    whole = BertForMaskedLM.from_pretrained(room / "model").params.vector
    for name, options in (("one", ["--threads", 1]), ("again", ["--gradient-checkpointing"])):
        assert run(pretrain(room, name, "--threads", 3, *options)) == 0
        vector = BertForMaskedLM.from_pretrained(room / name).params.vector
        assert (vector == whole).all()
    refused(capsys, pretrain(room, "x", "--threads", 0), "threads: expected at least 1, got 0")
    refused(capsys, pretrain(room, "x", "--shards", 5), "shards: expected at most the 4 sequences")
    refused(capsys, pretrain(room, "model", "--resume", "--shards", 2), "shards: the run", "has 4")


def test_texts_come_packed_from_patterns_and_from_standard_input(room, capsys, monkeypatch):
    text = (room / "corpus.txt").read_bytes()
    (room / "part-1.gz").write_bytes(gzip.compress(text[:2000]))
    (room / "part-2.gz").write_bytes(gzip.compress(text[2000:]))
    outs = []
    for name, source in (("globbed", room / "part-*.gz"), ("piped", "-")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        arguments = [source if a == room / "corpus.txt" else a for a in pretrain(room, name)]
        assert run(arguments) == 0
        outs.append(BertForMaskedLM.from_pretrained(room / name).params.vector)
    assert (outs[1] == BertForMaskedLM.from_pretrained(room / "model").params.vector).all()
    missing = [room / "none*" if a == room / "corpus.txt" else a for a in pretrain(room, "x")]
    refused(capsys, missing, "no file fits this pattern")


def test_next_sentences_are_learned_beside(room, capsys):
    assert run(pretrain(room, "pairs", "--next-sentence")) == 0
    model = BertForPreTraining.from_pretrained(room / "pairs", strict=True)
    assert np.isfinite(model.params.vector).all()
    refused(
        capsys, pretrain(room, "pairs", "--resume"), "model: the run", "BertForPreTraining, got"
    )


def test_minutes_become_steps_once(room, capsys, monkeypatch):
    from minibert.training import pretraining as module

    monkeypatch.setattr(module, "TIMED_SECONDS", 0.0)
    arguments = pretrain(room, "timed")
    at = arguments.index("--steps")
    arguments[at : at + 2] = ["--minutes", "1e-9"]
    assert run(arguments) == 0
    assert "1e-09 minutes are 1 steps" in capsys.readouterr().out
    assert run([*arguments, "--resume"]) == 0
    refused(capsys, [*pretrain(room, "timed"), "--resume"], "steps: the run", "has 1, got 12")
    arguments[at + 1] = "0"
    arguments[arguments.index("--out") + 1] = room / "x"
    refused(capsys, arguments, "minutes: expected more than 0")


def test_a_history_is_kept_and_drawn(room, capsys):
    lines = read_history(room / "model")
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 13))
    assert all(line["tokens_per_second"] > 0 and line["norm"] > 0 for line in steps)
    assert lines[-1].keys() == {"step", "held_out_loss", "held_out_accuracy", "yardstick_loss"}
    pytest.importorskip("matplotlib")
    for name in ("curves.svg", "curves.png"):
        assert run(["plot", room / "model", "--out", room / name]) == 0
        start = (room / name).read_bytes()[:60]
        assert b"<?xml" in start or b"PNG" in start
    refused(capsys, ["plot", room / "model", "--out", "x.gif"], "ends in .svg or .png")
    refused(capsys, ["plot", room / "tokenizer"], "history.jsonl: no such file")


def test_finetuning_goes_on_too(room, capsys, monkeypatch):
    from minibert.training import loop

    right, start = loop.Engine.step, ["--model", room / "model"]

    def interrupted(self, shards, rate):
        result = right(self, shards, rate)
        if self.optimizer.step == 3:
            signal.raise_signal(signal.SIGTERM)
        return result

    monkeypatch.setattr(loop.Engine, "step", interrupted)
    refused(capsys, finetune(room, "halved", *start), "stopped after step 3 of 4", "--resume",
            status=130)  # fmt: skip
    monkeypatch.setattr(loop.Engine, "step", right)
    refused(capsys, finetune(room, "halved", *start, "--resume", "--seed", 5), "seed: the run")
    assert run(finetune(room, "halved", *start, "--resume")) == 0
    assert "going on after step 3" in capsys.readouterr().out
    halved, whole = (
        BertForSequenceClassification.from_pretrained(room / name).params.vector
        for name in ("halved", "classifier")
    )
    assert (halved == whole).all()
    refused(capsys, finetune(room, "none", *start, "--resume"), "no checkpoint to resume from")


def test_finetuning_prints_scores_and_evaluate_repeats_them(room, capsys):
    assert (
        run(finetune(room, "from-nothing", "--tokenizer", room / "tokenizer", "--length", 16)) == 0
    )
    first = capsys.readouterr().out
    assert "true/said" in first
    assert "always the commonest class: 50.0%" in first
    assert run(["evaluate", room / "from-nothing", room / "labelled.tsv"]) == 0
    again = capsys.readouterr().out
    assert again in first
    config = json.loads((room / "from-nothing" / "config.json").read_text())
    assert config["id2label"] == {"0": "cats", "1": "dogs"}


def test_predicting_gives_a_label_and_its_share_for_each_text(room, capsys, monkeypatch):
    assert run(["predict", room / "classifier", "the cat", "the dog"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[2] for line in lines] == ["the cat", "the dog"]
    assert {line[0] for line in lines} <= {"cats", "dogs"}
    assert all(0.5 <= float(line[1]) <= 1 for line in lines)
    assert run(["predict", room / "classifier", "--file", room / "labelled.tsv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 16
    monkeypatch.setattr("sys.stdin", iter(["the cat\n", "the dog\n"]))
    assert run(["predict", room / "classifier"]) == 0
    assert [line.split("\t") for line in capsys.readouterr().out.splitlines()] == lines


def test_filling_masks_and_tokenizing(room, capsys):
    assert run(["fill-mask", room / "model", "the [MASK] sat on [MASK]", "--top", 3]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "the [MASK] sat on [MASK]"
    assert [line.count("%") for line in lines[1:]] == [3, 3]


def test_tokenizing(room, tmp_path, capsys, monkeypatch, tokenizer):
    def shown(*arguments):
        assert run(["tokenize", room / "tokenizer", *arguments]) == 0
        return capsys.readouterr().out

    assert shown("The cats.", "[MASK]") == "[CLS] the cat ##s . [SEP]\n[CLS] [MASK] [SEP]\n"
    ids = tokenizer.encode("The cats.").input_ids
    assert shown("The cats.", "--as", "ids") == " ".join(map(str, ids)) + "\n"
    everything = json.loads(shown("The cats.", "--as", "json"))
    assert everything["offsets"] == [[0, 0], [0, 3], [4, 7], [7, 8], [8, 9], [0, 0]]
    assert everything["word_ids"] == [None, 0, 1, 1, 2, None]
    assert "[ ma" not in shown("[MASK]")
    assert shown("[MASK]", "--split-special-tokens").startswith("[CLS] [UNK] m ##a ##s ##k")
    assert shown("The cats", "--offsets").splitlines() == [
        "       The  cat  s",
        "[CLS]  the  cat  ##s  [SEP]",
        "       0-3  4-7  7-8",
        "",
    ]
    (tmp_path / "a.txt").write_text("The cats.\n\nThe dog\n")
    expected = "[CLS] the cat ##s . [SEP]\n[CLS] [SEP]\n[CLS] the dog [SEP]\n"
    assert shown("--file", tmp_path / "a.txt") == expected
    monkeypatch.setattr("sys.stdin", iter(["The cats.\n", "\n", "The dog"]))
    assert shown() == expected
    refused(capsys, ["tokenize", room / "tokenizer", "x", "--file", "y"], "texts or --file")


def test_training_a_tokenizer(room, capsys):
    arguments = ["train-tokenizer", room / "corpus.txt", "--vocab-size", 60, "--out"]
    more = ["--score", "likelihood", "--initial-alphabet", "zß", "--special-tokens", "<a>", "<b>"]
    assert run([*arguments, room / "likely", *more]) == 0
    pieces = (room / "likely" / "vocab.txt").read_text().split()
    assert pieces[5:7] == ["<a>", "<b>"]
    assert {"z", "ß"} <= set(pieces)
    assert run([*arguments, room / "learned"]) == 0
    assert "60 pieces" in capsys.readouterr().out
    assert run(["tokenize", room / "learned", "the cat"]) == 0
    assert capsys.readouterr().out.startswith("[CLS] the c")


def test_the_built_in_corpus(tmp_path, capsys, monkeypatch):
    from minibert.data.builtin.corpus import Corpus

    def small(folder, progress):
        folder.mkdir()
        return Corpus([["one paragraph"]], []), {"train": [("a", "text"), ("b", "text")]}

    monkeypatch.setattr("minibert.data.builtin.corpus.write_builtin", small)
    assert run(["corpus", "--out", tmp_path / "new"]) == 0
    printed = capsys.readouterr().out
    assert "1 documents" in printed
    assert "2 texts, 2 classes" in printed


def test_bad_input_gives_one_line_and_leaves_nothing(room, tmp_path, capsys):
    none, out = tmp_path / "none.txt", tmp_path / "out"
    empty, binary, latin = (tmp_path / name for name in ("empty", "binary", "latin"))
    empty.write_bytes(b"")
    binary.write_bytes(b"ab\0cd")
    latin.write_bytes("good\ncaf\xe9\n".encode("latin-1"))
    learn = ["train-tokenizer", "--out", out]
    refused(capsys, [*learn, none], none, "no such file")
    refused(capsys, [*learn, empty], empty, "the file is empty")
    refused(capsys, [*learn, binary], binary, "line 1", "NUL")
    refused(capsys, [*learn, latin], latin, "line 2", "0xe9 is not UTF-8")
    refused(capsys, [*learn, room / "corpus.txt", "--vocab-size", 9000], "vocab_size", "9000")
    refused(capsys, [*learn[:-1], room / "model", room / "corpus.txt"], "model: exists already")
    refused(capsys, [*learn[:-1], empty / "below", room / "corpus.txt"], "is not a folder")
    refused(capsys, ["fill-mask", room / "model", "no mask"], "expected a [MASK]", "'no mask'")
    refused(capsys, ["fill-mask", room / "model", "[MASK] " * 40], "at most 16 tokens")
    refused(capsys, ["fill-mask", tmp_path, "[MASK]"], "vocab.txt")
    refused(capsys, ["evaluate", room / "classifier", none], none, "expected a name that ends in")
    refused(capsys, ["predict", tmp_path / "nothing", "x"], "nothing")
    refused(capsys, ["predict", room / "model", "x"], "labels texts or words, got BertForMaskedLM")
    refused(capsys, ["fill-mask", room / "classifier", "[MASK]"], "lacks 5 arrays of BertForMasked")
    refused(capsys, pretrain(room, "model"), "exists already")
    refused(capsys, pretrain(room, "never", "--resume"), "no checkpoint to resume from")
    refused(capsys, pretrain(room, "x", "--learning-rate", 0), "learning_rate: expected more than")
    refused(capsys, pretrain(room, "x", "--dropout", 1), "hidden_dropout_prob")
    refused(capsys, pretrain(room, "x", "--learning-rate", "inf"), "learning_rate: expected more")
    refused(capsys, pretrain(room, "x", "--length", 2), "length: expected at least 3")
    refused(capsys, pretrain(room, "x", "--held-out", none), f"minibert: {none}: no such file")
    refused(capsys, pretrain(room, "x", "--held-out", tmp_path), f"{tmp_path}: expected a text")
    unknown = tmp_path / "unknown.txt"
    unknown.write_text("\u4f60\u597d \u4f60\n" * 9, "utf-8")
    refused(capsys, pretrain(room, "x", "--held-out", unknown), "no text held out")
    tune = finetune(room, "x", "--model", room / "model")
    refused(capsys, [*tune, "--batch-size", 0], "batch_size: expected at least 1")
    refused(capsys, [*tune, "--epochs", 0], "epochs: expected at least 1")
    refused(capsys, [*tune, "--length", 64], "--length: leave it out")
    refused(capsys, [*tune, "--seed", -1], "seed: expected at least 0, got -1")
    refused(capsys, [*tune, "--split-seed", -1], "split_seed: expected at least 0, got -1")
    weighed = [*tune, "--task", "multi-label", "--class-weight", "balanced"]
    refused(capsys, weighed, "class_weight: expected labels that are one class a text")
    refused(capsys, ["demo", "--out", tmp_path / "x", "--steps", 0], "steps: expected at least 1")
    refused(capsys, ["fill-mask", room / "model", "a [MASK]", "--top", 0], "top: expected")
    both = ["predict", room / "classifier", "a", "--file", room / "labelled.tsv"]
    refused(capsys, both, "texts or --file")
    assert not out.exists()
    assert not (room / "x").exists()


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("label\ttext\ncats\tone\n\tno label\n", ["line 3"]),
        ("label\ttext\ncats\tone\ndogs\n", ["line 3"]),
        ("kind\ttext\tother\ncats\tone\tx\n", ["which column is the label", "kind"]),
        ("label\ttext\ncats\tone\ncats\ttwo\n", ["two classes or more", "'cats'"]),
    ],
)
def test_bad_tables_are_refused_by_line(room, tmp_path, capsys, content, parts):
    path = tmp_path / "rows.tsv"
    path.write_text(content, "utf-8")
    arguments = ["finetune", path, "--model", room / "model", "--out", tmp_path / "out"]
    refused(capsys, arguments, path, *parts)
    assert not (tmp_path / "out").exists()


def test_an_unknown_label_is_refused_by_line(room, tmp_path, capsys):
    path = tmp_path / "rows.tsv"
    path.write_text("label\ttext\ncats\tone\ncows\ttwo\n", "utf-8")
    refused(capsys, ["evaluate", room / "classifier", path], path, "line 3", "'cows'", "cats, dogs")


def test_cut_texts_are_counted(room, tmp_path, capsys):
    path = tmp_path / "rows.tsv"
    path.write_text("label\ttext\ncats\tcat\ndogs\t" + "the dog " * 30 + "\n", "utf-8")
    assert run(["evaluate", room / "classifier", path]) == 0
    assert "1 of 2 texts are longer than 16 tokens" in capsys.readouterr().out


def test_embed_writes_the_same_vectors_in_three_forms(room, tmp_path, capsys, monkeypatch):
    (tmp_path / "lines.txt").write_text("\n".join([*TEXTS, "", 'say "so", twice']) + "\n", "utf-8")
    texts = [*TEXTS, "", 'say "so", twice']
    model, lines = room / "model", tmp_path / "lines.txt"
    expected = FeatureExtractor.from_pretrained(model, layers=-2)(texts)
    for form in ("npy", "jsonl", "csv"):
        out = tmp_path / f"vectors.{form}"
        assert run(["embed", model, "--file", lines, "--layers", -2, "--out", out]) == 0
        assert "5 vectors of 128 numbers" in capsys.readouterr().out
    assert (np.load(tmp_path / "vectors.npy") == expected).all()
    rows = [
        json.loads(line) for line in (tmp_path / "vectors.jsonl").read_text("utf-8").splitlines()
    ]
    assert [row["text"] for row in rows] == texts
    assert (np.array([row["vector"] for row in rows], np.float32) == expected).all()
    with (tmp_path / "vectors.csv").open(encoding="utf-8", newline="") as file:
        head, *cells = csv.reader(file)
    assert head == ["text", *map(str, range(128))]
    assert [row[0] for row in cells] == texts
    assert (np.array([row[1:] for row in cells]).astype(np.float32) == expected).all()
    monkeypatch.setattr("sys.stdin", io.StringIO(lines.read_text("utf-8")))
    assert run(["embed", model, "--layers", -2]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows
    assert run(["embed", model, *TEXTS, "--layers", -2]) == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == TEXTS


def test_embed_takes_every_option(room, capsys):
    for options, width in (
        (["--pooling", "cls", "--layers", -1, 0], 256),
        (["--pooling", "max", "--layers", 1, 2, "--combine", "sum", "--normalize"], 128),
        (["--max-length", 4], 128),
    ):
        assert run(["embed", room / "model", "the cat sat on the mat", *options]) == 0
        vector = json.loads(capsys.readouterr().out)["vector"]
        assert len(vector) == width
    assert run(["embed", room / "model", "the cat", "--max-length", 4]) == 0
    assert json.loads(capsys.readouterr().out)["vector"] == vector  # four tokens were read


def test_similar_finds_the_line_itself_first(room, tmp_path, capsys):
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS) + "\n", "utf-8")
    for text in TEXTS:
        assert run(["similar", room / "model", text, tmp_path / "lines.txt", "--top", 2]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first == f"1.000\t{text}"
        assert second.split("\t")[1] in set(TEXTS) - {text}


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["x", "--out", "a.txt"], "a.txt: expected a name that ends in .npy, .jsonl or .csv"),
        (["x", "--file", "y"], "expected texts or --file, got both"),
        (["x", "--pooling", "pooler"], "lacks 2 arrays of BertModel"),
        (["x", "--layers", 3], "layers: expected some of -3 to 2, got [3]"),
        (["--file", "nowhere.txt"], "nowhere.txt: no such file"),
    ],
)
def test_embed_refuses_in_one_line(room, capsys, more, part):
    refused(capsys, ["embed", room / "model", *more], part)


def test_a_failed_embed_leaves_the_old_file(room, tmp_path, capsys):
    out = tmp_path / "vectors.jsonl"
    out.write_text("old")
    lines = tmp_path / "lines.txt"
    lines.write_bytes(b"fine\nnot \xff text\n")
    refused(capsys, ["embed", room / "model", "--file", lines, "--out", out], lines, "line 2")
    assert out.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    refused(capsys, ["similar", room / "model", "x", lines, "--top", 0], "top: expected at least 1")


def lines_in(path, *lines):
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_numbers_are_learned_told_and_taken_for_classes(room, tmp_path, capsys):
    rows = [f"{n / 4}\tthe {'cat ' * n}sat" for n in range(8)] * 3
    path = lines_in(tmp_path / "rows.tsv", "score\tsentence", *rows)
    assert run(["finetune", path, "--model", room / "model", "--epochs", 1,
                "--out", tmp_path / "numbers"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "text from 'sentence', label from 'score'" in said
    assert "regression: 20 texts to train on, 4 to measure on" in said
    assert "always the median: mean error" in said
    assert run(["predict", tmp_path / "numbers", "the cat", "--as", "jsonl"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out)["label"], float)
    assert run(["evaluate", tmp_path / "numbers", path]) == 0
    capsys.readouterr()
    # A model of numbers may become a classifier.
    assert run(finetune(room, tmp_path / "new", "--model", tmp_path / "numbers")) == 0
    assert run(["predict", tmp_path / "new", "the cat"]) == 0
    nan = lines_in(tmp_path / "nan.tsv", "text\tlabel", "a\t1.5", "b\tnan")
    refused(capsys, ["evaluate", tmp_path / "numbers", nan], "nan.tsv, line 3", "finite number")
    huge = lines_in(tmp_path / "huge.tsv", "text\tlabel", "a\t1.5", "b\t-1e300")
    again = ["finetune", huge, "--dev", huge, "--out", tmp_path / "huge"]
    refused(capsys, again, "huge.tsv, line 3", "at most 3.4e+38")


def test_several_labels_a_text(room, tmp_path, capsys):
    rows = [{"text": f"the {x} and the {y}", "labels": [x, y]} for x in ("cat", "dog")
            for y in ("mat", "tree")]  # fmt: skip
    rows += [{"text": "it ran", "labels": []}] * 4
    path = lines_in(tmp_path / "rows.jsonl", *map(json.dumps, rows * 3))
    out = tmp_path / "out"
    assert run(["finetune", path, "--model", room / "model", "--epochs", 1, "--out", out]) == 0
    assert "multi-label: 20 texts to train on" in capsys.readouterr().out
    assert run(["predict", out, "the cat", "--as", "jsonl"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["probabilities"].keys() == {"cat", "dog", "mat", "tree"}
    assert set(row["label"]) == {k for k, v in row["probabilities"].items() if v > 0.5}
    assert run(["predict", out, "the cat"]) == 0
    _, shares, text = capsys.readouterr().out.rstrip("\n").split("\t")
    assert len(shares.split()) == 4
    assert text == "the cat"
    commas = lines_in(tmp_path / "rows.tsv", "text\tlabel", "a\tcat, mat", "b\tdog")
    assert run(["evaluate", out, commas]) == 0
    refused(capsys, ["finetune", path, "--task", "classification", "--out", tmp_path / "x"],
            "rows.jsonl, line 1: expected one label, got 2")  # fmt: skip


def test_words_are_tagged(room, tmp_path, capsys):
    text = ["the O", "cat B-PET", "sat O", ""] * 6 + ["a O", "dog B-PET", "ran O", "", ""] * 6
    path = lines_in(tmp_path / "rows.conll", *text)
    out = tmp_path / "out"
    assert run(["finetune", path, "--tokenizer", room / "tokenizer", "--epochs", 30,
                "--learning-rate", 3e-3, "--out", out]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "tagging: 10 texts to train on, 2 to measure on" in said
    assert "F1 100.0%" in said
    assert "each word's commonest tag: F1 100.0%" in said
    assert run(["predict", out, "the dog, a cat"]) == 0
    words = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [word[0] for word in words] == ["the", "dog", ",", "a", "cat", ""]
    assert words[1] == ["dog", "B-PET"]
    assert run(["predict", out, "--file", path, "--as", "jsonl"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert row["entities"] == [{"label": "PET", "text": "cat", "start": 1, "end": 2}]
    assert run(["evaluate", out, path]) == 0
    refused(capsys, ["evaluate", out, room / "labelled.tsv"], "this model is for words")
    refused(capsys, ["evaluate", room / "classifier", path], "this model is for texts")
    refused(capsys, ["predict", room / "classifier", "--file", path], "doesn't tag words")
    refused(capsys, ["finetune", path, "--task", "regression", "--out", tmp_path / "x"], "tagged")
    broken = lines_in(tmp_path / "broken.conll", "the O", "cat")
    refused(capsys, ["evaluate", out, broken], "broken.conll, line 2")


def test_pairs_of_texts_are_found_by_their_columns(room, tmp_path, capsys):
    rows = [{"sentence1": f"the {a} sat", "sentence2": f"a {b} ran", "label": str(a == b)}
            for a in ("cat", "dog") for b in ("cat", "dog")] * 4  # fmt: skip
    path = lines_in(tmp_path / "rows.jsonl", *map(json.dumps, rows))
    out = tmp_path / "out"
    assert run(["finetune", path, "--model", room / "model", "--epochs", 1, "--out", out]) == 0
    assert "second text from 'sentence2'" in capsys.readouterr().out
    assert run(["predict", out, "--file", path, "--as", "jsonl"]) == 0
    shares = [json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines()]
    assert shares[0] != shares[1]  # they differ in the second text alone
    assert shares[0] == pytest.approx(shares[4])


def test_a_text_of_ten_thousand_words_is_cut_and_said_so_or_tagged_whole(room, tmp_path, capsys):
    path = lines_in(tmp_path / "long.tsv", "text", "the cat " * 5000, "a dog")
    assert run(["predict", room / "classifier", "--file", path]) == 0
    out, said = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "1 of 2 texts are longer than 16 tokens and are cut" in said
    words = lines_in(tmp_path / "long.conll", *["the O", "cat B-PET"] * 5000, "", "a O")
    tagger = tmp_path / "tagger"
    start = ["--tokenizer", room / "tokenizer", "--length", 16, "--epochs", 1]
    assert run(["finetune", words, "--dev", words, *start, "--out", tagger]) == 0
    capsys.readouterr()
    assert run(["predict", tagger, "--file", words]) == 0
    assert len(capsys.readouterr().out.split("\n\n")[0].splitlines()) == 10_000


def test_several_seeds_are_averaged_and_the_best_is_kept(room, tmp_path, capsys):
    out = tmp_path / "out"
    more = ["--model", room / "model", "--seeds", 3]
    assert run(finetune(room, out, *more)) == 0
    said = capsys.readouterr().out
    assert "3 seeds:" in said
    assert "± " in said
    kept = re.search(r"has the model of seed (\d)", said)[1]
    folders = (out, out / f"seed-{kept}")
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    # One of them gets lost, and is made again by --resume; the others are taken as they are.
    shutil.rmtree(out / "seed-2")
    assert run(finetune(room, out, *more, "--resume")) == 0
    assert "3 seeds:" in capsys.readouterr().out
    assert (out / "model.safetensors").read_bytes() == weights[0]
    refused(capsys, finetune(room, "x", "--model", room / "model", "--seeds", 0), "seeds: expected")


def test_a_dev_split_has_every_class_and_its_faults_are_named(room, tmp_path, capsys):
    counts = (("many", "cat", 20), ("few", "dog", 3), ("one", "tree", 1))
    rows = [f"{label}\tthe {word} sat {i}" for label, word, n in counts for i in range(n)]
    path = lines_in(tmp_path / "rows.tsv", "label\ttext", *rows)
    start = ["finetune", path, "--model", room / "model", "--epochs", 1]
    assert run([*start, "--out", tmp_path / "out"]) == 0
    said = capsys.readouterr().out
    assert "20 texts to train on, 4 to measure on" in said
    assert "classes: many 17, few 2, one 1" in said
    assert "'many' is 17 times as common as 'one'" in said
    assert "class 'one' has one text to train on" in said
    assert run([*start, "--class-weight", "balanced", "--out", tmp_path / "even"]) == 0
    assert "times as common" not in capsys.readouterr().out
    dev = lines_in(tmp_path / "dev.tsv", "label\ttext", "none\tthe cat")
    refused(capsys, [*start, "--dev", dev, "--out", tmp_path / "x"], "dev.tsv, line 2",
            "unknown label 'none', expected one of few, many, one")  # fmt: skip
    bare = lines_in(tmp_path / "bare.tsv", "label\ttext", "\tthe cat")
    refused(capsys, [*start, "--dev", bare, "--out", tmp_path / "x"], "bare.tsv, line 2", "empty")
    refused(capsys, [*start, "--dev-share", 1.5, "--out", tmp_path / "x"], "dev_share: expected")
    refused(capsys, [*start, "--text", "body", "--out", tmp_path / "x"], "no column 'body'")
    refused(capsys, [*start, "--freeze", 9, "--out", tmp_path / "x"], "freeze: expected 0 to 2")


def test_inspecting_prints_and_writes_a_page(room, tmp_path, capsys):
    page = tmp_path / "look.html"
    assert run(["inspect", room / "classifier", "the cat sat", "--html", page]) == 0
    said = capsys.readouterr().out
    assert "the gradient's way home, from the score of " in said
    assert "the cat sat" in page.read_text("utf-8")
    assert (
        run(["inspect", room / "classifier", "the cat", "--pair", "a dog", "--label", "dogs"]) == 0
    )
    assert "the score of 'dogs'" in capsys.readouterr().out
    assert run(["inspect", room / "model", "the [MASK] sat"]) == 0
    said = capsys.readouterr().out
    assert "token 2: " in said
    assert "way home" not in said
    assert run(["inspect", room / "model", "the cat sat", "--html", page]) == 0  # nothing to guess
    refused(capsys, ["inspect", room / "model", "the cat", "--backward"], "expected a [MASK]")
    refused(capsys, ["inspect", room / "tokenizer", "x"], "config.json: no such file")
    page.write_text("old")
    refused(capsys, ["inspect", room / "classifier", "x", "--label", "z", "--html", page], "cats")
    assert page.read_text() == "old"


def test_a_surprise_is_one_line_and_debug_shows_it(room, capsys, monkeypatch):
    def surprise(options):
        raise KeyError("what")

    monkeypatch.setattr("minibert.cli.commands.tokenize", surprise)
    refused(capsys, ["tokenize", room / "tokenizer", "x"], "KeyError", "--debug", status=1)
    with pytest.raises(KeyError):
        run(["tokenize", room / "tokenizer", "x", "--debug"])


def test_a_missing_extra_is_named_and_a_missing_module_is_a_surprise(room, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    needs = "minibert: drawing needs matplotlib: the extra minibert[plot]\n"
    assert run(["plot", room / "model"]) == 1
    assert capsys.readouterr().err == needs
    monkeypatch.setattr("minibert.cli.commands.plot", lambda _: __import__("minibert.nothing"))
    refused(capsys, ["plot", room / "model"], "ModuleNotFoundError", "--debug", status=1)


def test_every_command_has_a_page_with_an_example(capsys):
    commands = next(a for a in parser()._actions if a.choices).choices
    known = """corpus train-tokenizer pretrain finetune evaluate predict demo fill-mask embed
        similar tokenize gradcheck inspect plot"""
    assert set(known.split()) == set(commands)
    for name in commands:
        with pytest.raises(SystemExit) as leave:
            main([name, "--help"])
        assert leave.value.code == 0
        page = capsys.readouterr().out
        assert f"example:\n  minibert {name}" in page
    with pytest.raises(SystemExit) as leave:
        main(["no-such-command"])
    assert leave.value.code == 2


def test_the_module_runs_and_import_is_light():
    code = (
        "import sys, minibert\n"
        "heavy = {'tqdm', 'torch', 'transformers', 'hypothesis', 'argparse', 'regex'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"
    done = subprocess.run([sys.executable, "-m", "minibert", "tokenize", "no-such-folder", "x"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("minibert: no-such-folder")
