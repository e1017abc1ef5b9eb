"""Runs killed at fifty moments: always to be resumed, never a torn file, and the same bits."""

import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from safetensors.numpy import load_file

from minibert import BertForMaskedLM, WordPieceTokenizer
from minibert.data.tokens import tokenize_corpus
from minibert.training import AdamW
from minibert.training.checkpoint import checkpoints, read_state, restore_optimizer
from minibert.training.history import read_history
from tests.faults.test_faults import SENTENCES

KILLS, STEPS = 50, 400
POLL = 0.002  # seconds


@pytest.fixture
def pretrain(tmp_path, tokenizer):
    """Return a function that starts `minibert pretrain` in a process of its own."""
    documents = [f"{text} {i}" for i in range(60) for text in SENTENCES]
    (tmp_path / "corpus.txt").write_text("\n\n".join(documents) + "\n", "utf-8")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def start(out, *more):
        arguments = ["pretrain", tmp_path / "corpus.txt", "--tokenizer", tmp_path / "tokenizer",
                     "--length", 12, "--steps", STEPS, "--batch-size", 4, "--save-every", 3,
                     "--threads", 1, "--out", tmp_path / out, *more]  # fmt: skip
        with (tmp_path / f"{out}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "minibert", *map(str, arguments)],
                stdout=log, stderr=log, env=environment,
            )  # fmt: skip

    return start


def wait_for_progress(process, run, before):
    """Wait until there is another checkpoint than before, or the process has ended."""
    while process.poll() is None and checkpoints(run)[-1:] == before:
        time.sleep(POLL)


def check_whole(run):
    """Load all that the checkpoints of a run have."""
    for folder in checkpoints(run):
        model = BertForMaskedLM.from_pretrained(folder, strict=True)
        optimizer = AdamW(model.params)
        restore_optimizer(folder, optimizer)
        assert folder.name == f"checkpoint-{read_state(folder)['step']}"
        WordPieceTokenizer.from_pretrained(folder)
    if (run / "history.jsonl").exists():
        read_history(run)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_runs_killed_at_fifty_moments_end_at_the_bits_of_one_unbroken(
    pretrain, tmp_path, tokenizer
):
    """The moments: some while after a new checkpoint, or some while after the start."""
    assert pretrain("whole").wait() == 0
    rng = random.Random(0)
    kills, runs = 0, [tmp_path / "killed-0"]
    while kills < KILLS:
        run = runs[-1]
        before = checkpoints(run)[-1:]
        process = pretrain(run.name, *(["--resume"] if before else []))
        if rng.random() < 0.9:
            wait_for_progress(process, run, before)
            time.sleep(0.05 * rng.random())
        else:  # while it imports, or reads the corpus or the checkpoint
            time.sleep(rng.random())
        process.kill()
        status = process.wait()
        assert status in (-9, 0), (tmp_path / f"{run.name}.log").read_text("utf-8")
        check_whole(run)
        litter = [path for path in run.glob(".*.tmp") if path.is_dir()]
        assert len(litter) <= 1, litter  # of the last one killed; who comes next clears it away
        if status == 0:  # it was faster, and the next kills are for another one
            runs.append(tmp_path / f"killed-{len(runs)}")
            continue
        kills += 1
        if not checkpoints(run):  # killed before the first: begun anew
            shutil.rmtree(run, ignore_errors=True)
    more = ["--resume"] if checkpoints(runs[-1]) else []
    assert pretrain(runs[-1].name, *more).wait() == 0
    for run in runs:
        check_same(run, tmp_path / "whole")
    (kept,) = (tmp_path / "cache" / "minibert").glob("tokens-*")
    tokenize_corpus([tmp_path / "corpus.txt"], tokenizer, held_out=0.05, folder=tmp_path / "anew")
    (anew,) = (tmp_path / "anew").iterdir()
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
        path.name: path.read_bytes() for path in anew.iterdir()
    }


def check_same(run, whole):
    """Compare a run that was killed with one that wasn't, bit for bit but for the clock's."""
    check_whole(run)
    assert not list(run.glob(".*"))
    assert [path.name for path in checkpoints(run)] == [path.name for path in checkpoints(whole)]
    last = f"checkpoint-{STEPS}"
    for name in "model.safetensors", f"{last}/model.safetensors":
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    first, second = (load_file(each / last / "optimizer.safetensors") for each in (run, whole))
    assert all((first[name] == second[name]).all() for name in ("first", "second"))
    lines = [
        [line | {"tokens_per_second": 0} for line in read_history(each)] for each in (run, whole)
    ]
    assert lines[0] == lines[1]
