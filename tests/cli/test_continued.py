"""`minibert pretrain --model`, and `--resume --steps MORE` of finished runs."""

import os
import shutil
import signal

import numpy as np
import pytest

from minibert import BertForMaskedLM, BertForPreTraining, ModernBertForMaskedLM, WordPieceTokenizer
from minibert.objectives import MaskedLM
from minibert.training import loop
from minibert.training.checkpoint import checkpoints, read_state
from minibert.training.history import read_history
from minibert.training.recipes import PreTraining
from tests.cli.helpers import assert_refused, pretrain_arguments, run, write_lines
from tests.training.test_card import entries


def continued_arguments(workspace, out, *more, model="model"):
    """Return the arguments of a short run that continues a model of the workspace (list)."""
    return ["pretrain", workspace / "corpus.txt", "--model", workspace / model, "--steps", 6,
            "--batch-size", 4, "--out", out, *more]  # fmt: skip


def weights(folder, kind=BertForMaskedLM):
    """Return the parameters of a model (P,)."""
    return kind.from_pretrained(folder, strict=True).params.vector


@pytest.fixture(scope="module")
def continued(workspace):
    """Return the folder of a finished run with whole words and new words (Path)."""
    words = write_lines(workspace / "words.txt", "zebra", "catdog")
    out = workspace / "continued"
    assert run(continued_arguments(workspace, out, "--new-words", words, "--whole-words")) == 0
    return out


def interrupted_after(step, monkeypatch):
    """Return a context in which Ctrl-C arrives after a step."""
    original = loop.Engine.step

    def interrupt(self, shards, rate):
        result = original(self, shards, rate)
        if self.optimizer.step == step:
            os.kill(os.getpid(), signal.SIGINT)
        return result

    context = monkeypatch.context()
    context.__enter__().setattr(loop.Engine, "step", interrupt)
    return context


def test_the_run_begins_with_the_weights_and_the_tokenizer_of_the_model(workspace, tmp_path):
    arguments = continued_arguments(workspace, tmp_path / "out", "--learning-rate", 1e-30)
    assert run(arguments) == 0
    np.testing.assert_allclose(weights(tmp_path / "out"), weights(workspace / "model"), atol=1e-12)
    tokenizers = [WordPieceTokenizer.from_pretrained(folder)
                  for folder in (tmp_path / "out", workspace / "model")]  # fmt: skip
    assert tokenizers[0].vocab == tokenizers[1].vocab
    lines = read_history(tmp_path / "out")
    assert lines[0].keys() == {"step", "held_out_loss", "held_out_accuracy", "yardstick_loss"}
    assert (lines[0]["step"], lines[-1]["step"]) == (0, 6)
    assert lines[0]["held_out_loss"] == pytest.approx(lines[-1]["held_out_loss"], rel=1e-6)


