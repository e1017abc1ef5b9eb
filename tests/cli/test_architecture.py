"""`minibert pretrain --architecture`, and the other commands on the folder of a ModernBERT."""

import json
import logging

import numpy as np
import pytest

from minibert import (
    AlbertForMaskedLM,
    AlbertForPreTraining,
    ModernBertForMaskedLM,
    WordPieceTokenizer,
)
from minibert.training.checkpoint import checkpoints
from tests.cli.helpers import pretrain_arguments, run

MODERN = "--architecture", "modern"


@pytest.fixture(scope="module")
def modern(workspace):
    """Return the folder of a trained model with its checkpoints (Path)."""
    arguments = pretrain_arguments(workspace, "modern", *MODERN, "--keep-checkpoints",
                                   "--save-every", 5)  # fmt: skip
    assert run(arguments) == 0
    return workspace / "modern"


def test_pretrain_saves_a_modernbert_with_its_tokenizer_and_card(modern, workspace):
    stated = json.loads((modern / "config.json").read_text())
    assert stated["model_type"] == "modernbert"
    assert stated["architectures"] == ["ModernBertForMaskedLM"]
    assert stated["intermediate_size"] == 344
    assert set(stated["layer_types"]) == {"full_attention"}
    tokenizer = WordPieceTokenizer.from_pretrained(modern)
    model = ModernBertForMaskedLM.from_pretrained(modern, strict=True)
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert model.config.initializer_range == 0.06  # of our recipe for this width
    card = (modern / "README.md").read_text()
    assert "- modernbert\n" in card
    assert "from minibert import AutoTokenizer, ModernBertForMaskedLM" in card
    assert "pipeline_tag: fill-mask" in card
    losses = [json.loads(line) for line in (modern / "history.jsonl").read_text().splitlines()]
    assert losses[-1]["step"] == 12


def test_resumed_run_ends_with_the_same_bits(modern, workspace, capsys):
    expected = (modern / "model.safetensors").read_bytes()
    assert run(pretrain_arguments(workspace, "again", *MODERN, "--keep-checkpoints",
                                  "--save-every", 5)) == 0  # fmt: skip
    newest = checkpoints(workspace / "again")[-1]
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()  # as if the run had been killed
    for name in ("model.safetensors", "config.json"):
        (workspace / "again" / name).unlink()
    more = (*MODERN, "--keep-checkpoints", "--save-every", 5, "--resume", "--threads", 2)
    assert run(pretrain_arguments(workspace, "again", *more)) == 0
    assert (workspace / "again" / "model.safetensors").read_bytes() == expected


def test_resume_with_another_architecture_names_the_field(modern, workspace, capsys):
    assert run(pretrain_arguments(workspace, "modern", "--resume", "--keep-checkpoints")) == 2
    assert "architecture: the run in" in (error := capsys.readouterr().err)
    assert "has modernbert, got bert" in error
    assert run(pretrain_arguments(workspace, "model", "--resume", *MODERN)) == 2
    assert "has bert, got modernbert" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [("--positions", "absolute"), ("--activation", "gelu"), ("--next-sentence",)],
    ids=lambda option: option[0],
)
def test_options_without_a_meaning_are_refused(workspace, option, capsys):
    assert run(pretrain_arguments(workspace, "refused", *MODERN, *option)) == 2
    message = f"{option[0]}: leave it out; --architecture modern determines it"
    assert message in capsys.readouterr().err
    assert not (workspace / "refused").exists()


def test_options_of_a_run_are_applied(workspace):
    more = ("--size", "tiny", "--dropout", 0.25, "--dtype", "float16", "--gradient-checkpointing")
    assert run(pretrain_arguments(workspace, "half-modern", *MODERN, *more)) == 0
    stated = json.loads((workspace / "half-modern" / "config.json").read_text())
    assert stated["dtype"] == "float16"
    rates = {name: stated[f"{name}_dropout"] for name in ("mlp", "attention", "embedding")}
    assert set(rates.values()) == {0.25}
    vector = ModernBertForMaskedLM.from_pretrained(workspace / "half-modern").params.vector
    np.testing.assert_array_equal(vector, vector.astype(np.float16).astype(np.float32))


