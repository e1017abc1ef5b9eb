"""The model cards that commands write."""

import json
import os
import re
import signal

import numpy as np
import pytest
from safetensors.numpy import load_file

import minibert
from minibert import BertForMaskedLM
from minibert.objectives import MaskedLM
from minibert.training import loop
from minibert.training.card import is_generated
from tests.cli.helpers import finetune_arguments, pretrain_arguments, run
from tests.training.test_card import entries


def card(folder):
    text = (folder / "README.md").read_text("utf-8")
    assert is_generated(text)
    return text


def test_pretrain_writes_a_card_with_its_data_recipe_and_scores(workspace, capsys):
    arguments = pretrain_arguments(workspace, "carded", "--seed", 3, "--clip", 0.5)
    assert run(arguments) == 0
    printed, text = capsys.readouterr().out, card(workspace / "carded")
    found = entries(text)
    for name, label in (("held out", "this model"), ("unigram baseline", "unigram baseline")):
        (shown,) = [line for line in printed.splitlines() if line.startswith(f"{name}:")]
        assert found[label] == shown.split(":", 1)[1].strip()
    (sizes,) = [line for line in printed.splitlines() if "tokens to train on" in line]
    train, held_out = (size.split()[0] for size in sizes.split(", "))
    assert found["training text"].startswith("corpus.txt: ")
    assert found["training text"].endswith(f" documents, {train} tokens")
    assert found["held-out text"].startswith("5% of corpus.txt: ")
    assert f" documents, {held_out} tokens; " in found["held-out text"]
    assert (found["steps"], found["seed"], found["clip"]) == ("12", "3", "0.5")
    assert f"minibert {minibert.__version__}, " in text
    assert "minibert fill-mask carded " in text
    assert str(workspace) not in text


def test_a_resumed_run_writes_the_card_of_an_unbroken_one(workspace, tmp_path, monkeypatch):
    arguments = [tmp_path / "model" if word == workspace / "model" else word
                 for word in pretrain_arguments(workspace, "model")]  # fmt: skip
    original = loop.Engine.step

    def interrupt_step(self, shards, rate):
        result = original(self, shards, rate)
        if self.optimizer.step == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(loop.Engine, "step", interrupt_step)
        assert run(arguments) == 130
    assert not (tmp_path / "model" / "README.md").exists()
    assert run([*arguments, "--resume"]) == 0
    assert card(tmp_path / "model") == card(workspace / "model")


def test_finetune_writes_a_card_with_the_baselines(workspace):
    text = card(workspace / "classifier")
    found = entries(text)
    assert found["training texts"] == "labelled.tsv: 16 texts"
    assert found["held-out texts"] == "labelled.tsv: 16 texts, which choose the best weights"
    assert (found["task"], found["start"], found["epochs"]) == ("classification", "model", "2")
    assert found["2 classes"] == "cats 8, dogs 8"
    assert found["always the commonest class"] == "50.0%"
    assert found["this model"].startswith("accuracy ")
    assert "minibert predict classifier " in text
    assert str(workspace) not in text


def test_the_card_states_the_exact_share_and_the_name_of_the_current_folder(workspace, monkeypatch):
    monkeypatch.chdir(workspace / "model")
    words = ["finetune", workspace / "labelled.tsv", "--dev-share", 0.125, "--epochs", 1,
             "--batch-size", 8, "--model", ".", "--out", workspace / "shared"]  # fmt: skip
    assert run(words) == 0
    found = entries(card(workspace / "shared"))
    expected = "12.5% of labelled.tsv, chosen with the split seed 0: 2 texts, which"
    assert found["held-out texts"].startswith(expected)
    assert found["start"] == "model"


def test_the_card_of_the_best_seed_is_copied_unless_one_was_edited(workspace, capsys):
    arguments = finetune_arguments(workspace, "cards", "--seeds", 2, "--epochs", 1)
    assert run(arguments) == 0
    out = workspace / "cards"
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "contains the model of" in x]
    seed = line.split()[-1]
    assert card(out) == card(out / f"seed-{seed}")
    assert entries(card(out))["seed"] == seed
    assert f"minibert predict {out.name} " in card(out)
    (out / "README.md").write_text("My notes.\n")
    assert run([*arguments, "--resume"]) == 0
    assert (out / "README.md").read_text() == "My notes.\n"
    assert (out / "README.new.md").read_text() == card(out / f"seed-{seed}")
    assert "README.md was edited and stays unchanged" in capsys.readouterr().out


def test_pretrain_saves_float16_and_states_the_scores_of_the_rounded_weights(workspace, capsys):
    assert run(pretrain_arguments(workspace, "half", "--dtype", "float16")) == 0
    printed = capsys.readouterr().out
    half, whole = (load_file(workspace / name / "model.safetensors") for name in ("half", "model"))
    assert half.keys() == whole.keys()
    for name, array in half.items():
        assert array.dtype == np.float16
        assert (array == whole[name].astype(np.float16)).all(), name
    assert json.loads((workspace / "half/config.json").read_text())["dtype"] == "float16"
    assert BertForMaskedLM.from_pretrained(workspace / "half").params.vector.dtype == np.float32
    scores = [entries(card(workspace / name))["this model"] for name in ("half", "model")]
    assert f"held out:          {scores[0]}" in printed
    assert run([*pretrain_arguments(workspace, "half", "--dtype", "float16"), "--resume"]) == 0
    assert "this run is finished" in capsys.readouterr().out


def test_only_rounded_weights_are_evaluated_again(workspace, monkeypatch):
    seen, original = [], MaskedLM.metrics
    monkeypatch.setattr(MaskedLM, "metrics", lambda self: seen.append(self) or original(self))
    counts = []
    for dtype in ("float32", "float16"):
        words = pretrain_arguments(workspace, f"as-{dtype}", "--dtype", dtype, "--steps", 2)
        assert run(words) == 0
        counts.append(len(seen))
    assert counts[1] == 2 * counts[0] + 1


@pytest.mark.slow
def test_the_demo_writes_the_cards_of_both_models(tmp_path, capsys):
    assert run(["demo", "--steps", 2, "--out", tmp_path / "demo"]) == 0
    printed = capsys.readouterr().out
    model, classifier = (entries(card(tmp_path / "demo" / n)) for n in ("model", "classifier"))
    assert model["steps"] == "2"
    assert f"held out:               {model['this model']}" in printed
    assert f"unigram baseline:       {model['unigram baseline']}" in printed
    scores = [classifier[name] for name in ("this model", "from scratch", "from counts")]
    for title, score in zip(("pre-trained", "from scratch", "from counts"), scores, strict=True):
        assert f"{title + ':':23} {score}" in printed
    accuracies = [float(re.match(r"accuracy ([\d.]+)%", score)[1]) for score in scores]
    assert max(accuracies[:2]) + 10 < accuracies[2]  # after two steps of pre-training