def test_a_model_of_many_positions_is_trained_on_shorter_sequences(
    workspace, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("minibert.training.continuing.MAX_LENGTH", 8)
    seen, original = set(), MaskedLM.loss_and_grads

    def spy(self, *arguments, **options):
        seen.add(self.rows.length)
        return original(self, *arguments, **options)

    monkeypatch.setattr(MaskedLM, "loss_and_grads", spy)
    arguments = continued_arguments(workspace, tmp_path / "out", "--keep-checkpoints")
    assert run(arguments) == 0
    assert run([*arguments, "--resume", "--steps", 8]) == 0
    line = f"length: 8 of the 16 tokens that the model in {workspace / 'model'} reads"
    assert line in capsys.readouterr().out.splitlines()
    assert seen == {8}
    saved = BertForMaskedLM.from_pretrained(tmp_path / "out", strict=True)
    assert saved.config.max_position_embeddings == 16


def test_the_loss_before_training_is_printed_and_in_the_card(workspace, tmp_path, capsys):
    assert run(continued_arguments(workspace, tmp_path / "out")) == 0
    printed = capsys.readouterr().out
    first = read_history(tmp_path / "out")[0]
    shown = f"loss {first['held_out_loss']:.3f}, accuracy {first['held_out_accuracy']:.1%}"
    assert f"before training: held-out {shown}" in printed.splitlines()
    assert f"before training:   {shown}" in printed.splitlines()
    found = entries((tmp_path / "out" / "README.md").read_text("utf-8"))
    start = read_state(tmp_path / "out")["settings"]["start"]
    assert start.startswith("model, weights ")
    assert found["start"] == start
    assert found[f"before training ({start})"] == shown
    assert (found["initialization"], found["whole words"]) == ("trained", "False")
    assert "extended from" not in found


def test_new_words_and_whole_words_are_part_of_the_run(workspace, continued):
    before, tokenizer = (
        WordPieceTokenizer.from_pretrained(workspace / name) for name in ("model", "continued")
    )
    assert tokenizer.tokenize("catdog zebras") == ["catdog", "zebra", "##s"]
    assert len(tokenizer) == len(before) + 2
    model = BertForMaskedLM.from_pretrained(continued, strict=True)
    assert model.config.vocab_size == len(tokenizer)
    settings = read_state(continued)["settings"]
    assert (settings["whole_words"], settings["initialization"]) == (True, "trained")


def test_whole_words_lead_to_other_batches(workspace, tmp_path):
    for name, more in (("pieces", []), ("words", ["--whole-words"])):
        assert run(continued_arguments(workspace, tmp_path / name, "--steps", 1, *more)) == 0
    assert (weights(tmp_path / "pieces") != weights(tmp_path / "words")).any()


def test_a_resumed_run_gives_the_weights_and_the_card_of_an_unbroken_one(
    workspace, continued, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "continued"
    more = ["--new-words", workspace / "words.txt", "--whole-words"]
    arguments = continued_arguments(workspace, out, *more)
    context = interrupted_after(3, monkeypatch)
    assert run(arguments) == 130
    context.__exit__(None, None, None)
    other = [workspace / "another-model" if a == workspace / "model" else a for a in arguments]
    shutil.copytree(workspace / "model", workspace / "another-model")
    model = BertForMaskedLM.from_pretrained(workspace / "another-model")
    model.params.vector[:] += 1
    model.save_pretrained(workspace / "another-model")
    refused = [
        (other, "start: the run in", "has model, weights ", "got another-model, weights "),
        ([a for a in arguments if a != "--whole-words"], "whole_words: the run in"),
        ([a for a in arguments if a not in more[:2]], "vocab_size: the run in"),
        ([*arguments, "--dropout", 0.5], "hidden_dropout_prob: the run in"),
        (pretrain_arguments(workspace, out), "vocab_size: the run in"),
    ]
    for each, *parts in refused:
        assert_refused(capsys, [*each, "--resume"], *parts)
    assert run([*arguments, "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "going on after step 3, with the moments of the optimizer" in printed
    assert "before training: held-out" not in printed  # measured by the first command alone
    assert "before training:   loss" in printed
    assert (weights(out) == weights(continued)).all()
    assert (out / "README.md").read_bytes() == (continued / "README.md").read_bytes()


@pytest.mark.parametrize(
    "option",
    [
        ("--tokenizer", "x"),
        ("--size", "tiny"),
        ("--length", 8),
        ("--architecture", "bert"),
        ("--positions", "absolute"),
        ("--activation", "gelu"),
        ("--initialization", "text"),
    ],
    ids=lambda option: option[0],
)
def test_options_that_the_model_determines_are_refused(workspace, tmp_path, capsys, option):
    assert_refused(
        capsys,
        continued_arguments(workspace, tmp_path / "out", *option),
        f"{option[0]}: leave it out; the model in {workspace / 'model'} determines it",
    )
    assert not (tmp_path / "out").exists()


def test_bad_input_is_refused_in_one_line_and_creates_no_folder(workspace, tmp_path, capsys):
    out = tmp_path / "out"
    words = write_lines(tmp_path / "words.txt", "zebra", "cat")
    fresh = pretrain_arguments(workspace, out, "--new-words", words)
    assert_refused(capsys, fresh, "--new-words: expected --model")
    arguments = continued_arguments(workspace, out, "--new-words", words)
    assert_refused(capsys, arguments, f"{words}, line 2: 'cat' is in the vocabulary already")
    arguments = continued_arguments(workspace, out, "--new-words", tmp_path / "none.txt")
    assert_refused(capsys, arguments, f"{tmp_path / 'none.txt'}: no such file")
    arguments = continued_arguments(workspace, out, model="none")
    assert_refused(capsys, arguments, "none/config.json: no such file")
    assert not out.exists()


def test_a_model_without_a_head_gets_one(workspace, tmp_path, capsys):
    assert run(continued_arguments(workspace, tmp_path / "out", model="classifier")) == 0
    assert "newly initialized (missing from the checkpoint): cls." in capsys.readouterr().out
    weights(tmp_path / "out")


def test_next_sentence_prediction_of_a_model_without_it(workspace, tmp_path):
    assert run(continued_arguments(workspace, tmp_path / "out", "--next-sentence")) == 0
    weights(tmp_path / "out", BertForPreTraining)
    assert "held_out_next_sentence" in read_history(tmp_path / "out")[0]


def test_a_relative_of_bert_is_continued(workspace, tmp_path, capsys):
    first = tmp_path / "modern"
    assert run(pretrain_arguments(workspace, first, "--architecture", "modern")) == 0
    words = write_lines(tmp_path / "words.txt", "zebra")
    arguments = continued_arguments(workspace, tmp_path / "out", "--new-words", words, model=first)
    assert run(arguments) == 0
    model = ModernBertForMaskedLM.from_pretrained(tmp_path / "out", strict=True)
    assert len(WordPieceTokenizer.from_pretrained(tmp_path / "out")) == model.config.vocab_size
    assert_refused(
        capsys,
        continued_arguments(workspace, tmp_path / "x", "--next-sentence", model=first),
        "modernbert has no ModernBertForPreTraining",
    )


# Finished runs with more steps.


def rates_of(run_folder):
    return [line["rate"] for line in read_history(run_folder) if "loss" in line]


def test_a_finished_run_is_extended_from_its_weights_with_a_new_warm_up(
    workspace, tmp_path, capsys
):
    out = tmp_path / "out"
    arguments = pretrain_arguments(workspace, out, "--steps", 4, "--warmup", 0.5)
    assert run(arguments) == 0
    assert checkpoints(out) == []
    assert_refused(
        capsys, [*arguments, "--resume", "--steps", 3], "has taken 4; expected more, got 3"
    )
    first = rates_of(out)
    assert run([*arguments, "--resume", "--steps", 12]) == 0
    printed = capsys.readouterr().out
    assert (
        f"the run in {out} had 4 steps and has 12 now: no checkpoint was kept, so it is extended "
        "from its weights, with new moments of the optimizer and a new warm-up\n" in printed
    )
    settings = read_state(out)["settings"]
    assert (settings["steps"], settings["extended_from"]) == (12, 4)
    fresh = PreTraining(**{**settings, "steps": 8, "extended_from": None})
    assert rates_of(out) == [*first, *map(fresh.rate, range(8))]
    assert [line["step"] for line in read_history(out) if "loss" in line] == list(range(1, 13))
    assert entries((out / "README.md").read_text("utf-8"))["extended from"] == "4"
    again = [*arguments, "--resume", "--steps", 12]
    assert run(again) == 0
    assert "this run is finished; nothing is left to train" in capsys.readouterr().out
    assert run([*arguments, "--resume", "--steps", 14]) == 0  # a second extension
    assert read_state(out)["settings"]["extended_from"] == 12


def test_a_run_with_a_kept_checkpoint_is_extended_with_its_moments(workspace, tmp_path, capsys):
    arguments = pretrain_arguments(workspace, tmp_path / "out", "--steps", 4, "--keep-checkpoints")
    assert run(arguments) == 0
    assert run([*arguments, "--resume", "--steps", 6]) == 0
    printed = capsys.readouterr().out
    assert "had 4 steps and has 6 now: after step 4 the learning rate follows" in printed
    assert "going on after step 4, with the moments of the optimizer" in printed
    assert "no checkpoint was kept" not in printed
    assert read_state(tmp_path / "out" / "checkpoint-6")["settings"]["extended_from"] is None


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_extended_run_is_resumed_to_the_same_bits(
    workspace, tmp_path, capsys, monkeypatch, optimizer
):
    arguments = pretrain_arguments(
        workspace, tmp_path / "whole", "--steps", 4, "--optimizer", optimizer
    )
    assert run(arguments) == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "broken")
    extended = [*arguments, "--resume", "--steps", 10]
    assert run(extended) == 0
    broken = [tmp_path / "broken" if a == tmp_path / "whole" else a for a in extended]
    before = (tmp_path / "broken" / "model.safetensors").read_bytes()
    context = interrupted_after(6, monkeypatch)
    assert run(broken) == 130
    context.__exit__(None, None, None)
    # The model of the first run is kept until the extended one is finished.
    assert (tmp_path / "broken" / "model.safetensors").read_bytes() == before
    assert run(broken) == 0
    assert (weights(tmp_path / "broken") == weights(tmp_path / "whole")).all()
    cards = [(tmp_path / name / "README.md").read_text("utf-8") for name in ("broken", "whole")]
    assert entries(cards[0]) == entries(cards[1])


def test_an_extension_that_fails_leaves_the_finished_run(workspace, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    arguments = pretrain_arguments(workspace, out, "--steps", 4)
    assert run(arguments) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    original = loop.Engine.step

    def set_nan(self, shards, rate):
        self.model.params.vector[:] = np.nan
        return original(self, shards, rate)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Engine, "step", set_nan)
        more = [*arguments, "--resume", "--steps", 8]
        assert_refused(capsys, more, "step 5: the loss is nan", status=1)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert run([*arguments, "--resume", "--steps", 8]) == 0


def test_resume_without_steps_keeps_the_number_of_the_run(workspace, tmp_path, capsys):
    arguments = pretrain_arguments(workspace, tmp_path / "out")
    at = arguments.index("--steps")
    assert run(arguments) == 0
    capsys.readouterr()
    assert run([*arguments[:at], *arguments[at + 2 :], "--resume"]) == 0
    assert "this run is finished; nothing is left to train" in capsys.readouterr().out


def test_a_damaged_number_of_the_extension_is_named(workspace, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = pretrain_arguments(workspace, out, "--steps", 4)
    assert run(arguments) == 0
    path = out / "trainer_state.json"
    path.write_text(path.read_text().replace('"extended_from": null', '"extended_from": 9'))
    assert_refused(capsys, [*arguments, "--resume"], "extended_from: expected the number of a step")
