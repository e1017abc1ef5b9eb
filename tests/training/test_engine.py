"""The engine and the loop: parts add up, runs resume to the bit, and stop cleanly."""

import os
import signal
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import combinations, count
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    FeatureExtractor,
)
from minibert.models.bert import Bert
from minibert.objectives import ModelObjective
from minibert.objectives.evaluation import masked_lm_metrics
from minibert.runtime.blas import _blas, one_blas_thread
from minibert.runtime.threads import ordered_map, ordered_reduce
from minibert.training import AdamW, Engine, Interrupted, Settings, split_batch, train
from minibert.training.checkpoint import checkpoints, restore_optimizer
from minibert.training.history import History, read_history

CONFIG = BertConfig(
    vocab_size=40,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=9,
    id2label={0: "a", 1: "b", 2: "c"},
)


def batch(seed, count=6, length=9):
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, 40, (count, length))
    mask = np.arange(length) < rng.integers(3, length + 1, count)[:, None]
    labels = np.where(mask & (rng.random(ids.shape) < 0.4), ids, -100)
    labels[0, 1] = 7
    return {"input_ids": ids, "attention_mask": mask.astype(int)}, labels


def shards_at(step):
    return split_batch(*batch(step), 2)


def weights_after(steps, model=None, **options):
    model = model or BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, AdamW(model.params), seed=3)
    settings = Settings(steps=steps, learning_rate=1e-2, **options)
    for step in range(steps):
        engine.step(shards_at(step), settings.rate(step))
    return model.params.vector


def test_a_step_on_shards_is_a_step_on_the_batch():
    config = BertConfig(**{**vars(CONFIG), "hidden_dropout_prob": 0.0,
                           "attention_probs_dropout_prob": 0.0})  # fmt: skip
    results, vectors = [], []
    for parts in (1, 2, 4):
        model = BertForMaskedLM(config, seed=0, dtype=np.float64)
        engine = Engine(model, AdamW(model.params))
        results.append(engine.step(split_batch(*batch(0), parts), 1e-2))
        vectors.append(engine.grads.vector.copy())
    for result, vector in zip(results[1:], vectors[1:], strict=True):
        assert result.loss == pytest.approx(results[0].loss, rel=1e-12)
        np.testing.assert_allclose(vector, vectors[0], rtol=1e-9, atol=1e-14)


@given(st.integers(1, 12), st.integers(1, 14), st.integers(0, 99))
def test_shards_are_a_partition_by_length(count, parts, seed):
    inputs, labels = batch(seed, count)
    inputs["token_type_ids"] = inputs["input_ids"] % 2
    classes = np.arange(count)
    shards = split_batch(inputs, classes, parts, trim=True)
    assert len(shards) == min(count, parts)
    assert sorted(np.concatenate([part for _, part in shards])) == list(range(count))
    lengths = inputs["attention_mask"].sum(axis=1)
    longest = [lengths[part].max() for _, part in shards]
    assert longest == sorted(longest)
    for (part, chosen), length in zip(shards, longest, strict=True):
        for name in inputs:
            assert (part[name] == inputs[name][chosen, :length]).all()
    tokens = [lengths[part].sum() for _, part in shards]
    assert max(tokens) <= lengths.sum() / len(shards) + 2 * lengths.max()
    # Labels of tokens are trimmed with them.
    for (part, found), (_, chosen) in zip(
        split_batch(inputs, {"labels": labels, "of": classes}, parts, trim=True),
        shards,
        strict=True,
    ):
        assert (found["of"] == chosen).all()
        assert (found["labels"] == labels[chosen, : part["input_ids"].shape[1]]).all()
    whole = split_batch(inputs, labels, parts)
    assert all(found.shape[1] == part["input_ids"].shape[1] == 9 for part, found in whole)


def test_trimmed_shards_make_the_same_step():
    config = BertConfig(**{**vars(CONFIG), "hidden_dropout_prob": 0.0,
                           "attention_probs_dropout_prob": 0.0})  # fmt: skip
    inputs, _ = batch(0, count=7)
    classes = np.arange(7) % 3
    steps = []
    for shards in ([(inputs, classes)], split_batch(inputs, classes, 3, trim=True)):
        model = BertForSequenceClassification(config, seed=0, dtype=np.float64)
        engine = Engine(model, AdamW(model.params))
        steps.append((engine.step(shards, 1e-2).loss, engine.grads.vector))
    assert steps[1][0] == pytest.approx(steps[0][0], rel=1e-12)
    np.testing.assert_allclose(steps[1][1], steps[0][1], rtol=1e-9, atol=1e-14)