def test_commands_that_know_the_family_run(modern, workspace, capsys):
    assert run(["fill-mask", modern, "the [MASK] sat"]) == 0
    assert capsys.readouterr().out.count("%") == 5
    assert run(["embed", modern, "the cat", "a dog ran"]) == 0
    vectors = [json.loads(line)["vector"] for line in capsys.readouterr().out.splitlines()]
    assert [len(vector) for vector in vectors] == [128, 128]
    assert run(["estimate", "--model", modern, "--classes", 3, "--length", 16]) == 0
    assert "3 classes" in capsys.readouterr().out
    assert run(["similar", modern, "the cat", workspace / "corpus.txt"]) == 0
    capsys.readouterr()
    assert run(["inspect", modern, "the [MASK] sat", "--backward"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("word embedding") == 2
    for name in ("gated activation", "residual sum (feed-forward)"):  # two blocks, twice
        assert shown.count(name) == 4, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "modern", "labelled.tsv"], "expected a model that labels"),
        (["predict", "modern", "the cat"], "expected a model that labels"),
        (["embed", "modern", "the cat", "--pooling", "pooler"], "expected a model with a pooler"),
    ],
    ids=lambda arguments: arguments[0] if isinstance(arguments, list) else "",
)  # fmt: skip
def test_commands_that_do_not_support_the_family_say_so(
    modern, workspace, arguments, message, capsys, monkeypatch
):
    monkeypatch.chdir(workspace)
    logging.disable(logging.NOTSET)
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


# ALBERT.

ALBERT = "--architecture", "albert"


def test_an_albert_learns_the_order_of_segments_and_resumes_with_the_same_bits(workspace, capsys):
    more = (*ALBERT, "--sentence-order", "--keep-checkpoints", "--save-every", 5)
    assert run(pretrain_arguments(workspace, "albert", *more, "--threads", 1)) == 0
    assert "sentence order" in capsys.readouterr().out
    folder = workspace / "albert"
    expected = (folder / "model.safetensors").read_bytes()
    stated = json.loads((folder / "config.json").read_text())
    assert stated["architectures"] == ["AlbertForPreTraining"]
    assert (stated["hidden_act"], stated["num_hidden_groups"]) == ("gelu_new", 1)
    model = AlbertForPreTraining.from_pretrained(folder, strict=True)
    assert model.config.initializer_range == 0.06
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert 0 <= lines[-1]["held_out_sentence_order"] <= 1
    assert "AlbertForPreTraining" in (folder / "README.md").read_text()
    newest = checkpoints(folder)[-1]
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()  # as if the run had been killed
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
    assert run(pretrain_arguments(workspace, "albert", *more, "--threads", 3, "--resume")) == 0
    assert (folder / "model.safetensors").read_bytes() == expected
    capsys.readouterr()
    assert run(["fill-mask", folder, "the [MASK] sat", "--top", 2]) == 0
    assert capsys.readouterr().out.count("%") == 2
    assert run(["inspect", folder, "the [MASK] sat", "--backward"]) == 0
    assert "projection" in capsys.readouterr().out
    # Its pre-training continues with the same tasks, but not with BERT's.
    on = ["pretrain", workspace / "corpus.txt", "--model", folder, "--steps", 2, "--batch-size", 4]
    assert run([*on, "--sentence-order", "--out", workspace / "on"]) == 0
    AlbertForPreTraining.from_pretrained(workspace / "on", strict=True)
    capsys.readouterr()
    assert run([*on, "--next-sentence", "--out", workspace / "never"]) == 2
    assert "--next-sentence: the model in" in capsys.readouterr().err
    on[on.index(folder)] = workspace / "model"
    assert run([*on, "--sentence-order", "--out", workspace / "never"]) == 2
    assert "--sentence-order: the model in" in capsys.readouterr().err


def test_an_albert_without_the_order_of_segments_is_a_masked_lm(workspace):
    assert run(pretrain_arguments(workspace, "words", *ALBERT)) == 0
    AlbertForMaskedLM.from_pretrained(workspace / "words", strict=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sentence-order",), "--sentence-order: expected --architecture albert, whose task it"),
        ((*MODERN, "--sentence-order"), "expected --architecture albert, whose task it is, got mo"),
        ((*ALBERT, "--next-sentence"), "--next-sentence: leave it out; --architecture albert det"),
        ((*ALBERT, "--positions", "absolute"), "--positions: leave it out; --architecture albert"),
    ],
)
def test_tasks_of_another_architecture_are_refused(workspace, options, message, capsys):
    assert run(pretrain_arguments(workspace, "refused", *options)) == 2
    assert message in capsys.readouterr().err
    assert not (workspace / "refused").exists()
