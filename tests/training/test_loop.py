"""The loop: runs resume with the same bits, evaluate when due, and stop cleanly."""

import os
import signal
from itertools import count

import numpy as np
import pytest

from minibert import BertForMaskedLM
from minibert.objectives import ModelObjective
from minibert.runtime.signals import STOPPING
from minibert.training import AdamW, Engine, Interrupted, Settings, train
from minibert.training.checkpoint import checkpoints, restore_optimizer
from minibert.training.history import History, read_history
from tests.training.test_engine import CONFIG, batch, shards_at, weights_after


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_resumed_run_equals_an_uninterrupted_one_bitwise(tmp_path, tokenizer, stop):
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, AdamW(model.params), seed=3)
    settings = Settings(steps=6, learning_rate=1e-2, save_every=stop)

    def until(step):
        if step == stop:
            raise RuntimeError("the power went")
        return shards_at(step)

    with pytest.raises(RuntimeError, match="power"):
        train(engine, ModelObjective(model, until), settings, tokenizer, run=tmp_path)
    newest = checkpoints(tmp_path)[-1]
    resumed = BertForMaskedLM.from_pretrained(newest)
    optimizer = AdamW(resumed.params)
    restore_optimizer(newest, optimizer)
    assert optimizer.step == stop
    objective = ModelObjective(resumed, shards_at)
    train(Engine(resumed, optimizer, seed=3), objective, settings, tokenizer)
    assert (resumed.params.vector == weights_after(6)).all()


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_stops_the_run_after_a_step_with_a_checkpoint(tmp_path, tokenizer, number):
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, AdamW(model.params), seed=3)
    handler = signal.getsignal(number)

    def shards(step):
        if step == 2:
            os.kill(os.getpid(), number)
        return shards_at(step)

    with pytest.raises(Interrupted, match=r"stopped after step 3 of 9.*checkpoint-3"):
        train(engine, ModelObjective(model, shards), Settings(steps=9), tokenizer, run=tmp_path)
    assert signal.getsignal(number) is handler
    saved = BertForMaskedLM.from_pretrained(tmp_path / "checkpoint-3")
    assert (saved.params.vector == model.params.vector).all()


def test_a_signal_during_the_last_evaluation_stops_what_follows(tmp_path, tokenizer):
    """For example the next seed of `finetune`."""
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, AdamW(model.params), seed=3)
    objective = ModelObjective(model, shards_at)
    objective.evaluate = lambda step: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted, match=r"stopped after step 3 of 3.*checkpoint-3"):
        train(engine, objective, Settings(steps=3), tokenizer, run=tmp_path)


def test_train_evaluates_when_due_and_repeats_a_lost_evaluation(tmp_path, tokenizer, monkeypatch):
    ticks = count()  # a step takes a second
    monkeypatch.setattr("minibert.training.loop.time.perf_counter", lambda: next(ticks))
    model = BertForMaskedLM(CONFIG, seed=1)
    optimizer = AdamW(model.params)
    settings = Settings(steps=7, evaluate_every=3, save_every=3)
    seen = []

    def evaluate(step):
        assert step == optimizer.step
        seen.append(step)
        if seen == [3, 6]:
            raise RuntimeError("the power went")
        return "fine", {"held_out_loss": float(step)}

    def go_on():
        objective = ModelObjective(model, shards_at, evaluate)
        train(Engine(model, optimizer), objective, settings, tokenizer, run=tmp_path)

    with pytest.raises(RuntimeError, match="power"):
        go_on()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-3", "checkpoint-6"]
    go_on()  # from step 6, whose evaluation is made up for
    go_on()  # there is nothing left to do
    assert seen == [3, 6, 6, 7]
    lines = read_history(tmp_path)
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 8))
    tokens = [int(batch(step)[0]["attention_mask"].sum()) for step in range(7)]
    assert [line["tokens_per_second"] for line in steps] == tokens
    assert [(i, line["step"]) for i, line in enumerate(lines) if "held_out_loss" in line] == [
        (3, 3), (7, 6), (9, 7)]  # fmt: skip


def test_history_removes_lines_after_the_checkpoint(tmp_path):
    history = History(tmp_path)
    for step in range(1, 6):
        history.write(step, loss=1.0)
        history.write(step, held_out_loss=1.0)
    history.close()
    again = History(tmp_path, 3)
    again.write(4, loss=2.0)
    again.close()
    steps = [(line["step"], line.get("loss")) for line in read_history(tmp_path)]
    assert steps == [(1, 1), (1, None), (2, 1), (2, None), (3, 1), (3, None), (4, 2)]
    assert [again.evaluated(step) for step in (3, 4)] == [True, False]


def test_train_removes_the_checkpoint_of_weights_that_gave_nan(tmp_path, tokenizer):
    model = BertForMaskedLM(CONFIG, seed=1)

    def shards(step):
        if step == 2:
            model.params["cls.predictions.bias"][3] = np.nan
        return shards_at(step)

    with pytest.raises(FloatingPointError, match=r"step 3: .*good checkpoint is .*checkpoint-1$"):
        train(Engine(model, AdamW(model.params)), ModelObjective(model, shards),
              Settings(steps=5, save_every=1), tokenizer, run=tmp_path)  # fmt: skip
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-1"]


def test_save_checkpoint_keeps_the_newest(tmp_path, tokenizer):
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, AdamW(model.params))
    train(
        engine,
        ModelObjective(model, shards_at),
        Settings(steps=11, save_every=3),
        tokenizer,
        run=tmp_path,
    )
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-11"]


def test_a_failed_write_leaves_complete_checkpoints(tmp_path, tokenizer, monkeypatch):
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, AdamW(model.params))

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    def shards(step):
        if step == 3:
            monkeypatch.setattr("minibert.training.checkpoint.write_tensors", full)
        return shards_at(step)

    with pytest.raises(OSError, match="No space"):
        train(
            engine,
            ModelObjective(model, shards),
            Settings(steps=6, save_every=2),
            tokenizer,
            run=tmp_path,
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2", "history.jsonl"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: expected at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected more than 0, got nan"),
        ({"warmup": 1.5}, "warmup: expected a share from 0 to 1, got 1.5"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
    ],
)
def test_settings_refuse_numbers_out_of_range(change, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{"steps": 3, **change})


def test_settings_round_the_warm_up_to_the_nearest_step():
    settings = Settings(steps=100, warmup=0.29, learning_rate=1.0)  # 0.29 · 100 is 28.999…96
    assert [settings.rate(step) for step in (27, 28, 29)] == [28 / 29, 1.0, 1.0]
    assert settings.rate(30) < 1
