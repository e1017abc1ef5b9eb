"""`minibert estimate`."""

import json
import re

import pytest

from minibert import BertConfig, BertForMaskedLM
from minibert.cli import build_parser
from minibert.inspection import estimate
from minibert.inspection.estimate import TrainingStep, memory_of, step_flops, total_parameters
from minibert.models.table import family_class
from tests.cli.helpers import assert_refused, run


@pytest.fixture(autouse=True)
def two_steps(monkeypatch):
    """Let each measured step take a quarter of a second; none is computed."""
    monkeypatch.setattr(estimate, "_measure", lambda step, budget: [0.25, 0.25])


def lines_of(capsys, *words):
    assert run(["estimate", *words]) == 0
    return capsys.readouterr().out


def number(printed, name):
    """Return the number in the row of this name (float)."""
    return float(re.search(rf"^ *{name} +([\d.,]+)", printed, re.M)[1].replace(",", ""))


def test_estimate_prints_what_is_computed_from_the_sizes(capsys):
    words = ["--size", "tiny", "--length", 64, "--batch-size", 8, "--vocab-size", 900,
             "--shards", 4, "--threads", 2, "--dropout", 0.1]  # fmt: skip
    printed = lines_of(capsys, *words, "--steps", 100)
    rates = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    config = BertConfig.preset("tiny", vocab_size=900, max_position_embeddings=64, **rates)
    step = TrainingStep(config, 8, 64, 4, 2)
    assert "8 sequences of 64 tokens, 9 of them masked; 4 shards, 2 at once" in printed
    memory = memory_of(step)
    assert number(printed, "parameters") == total_parameters(config)
    assert number(printed, "memory, .*?NumPy") == pytest.approx(memory.total / 2**20, abs=0.06)
    activations = number(printed, "activations of 2 shards")
    assert activations == pytest.approx(memory.activations / 2**20, abs=0.06)
    assert number(printed, "FLOPs of a step") == pytest.approx(step_flops(step) / 1e9, abs=0.006)
    assert number(printed, "time of a step on this machine") == 250
    assert number(printed, "tokens per second") == 8 * 64 / 0.25
    assert re.search(r"^time of 100 steps +25.0 s$", printed, re.M)
    assert "the median of 2 steps with 2 threads" in printed
    classifier = lines_of(capsys, *words, "--classes", 3)
    assert "8 sequences of 64 tokens, 3 classes; 4 shards, 2 at once" in classifier
    assert number(classifier, "parameters") == total_parameters(config, 3)
    assert number(classifier, "FLOPs of a step") < number(printed, "FLOPs of a step")
    again = lines_of(capsys, *words, "--gradient-checkpointing")
    assert number(again, "activations of 2 shards") < activations
    assert number(again, "FLOPs of a step") > number(printed, "FLOPs of a step")


def test_estimate_reads_the_sizes_of_a_model(workspace, tmp_path, capsys):
    words = ["--model", workspace / "model", "--batch-size", 4, "--length", 16]
    printed = lines_of(capsys, *words)
    params = BertForMaskedLM.from_pretrained(workspace / "model").params
    assert number(printed, "parameters") == params.vector.size
    for option, value in (("--size", "mini"), ("--vocab-size", 9), ("--activation", "relu"),
                          ("--positions", "sinusoidal")):  # fmt: skip
        assert_refused(capsys, ["estimate", *words, option, value], f"{option}: leave it out")
    too_long = "length: expected from 3 to 16 tokens (max_position_embeddings), got 17"
    assert_refused(capsys, ["estimate", *words[:2], "--length", 17], too_long)
    fields = json.loads((workspace / "model" / "config.json").read_text())
    (tmp_path / "odd").mkdir()
    broken = fields | {"num_attention_heads": 3}
    (tmp_path / "odd" / "config.json").write_text(json.dumps(broken))
    assert_refused(capsys, ["estimate", "--model", tmp_path / "odd"],
                   "hidden_size 128 is not a multiple of num_attention_heads 3")  # fmt: skip
    own = fields | {"model_type": "minibert", "parts": {"block": "PreNorm"}}
    (tmp_path / "odd" / "config.json").write_text(json.dumps(own))
    assert_refused(capsys, ["estimate", "--model", tmp_path / "odd"], "got PreNorm")


