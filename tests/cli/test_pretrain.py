"""`minibert pretrain`: results, interrupted and resumed runs, bad input."""

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from minibert import BertForMaskedLM, BertForPreTraining
from minibert.data.token_cache import files_checksum
from minibert.tokenization import WordPieceTokenizer
from minibert.training.checkpoint import read_state
from minibert.training.defaults import default_shards
from minibert.training.history import read_history
from minibert.training.recipes import PreTraining
from tests.cli.helpers import assert_refused, pretrain_arguments, run, write_lines


def test_pretrain_prints_the_unigram_baseline_and_saves_a_model(workspace, capsys):
    assert (
        run(pretrain_arguments(workspace, "another", "--held-out", workspace / "corpus.txt")) == 0
    )
    printed = capsys.readouterr().out
    assert "tokens to train on" in printed
    assert "held out:" in printed
    assert "unigram baseline:" in printed
    assert (
        BertForMaskedLM.from_pretrained(workspace / "another").config.max_position_embeddings == 16
    )
    assert not list(workspace.glob(".*tmp"))


def test_pretrain_writes_a_history_of_steps_and_evaluations(workspace):
    lines = read_history(workspace / "model")
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 13))
    assert all(line["tokens_per_second"] > 0 and line["norm"] > 0 for line in steps)
    assert lines[-1].keys() == {"step", "held_out_loss", "held_out_accuracy", "yardstick_loss"}


def test_pretrain_resumed_after_ctrl_c_gives_the_weights_of_an_unbroken_run(
    workspace, capsys, monkeypatch
):
    from minibert.training import loop

    original = loop.Engine.step

    def interrupt_step(self, shards, rate):
        result = original(self, shards, rate)
        if self.optimizer.step == 5:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)
        return result

    monkeypatch.setattr(loop.Engine, "step", interrupt_step)
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "broken"),
        "stopped after step 5 of 12",
        "checkpoint-5",
        "--resume",
        status=130,
    )
    monkeypatch.setattr(loop.Engine, "step", original)
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "broken", "--resume", "--learning-rate", 0.5),
        "learning_rate: the run",
        "has 0.004, got 0.5",
    )
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "broken", "--resume", "--recipe", "1"),
        "recipe: the run has 2, got 1",
    )
    (workspace / "other.txt").write_text("a dog\n\n" * 40 + (workspace / "corpus.txt").read_text())
    other = [
        workspace / "other.txt" if a == workspace / "corpus.txt" else a
        for a in pretrain_arguments(workspace, "broken")
    ]
    assert_refused(capsys, [*other, "--resume"], "data: the run")
    cased = WordPieceTokenizer.from_pretrained(workspace / "tokenizer")
    WordPieceTokenizer(list(cased.vocab), do_lower_case=False).save_pretrained(workspace / "cased")
    other = [
        workspace / "cased" if a == workspace / "tokenizer" else a
        for a in pretrain_arguments(workspace, "broken")
    ]
    assert_refused(capsys, [*other, "--resume"], "tokenizer: the run")
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "broken", "--resume", "--size", "mini"),
        "hidden_size: the run",
    )
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "broken", "--resume", "--dropout", 0.3),
        "dropout_prob: the run",
    )
    (workspace / "broken" / "checkpoint-old").mkdir()
    # The run continues with its own number of shards, whatever another version's default is.
    saved = read_state(workspace / "broken" / "checkpoint-5")["settings"]
    assert saved["shards"] == default_shards(4, 16) == 2
    monkeypatch.setattr("minibert.training.recipes.default_shards", lambda *_: 3)
    assert run(pretrain_arguments(workspace, "broken", "--resume", "--save-every", 7)) == 0
    assert "going on after step 5" in capsys.readouterr().out
    whole = BertForMaskedLM.from_pretrained(workspace / "model")
    resumed = BertForMaskedLM.from_pretrained(workspace / "broken")
    assert (whole.params.vector == resumed.params.vector).all()


def test_pretrain_resumes_a_run_of_version_1_with_its_own_texts_only(workspace, tmp_path, capsys):
    """Version 1 computed the key of the texts, and so the name of the tokens, in another way."""
    out = tmp_path / "run"
    shutil.copytree(
        workspace / "model", out, ignore=shutil.ignore_patterns("model*", "checkpoint-12")
    )
    shutil.copytree(workspace / "model" / "checkpoint-12", out / "checkpoint-12")
    tokenizer = WordPieceTokenizer.from_pretrained(workspace / "tokenizer")
    digest = hashlib.blake2b(repr((2, 1, 0.05, files_checksum(tokenizer))).encode(), digest_size=8)
    digest.update((workspace / "corpus.txt").read_bytes() + b"end of file")
    path = out / "checkpoint-12" / "trainer_state.json"
    state = json.loads(path.read_text())
    assert state["settings"]["data"].startswith("3-")
    state["settings"]["data"] = digest.hexdigest()
    path.write_text(json.dumps(state))
    (tmp_path / "other.txt").write_text("a dog\n\n" * 40 + (workspace / "corpus.txt").read_text())
    other = [
        tmp_path / "other.txt" if a == workspace / "corpus.txt" else a
        for a in pretrain_arguments(workspace, out)
    ]
    assert_refused(
        capsys, [*other, "--resume"], f"data: the run in {out} has {digest.hexdigest()}, got 3"
    )
    assert run(pretrain_arguments(workspace, out, "--resume")) == 0
    assert "going on after step 12" in capsys.readouterr().out
    resumed, whole = (BertForMaskedLM.from_pretrained(name) for name in (out, workspace / "model"))
    assert (resumed.params.vector == whole.params.vector).all()