def test_more_shards_need_less_memory():
    inputs, labels = batch(0, count=64)

    def peak(parts):
        model = BertForMaskedLM(CONFIG)
        engine = Engine(model, AdamW(model.params), threads=1)
        shards = split_batch(inputs, labels, parts)
        engine.step(shards, 1e-3)
        tracemalloc.start()
        engine.step(shards, 1e-3)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(16) < 0.3 * peak(1)


def test_each_shard_each_step_and_each_seed_has_its_own_dropout():
    inputs, labels = batch(0)

    def losses(shards, steps=1, seed=0):
        model = BertForMaskedLM(CONFIG, seed=1)
        engine = Engine(model, AdamW(model.params), seed=seed)
        return [engine.step([(inputs, labels)] * shards, 1e-30).loss for _ in range(steps)]

    first, second = losses(1, steps=2)
    (other_seed,) = losses(1, seed=1)
    (both,) = losses(2)  # were the second shard's dropout the first's, their mean would be the same
    for one, other in combinations((first, second, other_seed, both), 2):
        assert one != pytest.approx(other, rel=1e-4)


def test_training_lowers_the_loss():
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, AdamW(model.params))
    losses = [engine.step([batch(0)], 1e-2).loss for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_a_loss_that_is_not_finite_stops_before_the_update():
    model = BertForMaskedLM(CONFIG, seed=1)
    engine = Engine(model, AdamW(model.params))
    engine.step(shards_at(0), 1e-3)
    model.params["cls.predictions.bias"][3] = np.nan
    before = model.params.vector.copy()
    with pytest.raises(FloatingPointError, match="step 2: the loss is nan"):
        engine.step(shards_at(1), 1e-3)
    assert np.array_equal(model.params.vector, before, equal_nan=True)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_run_resumed_is_the_run_unbroken(tmp_path, tokenizer, stop):
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_step_with_a_whole_checkpoint(tmp_path, tokenizer, number):
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


def test_evaluations_come_when_they_are_due_and_each_once(tmp_path, tokenizer, monkeypatch):
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


def test_what_came_after_the_checkpoint_leaves_the_history(tmp_path):
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


def test_weights_that_ended_a_run_are_not_kept_to_go_on_with(tmp_path, tokenizer):
    model = BertForMaskedLM(CONFIG, seed=1)

    def shards(step):
        if step == 2:
            model.params["cls.predictions.bias"][3] = np.nan
        return shards_at(step)

    with pytest.raises(FloatingPointError, match=r"step 3: .*good checkpoint is .*checkpoint-1$"):
        train(Engine(model, AdamW(model.params)), ModelObjective(model, shards),
              Settings(steps=5, save_every=1), tokenizer, run=tmp_path)  # fmt: skip
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-1"]


def test_only_the_newest_checkpoints_are_kept(tmp_path, tokenizer):
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


def test_a_write_that_fails_leaves_the_checkpoints_whole(tmp_path, tokenizer, monkeypatch):
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


def test_a_classifier_trains_through_the_same_engine():
    model = BertForSequenceClassification(CONFIG, seed=0)
    inputs, _ = batch(0)
    labels = np.array([0, 1, 2, -100, 1, 0])
    engine = Engine(model, AdamW(model.params))
    losses = [engine.step([(inputs, labels)], 1e-2).loss for _ in range(40)]
    assert losses[-1] < 0.3 < losses[0]


def test_the_norm_that_a_step_tells_is_that_before_clipping():
    norms = []
    for clip in (1e-3, 1e3):
        model = BertForMaskedLM(CONFIG, seed=1)
        norms.append(Engine(model, AdamW(model.params), clip=clip).step([batch(0)], 1e-3).norm)
    assert norms[0] == norms[1] > 1e-3


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
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{"steps": 3, **change})


def test_the_warm_up_is_the_nearest_number_of_steps():
    settings = Settings(steps=100, warmup=0.29, learning_rate=1.0)  # 0.29 · 100 is 28.999…96
    assert [settings.rate(step) for step in (27, 28, 29)] == [28 / 29, 1.0, 1.0]
    assert settings.rate(30) < 1


@pytest.mark.parametrize("parts", [1, 3, 5])
def test_any_number_of_threads_gives_the_same_bits(parts):
    def train_on(threads):
        model = BertForMaskedLM(CONFIG, seed=1)
        engine = Engine(model, AdamW(model.params), seed=3, threads=threads)
        losses = [engine.step(split_batch(*batch(n), parts), 1e-2).loss for n in range(4)]
        return losses, model.params.vector

    losses, vector = train_on(1)
    for threads in (2, 3, 8):
        other_losses, other = train_on(threads)
        assert other_losses == losses
        assert (other == vector).all()


def blas_threads():
    # Not of what was loaded since, by scikit-learn say: it multiplies nothing of ours.
    return [pool["num_threads"] for pool in _blas().info()]


