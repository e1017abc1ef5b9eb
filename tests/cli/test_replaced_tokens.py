"""`minibert pretrain --objective replaced-tokens`, and the other commands on its folders."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from minibert import ElectraForMaskedLM, ElectraForPreTraining
from minibert.models.replaced_tokens import GENERATOR, TABLES
from minibert.training.checkpoint import checkpoints, damage_of
from minibert.training.history import read_history
from tests.cli.helpers import assert_refused, finetune_arguments, pretrain_arguments, run

REPLACED = ("--objective", "replaced-tokens", "--size", "nano")
KEPT = ("--keep-checkpoints", "--save-every", 5, "--evaluate-every", 5)
WEIGHTS = ("model.safetensors", f"{GENERATOR}/model.safetensors")


@pytest.fixture(scope="module")
def trained(workspace):
    """Return the folder of a trained model with its checkpoints (Path)."""
    assert run(pretrain_arguments(workspace, "electra", *REPLACED, *KEPT, "--threads", 1)) == 0
    return workspace / "electra"


def test_pretrain_saves_both_models_with_tokenizer_history_and_card(trained):
    discriminator = ElectraForPreTraining.from_pretrained(trained, strict=True)
    generator = ElectraForMaskedLM.from_pretrained(trained / GENERATOR, strict=True)
    assert (discriminator.config.hidden_size, discriminator.config.embedding_size) == (64, 64)
    assert (generator.config.hidden_size, generator.config.embedding_size) == (16, 64)
    for name in TABLES:
        assert (generator.params[name] == discriminator.params[name]).all()
    for folder in (trained, trained / GENERATOR):
        assert (folder / "tokenizer.json").is_file()
    evaluations = [line for line in read_history(trained) if "held_out_loss" in line]
    assert [line["step"] for line in evaluations] == [5, 10, 12]
    last = evaluations[-1]
    assert last["held_out_loss"] == pytest.approx(
        last["held_out_generator_loss"] + 50 * last["held_out_discriminator_loss"]
    )
    card = (trained / "README.md").read_text()
    assert "`ElectraForPreTraining`: 1 layers, hidden size 64" in card
    assert "| objective | replaced tokens |" in card
    assert "| generator | 1 layers, hidden size 16, heads 1, feed-forward size 64 |" in card
    assert f"generator loss {last['held_out_generator_loss']:.3f}, accuracy" in card


def test_what_is_printed_names_both_losses_and_both_folders(workspace, capsys):
    assert run(pretrain_arguments(workspace, "shown", *REPLACED)) == 0
    shown = capsys.readouterr().out
    assert "held out:          generator loss " in shown
    assert "; discriminator loss " in shown
    assert "found of" in shown
    out = workspace / "shown"
    assert f"try: minibert finetune FILE --model {out} --out classifier" in shown
    assert f"try: minibert fill-mask {out / GENERATOR} 'A [MASK] of words.'" in shown
    assert not checkpoints(out)


@pytest.mark.parametrize("more", [("--threads", 2), ("--threads", 1, *REPLACED)])
def test_resumed_run_ends_with_the_same_bits(trained, workspace, tmp_path, more):
    """For any number of threads, and whether the objective is stated again or not."""
    again = tmp_path / "again"
    shutil.copytree(trained, again)
    shutil.rmtree(checkpoints(again)[-1])  # as if the run had been killed
    for name in WEIGHTS:
        (again / name).unlink()
    words = pretrain_arguments(workspace, "electra", *KEPT, "--resume", *more)
    assert run([again if word == trained else word for word in words]) == 0
    for name in WEIGHTS:
        assert (again / name).read_bytes() == (trained / name).read_bytes()


def test_damage_of_the_generator_in_a_checkpoint_is_found(trained, tmp_path):
    checkpoint = tmp_path / "checkpoint-12"
    shutil.copytree(checkpoints(trained)[-1], checkpoint)
    assert damage_of(checkpoint) is None
    path = checkpoint / WEIGHTS[1]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert f"{WEIGHTS[1]} is not the file that was written" in damage_of(checkpoint)


def test_the_discriminator_is_fine_tuned_and_the_generator_fills_masks(trained, workspace, capsys):
    assert run(finetune_arguments(workspace, "labels", "--model", trained, "--threads", 1)) == 0
    stated = json.loads((workspace / "labels" / "config.json").read_text())
    assert stated["architectures"] == ["ElectraForSequenceClassification"]
    assert run(["predict", workspace / "labels", "the cat sat on a mat"]) == 0
    capsys.readouterr()
    assert run(["fill-mask", trained / GENERATOR, "the [MASK] sat"]) == 0
    assert capsys.readouterr().out.count("%") == 5


def test_options_of_a_run_are_applied_to_both_models(workspace):
    more = ("--dropout", 0.25, "--dtype", "float16", "--gradient-checkpointing", "--whole-words",
            "--initialization", "random", "--optimizer", "adamw")  # fmt: skip
    assert run(pretrain_arguments(workspace, "half-electra", *REPLACED, *more)) == 0
    for folder in (workspace / "half-electra", workspace / "half-electra" / GENERATOR):
        stated = json.loads((folder / "config.json").read_text())
        assert stated["dtype"] == "float16"
        assert stated["hidden_dropout_prob"] == stated["attention_probs_dropout_prob"] == 0.25
    vector = ElectraForMaskedLM.from_pretrained(folder).params.vector
    np.testing.assert_array_equal(vector, vector.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    "option",
    [("--architecture", "bert"), ("--positions", "absolute"), ("--next-sentence",)],
    ids=lambda option: option[0],
)
def test_options_that_the_objective_determines_are_refused(workspace, option, capsys):
    message = f"{option[0]}: leave it out; --objective replaced-tokens determines it"
    words = pretrain_arguments(workspace, "refused", *REPLACED[:2], *option)
    assert_refused(capsys, words, message)
    assert not (workspace / "refused").exists()


def test_options_that_the_objective_of_a_resumed_run_determines_are_refused(
    trained, workspace, capsys
):
    words = pretrain_arguments(workspace, trained.name, "--resume", "--architecture", "albert")
    assert_refused(capsys, words, "--architecture: leave it out; --objective replaced-tokens det")


def test_a_trained_model_and_another_objective_are_refused(trained, workspace, capsys):
    words = ["pretrain", workspace / "corpus.txt", *REPLACED[:2], "--model", "tiny", "--out",
             workspace / "refused"]  # fmt: skip
    assert_refused(capsys, words, "--model: leave it out; --objective replaced-tokens begins with")
    for name, stated, had in (("electra", "masked-lm", "replaced-tokens"),
                              ("model", "replaced-tokens", "masked-lm")):  # fmt: skip
        words = pretrain_arguments(workspace, name, "--resume", "--objective", stated)
        assert_refused(capsys, words, f"objective: the run in {workspace / name} has {had}, got")


def test_a_generator_of_another_vocabulary_is_refused(trained, workspace, tmp_path, capsys):
    again = tmp_path / "again"
    shutil.copytree(trained, again)
    place = checkpoints(again)[-1]
    generator = ElectraForMaskedLM.from_pretrained(place / GENERATOR)
    small = replace(generator.config, vocab_size=generator.config.vocab_size - 1)
    ElectraForMaskedLM(small).save_pretrained(place / GENERATOR)
    shutil.rmtree(checkpoints(again)[0])
    words = pretrain_arguments(workspace, "electra", *KEPT, *REPLACED, "--resume")
    size = generator.config.vocab_size
    line = f"generator: expected vocab_size {size}, the discriminator's, got {size - 1}"
    assert_refused(capsys, [again if word == trained else word for word in words], line)
