"""--resume refuses a change of each field of the settings and the configuration, but for a few."""

import dataclasses
import json
import re
import signal
from functools import partial

import pytest

from minibert.cli.resume import resumed_model
from minibert.models.config import BertConfig
from minibert.training import Engine, FineTuning
from minibert.training.checkpoint import STATE
from minibert.training.recipes import PreTraining
from tests.laws.commands import SIZES, run
from tests.laws.test_configuration import CHANGES as CONFIG_CHANGES
from tests.laws.test_training_options import in_folder, pretraining, tuning

# The fields that may change: the number of steps, records of what was chosen and extended, and
# those on which no result of the run depends.
# The evaluations of a fine-tuning run decide which weights are kept and when it stops.
FREE = {
    PreTraining: {"steps", "evaluate_every", "save_every", "keep", "extended_from", "chosen"},
    FineTuning: {"steps", "save_every", "keep"},
}
VALUES = {
    "steps": 77, "batch_size": 77, "learning_rate": 0.77, "warmup": 0.77, "weight_decay": 0.77,
    "clip": 0.77, "seed": 77, "shards": 3, "tokenizer": "77", "data": "77", "evaluate_every": 77,
    "save_every": 77, "keep": 77, "layer_decay": 0.77, "freeze": 1, "class_weight": "balanced",
    "patience": 77, "split_pieces": 0.77, "recipe": "bert", "optimizer": "adamw",
    "schedule": "cosine", "beta2": 0.77, "masked_share": 0.77, "last_masked_share": 0.77,
    "initialization": "random", "chosen": "77", "whole_words": True, "start": "77",
    "extended_from": 1, "strategy": "pairs",
}  # fmt: skip
COMMANDS = {
    "pretrain": (PreTraining, pretraining, ["--steps", 3, "--batch-size", 4]),
    "finetune": (FineTuning, tuning, ["--dev", "dev.jsonl", "--epochs", 2]),
}
CASES = [("pretrain", field.name) for field in dataclasses.fields(PreTraining)]
CASES += [("finetune", field.name) for field in dataclasses.fields(FineTuning)]


class Seen(Exception):
    """Raised instead of reading the model of a run."""


@pytest.fixture(scope="module")
def resumed(small_workspace):
    """Return, for each command, a run that was stopped and the call that checks its settings."""

    def stop(engine, shards, rate):
        signal.raise_signal(signal.SIGINT)
        return step(engine, shards, rate)

    def see(*arguments):
        seen.append(arguments)
        raise Seen

    found, step = {}, Engine.step
    for command, (_, words_of, more) in COMMANDS.items():
        seen, folder = [], small_workspace / f"stopped-{command}"
        words = in_folder(small_workspace, words_of(small_workspace, *more, out=folder))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("minibert.models.config.PRESETS", SIZES)
            patch.setattr(Engine, "step", stop)
            assert run(*words) == 130
            patch.setattr(f"minibert.cli.{command}.resumed_model", see)
            assert run(*words, "--resume") == 1
        found[command] = folder, partial(resumed_model, *seen[0])
    return found


def refused(resumed, command, file, change):
    """Change a file of a stopped run; return the message of the refusal, or None, and the folder.

    Args:
        change: replaces fields in the parsed file.
    """
    folder, check = resumed[command]
    path = folder / "checkpoint-1" / file
    before = path.read_text("utf-8")
    fields = json.loads(before)
    change(fields)
    path.write_text(json.dumps(fields), "utf-8")
    try:
        check()
    except ValueError as error:
        return str(error), folder
    finally:
        path.write_text(before, "utf-8")
    return None, folder


@pytest.mark.parametrize(("command", "name"), CASES)
def test_a_changed_setting_is_refused_except_a_few(resumed, command, name):
    had = {}

    def change(fields):
        had[name] = fields["settings"][name]
        fields["settings"][name] = VALUES[name]

    error, folder = refused(resumed, command, STATE, change)
    assert had[name] != VALUES[name]
    expected = f"{name}: the run in {folder} has {VALUES[name]}, got {had[name]}"
    assert error == (None if name in FREE[COMMANDS[command][0]] else expected)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(BertConfig)])
def test_a_changed_field_of_the_configuration_is_refused(resumed, name):
    value = {"type_vocab_size": 3, "problem_type": "regression", "classifier_dropout": 0.5}.get(
        name, CONFIG_CHANGES[name][-1]
    )
    if name == "position_embedding_type":  # the weights say that they are learned
        folder, check = resumed["pretrain"]
        *before, config, settings = check.args
        with pytest.raises(ValueError, match="position_embedding_type: the run in"):
            check.func(*before, dataclasses.replace(config, **{name: value}), settings)
        return
    error, folder = refused(
        resumed, "pretrain", "config.json", lambda fields: fields.update({name: value})
    )
    assert re.search(f"^{name}: the run in {folder} has|expected the (shape|weights)|lacks", error)
    assert refused(resumed, "pretrain", "config.json", dict)[0] is None