def test_pretrain_exits_with_status_1_when_the_loss_is_nan(workspace, capsys, monkeypatch):
    from minibert.training import loop

    original = loop.Engine.step

    def set_nan(self, shards, rate):
        if self.optimizer.step == 7:
            self.model.params.vector[:] = np.nan
        return original(self, shards, rate)

    monkeypatch.setattr(loop.Engine, "step", set_nan)
    arguments = pretrain_arguments(workspace, "nan", "--save-every", 3)
    assert_refused(capsys, arguments, "step 8: the loss is nan", status=1)
    kept = sorted(path.name for path in (workspace / "nan").iterdir())
    assert kept == ["checkpoint-3", "checkpoint-6", "history.jsonl"]
    good = BertForMaskedLM.from_pretrained(workspace / "nan" / "checkpoint-6")
    assert np.isfinite(good.params.vector).all()


def test_pretrain_fails_when_weights_overflow_in_the_last_step(workspace, capsys):
    arguments = pretrain_arguments(
        workspace, "overflow", "--learning-rate", 1e30, "--warmup", 0, "--save-every", 1
    )
    assert_refused(capsys, arguments, "step ", status=1)
    assert not (workspace / "overflow" / "model.safetensors").exists()
    for checkpoint in workspace.glob("overflow/checkpoint-*"):
        assert_refused(
            capsys, pretrain_arguments(workspace, "overflow", "--resume"), "learning_rate: the run"
        )
        assert np.isfinite(BertForMaskedLM.from_pretrained(checkpoint).params.vector).all()