@pytest.mark.parametrize(
    "family", ["distilbert", "roberta", "electra", "mpnet", "albert", "deberta-v2", "modernbert"]
)
def test_estimate_knows_the_relatives(family, tmp_path, capsys):
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "vocab_size": 40,
             "intermediate_size": 16, "max_position_embeddings": 18}  # fmt: skip
    padding = {"pad_token_id": 0} if family == "modernbert" else {}
    config = family_class(family, "Config")(**sizes, **padding)
    model = family_class(family, "ForMaskedLM")(config)
    model.save_pretrained(tmp_path)
    words = ["--model", tmp_path, "--length", 16, "--batch-size", 8, "--dropout", 0.1]
    printed = lines_of(capsys, *words)
    assert number(printed, "parameters") == model.params.vector.size
    blocks = " that share 1" if family == "albert" else "(?: of [0-9,]+)?"
    parts = ("embeddings", f"2 blocks{blocks}", "head, besides the embeddings")
    assert sum(number(printed, part) for part in parts) == model.params.vector.size
    assert "8 sequences of 16 tokens, 3 classes" in lines_of(capsys, *words, "--classes", 3)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["roberta", "mpnet", "electra", "modernbert", "albert"])
def test_a_smaller_step_of_a_relative_is_measured(family, monkeypatch):
    monkeypatch.undo()
    config = family_class(family, "Config").preset("base", vocab_size=5000)
    timing = estimate.time_step(TrainingStep(config, 64, 500, 4, 1), budget=0.2)
    assert timing.measured.config.num_hidden_layers == 2
    assert timing.seconds > 0


def test_estimate_says_that_a_large_model_is_extrapolated(capsys):
    printed = lines_of(capsys, "--size", "large", "--length", 512, "--threads", 1)
    assert "extrapolated by the FLOPs from 2 steps with 1 thread, of" in printed
    assert "in a model of 2 such blocks and a vocabulary of 1,024 tokens" in printed


def test_estimate_counts_one_in_the_singular_and_knows_the_name_tiny(capsys):
    printed = lines_of(capsys, "--model", "tiny", "--batch-size", 1)
    assert "step: 1 sequence of 32 tokens, 4 of them masked; 1 shard, 1 at once" in printed
    assert "gradients, 1 buffer  " in printed
    printed = lines_of(capsys, "--batch-size", 1, "--steps", 1)
    assert re.search(r"^time of 1 step +250.0 ms$", printed, re.M)


def test_estimate_of_many_classes_or_long_texts_needs_little_memory(capsys):
    printed = lines_of(capsys, "--classes", 10**8, "--batch-size", 2000)
    assert "2,000 sequences of 32 tokens, 100,000,000 classes; " in printed
    assert number(printed, "head, .*?embeddings") == 128 * 129 + 129 * 10**8
    assert "a vocabulary of 1,024 tokens and 1,024 classes" in printed
    printed = lines_of(capsys, "--length", 10**6)
    assert re.search(r"from 2 steps with \d+ threads?, of \d sequences? of [\d,]+ tokens", printed)


def test_estimate_refuses_contradictions_in_one_line(capsys):
    for words, message in (
        (["--batch-size", 2, "--shards", 3], "shards: expected at most the 2 sequences"),
        (["--batch-size", 0], "batch_size: expected at least 1"),
        (["--length", 2], "length: expected at least 3 tokens, got 2"),
        (["--vocab-size", 0], "vocab_size: expected"),
        (["--vocab-size", 4], "vocab_size: expected at least the 5 special tokens, got 4"),
        (["--steps", 0], "steps: expected at least 1"),
        (["--threads", 0], "threads: expected at least 1"),
        (["--classes", 1], "classes: expected at least 2, got 1"),
        (["--dropout", 1], "hidden_dropout_prob: expected"),
        (["--model", "no-such-folder"], "no-such-folder"),
    ):
        assert_refused(capsys, ["estimate", *words], message)


def test_the_defaults_are_those_of_pretrain():
    estimated = build_parser().parse_args(["estimate"])
    trained = build_parser().parse_args(["pretrain", "x", "--tokenizer", "t", "--out", "o"])
    for name in ("size", "length", "shards", "threads", "gradient_checkpointing", "activation",
                 "positions"):  # fmt: skip
        assert getattr(estimated, name) == getattr(trained, name), name
    from minibert.cli import estimate as command
    from minibert.training.recipes import DEFAULT_RECIPE, RECIPES

    recipe = RECIPES[DEFAULT_RECIPE]
    assert (estimated.batch_size, estimated.dropout) == (recipe.batch_size, recipe.dropout)
    assert recipe.length == command.LENGTH
