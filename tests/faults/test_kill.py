"""Killed runs can be resumed, leave no partial file, and give the same bits."""

import os
import random
import subprocess
import sys
import time

import pytest
from safetensors.numpy import load_file

from minibert import BertForMaskedLM, BertForSequenceClassification, WordPieceTokenizer
from minibert.data.tables import write_tsv
from minibert.data.token_cache import tokenize_corpus
from minibert.optim import AdamW, Muon
from minibert.training.checkpoint import checkpoints, read_state, restore_optimizer
from minibert.training.history import read_history
from tests.faults.test_faults import SENTENCES, WORDS

POLL = 0.002  # seconds


@pytest.fixture
def start(tmp_path, tokenizer):
    """Return a function that starts training in a new process."""
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    usual = ["--tokenizer", tmp_path / "tokenizer", "--length", 12, "--batch-size", 4,
             "--save-every", 3, "--threads", 1]  # fmt: skip

    def start(out, *arguments):
        with (tmp_path / f"{out}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "minibert", *map(str, [*arguments, *usual]),
                 "--out", tmp_path / out],
                stdout=log, stderr=log, env=environment,
            )  # fmt: skip

    return start


def folders_of(run):
    """Return the folders of a run's checkpoints: the run, or one folder per seed."""
    return sorted(run.glob("seed-*")) or [run]


def saved(run):
    """Return all checkpoints of a run, oldest first."""
    return [checkpoint for folder in folders_of(run) for checkpoint in checkpoints(folder)]


def wait_for_progress(process, run, before):
    """Wait until a new checkpoint exists or the process has ended."""
    while process.poll() is None and saved(run)[-1:] == before:
        time.sleep(POLL)


def check_whole(run, kind):
    """Load all files of a run, which raises an error for a partial one."""
    for checkpoint in saved(run):
        model = kind.from_pretrained(checkpoint, strict=True)
        state = read_state(checkpoint)
        made = {"AdamW": AdamW, "Muon": Muon}[state["optimizer"]](model.params)
        restore_optimizer(checkpoint, made)
        assert checkpoint.name == f"checkpoint-{state['step']}"
        WordPieceTokenizer.from_pretrained(checkpoint)
    for weights in {*run.glob("model.safetensors"), *run.glob("**/best-*/model.safetensors")}:
        kind.from_pretrained(weights.parent, strict=True)
    for folder in folders_of(run):
        if (folder / "history.jsonl").exists():
            read_history(folder)


def killed(start, folder, arguments, kind, kills):
    """Kill runs `kills` times, resume each to its end, and return their folders.

    The moments: some while after a new checkpoint, or some while after the start.
    """
    rng = random.Random(0)
    runs = [folder / "killed-0"]
    while kills:
        run = runs[-1]
        before = saved(run)[-1:]
        process = start(run.name, *arguments, "--resume")  # which starts it where nothing is saved
        if rng.random() < 0.9:
            wait_for_progress(process, run, before)
            time.sleep(0.05 * rng.random())
        else:  # while it imports, or reads the corpus or the checkpoint
            time.sleep(rng.random())
        process.kill()
        status = process.wait()
        assert status in (-9, 0), (folder / f"{run.name}.log").read_text("utf-8")
        check_whole(run, kind)
        litter = [path for path in run.rglob(".*.tmp") if path.is_dir()]
        assert len(litter) <= 1, litter  # of the last killed process; the next one removes it
        if status == 0:  # the run ended before the kill; continue with another run
            runs.append(folder / f"killed-{len(runs)}")
            continue
        kills -= 1
    assert start(runs[-1].name, *arguments, "--resume").wait() == 0
    return runs


def check_same(run, whole, kind):
    """Compare a killed run with an unbroken one bitwise, except for times."""
    check_whole(run, kind)
    assert not list(run.rglob(".*"))
    assert names_in(run) == names_in(whole)
    for path in whole.rglob("model.safetensors"):
        assert (run / path.relative_to(whole)).read_bytes() == path.read_bytes()
    for path in whole.rglob("optimizer.safetensors"):
        first, second = (load_file(each / path.relative_to(whole)) for each in (run, whole))
        assert first.keys() == second.keys()
        assert all((first[name] == second[name]).all() for name in first)
    for folder in {path.parent for path in whole.rglob("history.jsonl")}:
        lines = [
            [line | {"tokens_per_second": 0} for line in read_history(each)]
            for each in (run / folder.relative_to(whole), folder)
        ]
        assert lines[0] == lines[1]


def names_in(run):
    """Return the names of all files in a run's folder."""
    return {path.relative_to(run) for path in run.rglob("*")}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_pretraining_killed_fifty_times_equals_an_unbroken_run_bitwise(start, tmp_path, tokenizer):
    documents = [f"{text} {i}" for i in range(60) for text in SENTENCES]
    (tmp_path / "corpus.txt").write_text("\n\n".join(documents) + "\n", "utf-8")
    pretrain = ["pretrain", tmp_path / "corpus.txt", "--steps", 400, "--keep-checkpoints"]
    assert start("whole", *pretrain).wait() == 0
    for run in killed(start, tmp_path, pretrain, BertForMaskedLM, kills=50):
        check_same(run, tmp_path / "whole", BertForMaskedLM)
    (kept,) = (tmp_path / "cache" / "minibert").glob("tokens-*")
    tokenize_corpus([tmp_path / "corpus.txt"], tokenizer, held_out=0.05, folder=tmp_path / "again")
    (again,) = (tmp_path / "again").iterdir()
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
        path.name: path.read_bytes() for path in again.iterdir()
    }


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_finetuning_killed_twenty_times_equals_an_unbroken_run_bitwise(start, tmp_path):
    """Two seeds, evaluations between checkpoints, and random labels, which end a run early."""
    rng = random.Random(0)
    for name in "rows", "dev":
        rows = [[rng.choice("abc"), " ".join(rng.choices(WORDS, k=5))] for _ in range(40)]
        write_tsv(tmp_path / f"{name}.tsv", ["label", "text"], rows)
    finetune = ["finetune", tmp_path / "rows.tsv", "--dev", tmp_path / "dev.tsv", "--epochs", 4,
                "--evaluate-every", 2, "--patience", 10, "--seeds", 2,
                "--keep-checkpoints", "--shards", 4]  # fmt: skip
    kind = BertForSequenceClassification
    assert start("whole", *finetune).wait() == 0
    ends = [[int(checkpoint.name.split("-")[1]) for checkpoint in checkpoints(folder)]
            for folder in folders_of(tmp_path / "whole")]  # fmt: skip
    assert min(ends)[-1] < 40 == max(ends)[-1]  # one seed of the two ended early
    for run in killed(start, tmp_path, finetune, kind, kills=20):
        check_same(run, tmp_path / "whole", kind)