def test_pretrain_resumes_after_ctrl_c_in_the_final_evaluation(workspace, capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("minibert.objectives.masked_lm.masked_lm_metrics", interrupt)
        assert_refused(capsys, pretrain_arguments(workspace, "late"), "stopped", status=130)
    kept = sorted(path.name for path in (workspace / "late").iterdir())
    assert kept == ["checkpoint-12", "history.jsonl"]
    assert run(pretrain_arguments(workspace, "late", "--resume")) == 0
    late, whole = (BertForMaskedLM.from_pretrained(workspace / name) for name in ("late", "model"))
    assert (late.params.vector == whole.params.vector).all()


@pytest.mark.parametrize(
    ("name", "content"),
    [("trainer_state.json", b"{"), ("trainer_state.json", b"{}"), ("optimizer.safetensors", b"x")],
)
def test_pretrain_resume_names_the_broken_file_of_a_checkpoint(
    workspace, tmp_path, capsys, name, content
):
    shutil.copytree(workspace / "model" / "checkpoint-12", tmp_path / "run" / "checkpoint-3")
    (tmp_path / "run" / "checkpoint-3" / name).write_bytes(content)
    assert_refused(
        capsys, pretrain_arguments(workspace, tmp_path / "run", "--resume"), tmp_path / "run", name
    )


KILLED = """
import os, signal, sys
from minibert.cli import main
from minibert.{room} import {module}
original = {module}.{name}
calls = []
def killing(*arguments, **options):
    calls.append(arguments)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)
{module}.{name} = killing
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name", "call", "kept"),
    [("masked_lm", "split_batch", 8, 6), ("checkpoint", "write_tensors", 3, 6)],
)
def test_pretrain_resumed_after_sigkill_gives_the_weights_of_an_unbroken_run(
    workspace, module, name, call, kept
):
    room_of = "objectives" if name == "split_batch" else "training"
    code = KILLED.format(room=room_of, module=module, name=name, call=call)
    more = ["--save-every", 3, "--keep", 3, "--keep-checkpoints"]
    arguments = pretrain_arguments(workspace, f"killed-{call}", *more)
    killed = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False)
    assert killed.returncode == -9
    checkpoints = sorted((workspace / f"killed-{call}").glob("checkpoint-*"))
    assert [path.name for path in checkpoints] == [f"checkpoint-{n}" for n in range(3, kept + 1, 3)]
    assert run([*arguments, "--resume"]) == 0
    found, whole = (
        BertForMaskedLM.from_pretrained(workspace / name) for name in (f"killed-{call}", "model")
    )
    assert (found.params.vector == whole.params.vector).all()
    steps = [line["step"] for line in read_history(workspace / f"killed-{call}") if "loss" in line]
    assert steps == list(range(1, 13))
    assert len(list((workspace / f"killed-{call}").glob("checkpoint-*"))) == 3


@pytest.mark.slow
def test_pretrain_weights_are_bitwise_equal_for_threads_and_gradient_checkpointing(
    workspace, capsys
):
    whole = BertForMaskedLM.from_pretrained(workspace / "model").params.vector
    for name, options in (("one", ["--threads", 1]), ("again", ["--gradient-checkpointing"])):
        assert run(pretrain_arguments(workspace, name, "--threads", 3, *options)) == 0
        vector = BertForMaskedLM.from_pretrained(workspace / name).params.vector
        assert (vector == whole).all()
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "x", "--threads", 0),
        "threads: expected at least 1, got 0",
    )
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "x", "--shards", 5),
        "shards: expected at most the 4 sequences",
    )
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "model", "--resume", "--shards", 1),
        "shards: the run",
        "has 2",
    )


@pytest.mark.slow
def test_pretrain_reads_gzip_patterns_and_standard_input(workspace, capsys, monkeypatch):
    text = (workspace / "corpus.txt").read_bytes()
    (workspace / "part-1.gz").write_bytes(gzip.compress(text[:2000]))
    (workspace / "part-2.gz").write_bytes(gzip.compress(text[2000:]))
    outs = []
    for name, source in (("globbed", workspace / "part-*.gz"), ("piped", "-")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        arguments = [
            source if a == workspace / "corpus.txt" else a
            for a in pretrain_arguments(workspace, name)
        ]
        assert run(arguments) == 0
        outs.append(BertForMaskedLM.from_pretrained(workspace / name).params.vector)
    assert (outs[1] == BertForMaskedLM.from_pretrained(workspace / "model").params.vector).all()
    missing = [
        workspace / "none*" if a == workspace / "corpus.txt" else a
        for a in pretrain_arguments(workspace, "x")
    ]
    assert_refused(capsys, missing, "no file fits this pattern")


def test_pretrain_trains_next_sentence_prediction(workspace, capsys):
    assert run(pretrain_arguments(workspace, "pairs", "--next-sentence")) == 0
    model = BertForPreTraining.from_pretrained(workspace / "pairs", strict=True)
    assert np.isfinite(model.params.vector).all()
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "pairs", "--resume"),
        "model: the run",
        "BertForPreTraining, got",
    )


def test_pretrain_continues_a_run_for_more_steps(workspace, capsys):
    short = pretrain_arguments(workspace, "longer", "--keep-checkpoints", "--steps", 4)
    assert run(short) == 0
    assert_refused(capsys, [*short, "--resume", "--steps", 3], "has taken 4; expected more, got 3")
    assert run([*short, "--resume", "--steps", 8]) == 0
    printed = capsys.readouterr().out
    assert "had 4 steps and has 8 now: after step 4 the learning rate follows" in printed
    rates = [line["rate"] for line in read_history(workspace / "longer") if "loss" in line]
    settings = read_state(workspace / "longer" / "checkpoint-8")["settings"]
    before, now = (PreTraining(**{**settings, "steps": steps}) for steps in (4, 8))
    assert rates == [*map(before.rate, range(4)), *map(now.rate, range(4, 8))]


@pytest.mark.parametrize(
    ("separator", "options", "message"),
    [
        ("\n", [], "each line is read as a text of its own; --documents blank-lines reads"),
        ("\n\n", ["--documents", "lines"], None),
        ("\n", ["--documents", "blank-lines"], "the last 5 % of the text are held out"),
        (" ", [], "the last 5 % of the text are held out"),
    ],
)
def test_pretrain_reads_one_text_per_line_and_a_single_text(
    workspace, tmp_path, capsys, separator, options, message
):
    words = (workspace / "corpus.txt").read_text("utf-8").splitlines()
    path = write_lines(tmp_path / "texts.txt", separator.join(filter(None, words)))
    arguments = [
        path if a == workspace / "corpus.txt" else a
        for a in pretrain_arguments(workspace, tmp_path / "out", *options)
    ]
    arguments[arguments.index("--steps") + 1] = 1
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "held out:" in printed
    assert [line for line in printed.splitlines() if str(path) in line] == [
        line for line in printed.splitlines() if message is not None and message in line
    ]
    assert message is None or message in printed


def test_pretrain_refuses_bad_input_and_creates_no_folder(workspace, tmp_path, capsys):
    none = tmp_path / "none.txt"
    assert_refused(capsys, pretrain_arguments(workspace, "model"), "exists already")
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "x", "--learning-rate", 0),
        "learning_rate: expected more than",
    )
    assert_refused(
        capsys, pretrain_arguments(workspace, "x", "--dropout", 1), "hidden_dropout_prob"
    )
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "x", "--learning-rate", "inf"),
        "learning_rate: expected more",
    )
    assert_refused(
        capsys, pretrain_arguments(workspace, "x", "--length", 2), "length: expected at least 3"
    )
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "x", "--held-out", none),
        f"minibert: {none}: no such file",
    )
    assert_refused(
        capsys,
        pretrain_arguments(workspace, "x", "--held-out", tmp_path),
        f"{tmp_path}: expected a text",
    )
    unknown = tmp_path / "unknown.txt"
    unknown.write_text("\u4f60\u597d \u4f60\n" * 9, "utf-8")
    assert_refused(
        capsys, pretrain_arguments(workspace, "x", "--held-out", unknown), "no text held out"
    )
    assert not (workspace / "x").exists()