def test_blas_gets_its_threads_back():
    before = blas_threads()
    with one_blas_thread():
        assert set(blas_threads()) == {1}
        with one_blas_thread():
            pass
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_blas_is_held_by_any_thread_and_given_back_by_the_last():
    """Whoever came first: threadpoolctl lets the others set nothing while that one lives."""
    before = blas_threads()
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as last:
        for one, other in (first, last), (last, first), (first, first):
            holds = one_blas_thread(), one_blas_thread()
            one.submit(holds[0].__enter__).result()
            other.submit(holds[1].__enter__).result()
            assert set(blas_threads()) == {1}
            one.submit(holds[0].__exit__, None, None, None).result()
            assert set(blas_threads()) == {1}
            other.submit(holds[1].__exit__, None, None, None).result()
            assert blas_threads() == before


@pytest.mark.parametrize("threads", [1, 3])
def test_where_each_thread_has_a_limit_of_its_own_all_that_multiply_are_held(
    threads, monkeypatch, tokenizer
):
    own, seen = threading.local(), []

    class Blas:  # MKL, say
        @contextmanager
        def limit(self, limits):
            before, own.limit = getattr(own, "limit", 8), limits
            yield
            own.limit = before

    forward = Bert.forward

    def watched(*arguments, **options):
        seen.append(own.limit)
        return forward(*arguments, **options)

    monkeypatch.setattr("minibert.runtime.blas._blas", Blas)
    monkeypatch.setattr(
        "minibert.runtime.blas.run_in_fresh_thread", Mock()
    )  # the process has no limit to set
    monkeypatch.setattr(Bert, "forward", watched)
    model = BertForMaskedLM(CONFIG, seed=1)
    Engine(model, AdamW(model.params), threads=threads).step(shards_at(0), 1e-2)
    masked_lm_metrics(model, batch(1)[0]["input_ids"], batch(1)[1], 0, threads=threads)
    FeatureExtractor(model, tokenizer)(["the cat sat"], threads=threads)
    assert seen == 4 * [1]  # two shards, the metrics, the features
    assert getattr(own, "limit", 8) == 8


def test_work_comes_back_in_order_and_never_more_at_a_time_than_threads():
    at_work, most = [], []

    def work(i):
        at_work.append(i)
        most.append(len(at_work))
        if i == 3:
            raise ArithmeticError("three")
        return i

    results = ordered_map(work, range(9), 2)
    for expected in range(3):
        assert next(results) == expected
        at_work.remove(expected)
    with pytest.raises(ArithmeticError, match="three"):
        next(results)
    assert max(most) <= 2


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_dealt_with_in_order_by_the_thread_that_made_them(threads):
    rng = np.random.default_rng(0)
    rounds = rng.integers(0, 400, 30)
    order, makers, at_once, most = [], {}, set(), []

    def work(i):
        at_once.add(i)
        most.append(len(at_once))
        makers[i] = threading.get_ident()
        np.linalg.norm(rng.random((int(rounds[i]), 50)))  # some take longer
        return i * i

    def deal_with(i, result):
        assert result == i * i
        assert makers[i] == threading.get_ident()
        order.append(i)
        at_once.discard(i)

    ordered_reduce(work, deal_with, 30, threads)
    assert order == list(range(30))
    assert max(most) <= threads


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("where", ["work", "deal_with"])
def test_a_failure_ends_the_turns_and_comes_out(threads, where):
    dealt_with = []

    def work(i):
        if where == "work" and i == 4:
            raise ArithmeticError("four")

    def deal_with(i, result):
        if where == "deal_with" and i == 4:
            raise ArithmeticError("four")
        dealt_with.append(i)

    with pytest.raises(ArithmeticError, match="four"):
        ordered_reduce(work, deal_with, 20, threads)
    assert dealt_with == [0, 1, 2, 3]
    ordered_reduce(work, deal_with, 0, threads)


def test_a_step_needs_a_gradient_for_each_thread_and_one_more():
    model = BertForMaskedLM(CONFIG, seed=1)
    made, right = [], model.params.zeros_like
    model.params.zeros_like = lambda: made.append(1) or right()
    engine = Engine(model, AdamW(model.params), threads=2)
    for _ in range(3):
        engine.step(split_batch(*batch(0), 6), 1e-3)
    assert len(made) <= 3


def test_a_step_that_failed_spoils_none_after_it():
    def vector(fail):
        model = BertForMaskedLM(CONFIG, seed=1)
        engine = Engine(model, AdamW(model.params), seed=3, threads=2)
        for number in range(3):
            shards = split_batch(*batch(number), 5)
            if fail:
                broken = [*shards[:3], (shards[3][0], shards[3][1] + 99), shards[4]]
                with pytest.raises(ValueError, match="labels: expected integers"):
                    engine.step(broken, 1e-2)
            engine.step(shards, 1e-2)
        return model.params.vector

    assert (vector(fail=True) == vector(fail=False)).all()
