"""The state of the process and of the model is restored, after success and after failures."""

import copy
import gc
import logging
import os
import random
import signal
import threading
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest

from minibert import BertForMaskedLM, BertForSequenceClassification, BertModel, FeatureExtractor
from minibert.data.ragged import RaggedSequences
from minibert.estimators import TextClassifier
from minibert.inference.batched import map_sequences, map_texts
from minibert.inspection import inspect_text
from minibert.objectives import ModelObjective
from minibert.objectives.evaluation import masked_lm_metrics
from minibert.runtime.blas import _blas, run_in_fresh_thread
from minibert.runtime.signals import STOPPING
from minibert.tasks import SingleLabelTask, task_for
from minibert.training import AdamW, Engine, Interrupted, Settings, train
from minibert.training.early_stopping import BestCheckpoint
from minibert.training.pretraining import step_seconds
from tests.conftest import small_tokenizer
from tests.laws.commands import CONFIG, run

TEXTS = ["the cat sat", "a dog ran under it", "red", "the big tree"]
TOKENIZER = small_tokenizer()
SIGNALS = STOPPING


class Broken(Exception):
    """Raised on purpose."""


def own_handler(number, frame):
    raise AssertionError("a signal reached the caller's handler")


@contextmanager
def unusual_state():
    """Set handlers, BLAS threads, error modes and random states that are not the defaults."""
    threads = run_in_fresh_thread(lambda: _blas().limit(limits=3))
    handlers = {number: signal.signal(number, own_handler) for number in SIGNALS}
    np.random.seed(7)  # noqa: NPY002  as a caller may
    random.seed(7)
    try:
        with np.errstate(over="raise", invalid="warn", divide="call", under="raise"):
            yield
    finally:
        run_in_fresh_thread(threads.restore_original_limits)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def state():
    """Return what a library must not change (dict)."""
    pools = [each for each in threading.enumerate() if "ThreadPool" in each.name]
    return {
        "signals": [signal.getsignal(number) for number in SIGNALS],
        "BLAS": [pool["num_threads"] for pool in _blas().info()],
        "errors": np.geterr(),
        "NumPy's random state": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "random state": random.getstate(),
        "print options": np.get_printoptions(),
        "warnings": list(warnings.filters),
        "logging": logging.root.manager.disable,
        "threads of pools": pools,
        "folder": Path.cwd(),
        "environment": dict(os.environ),
    }


def open_files():
    """Return the number of open files, where the system tells it (int)."""
    descriptors = Path("/proc/self/fd")
    return len(list(descriptors.iterdir())) if descriptors.is_dir() else 0


def batches(step):
    ids = np.random.default_rng(step).integers(5, 40, (4, 6))
    labels = np.where(np.random.default_rng(step + 9).random(ids.shape) < 0.5, ids, -100)
    labels[:, 1] = 7
    return [({"input_ids": ids[i::2]}, labels[i::2]) for i in range(2)]


class Failing(ModelObjective):
    """The loss of a model that fails at a place, in the second step.

    Args:
        place: the method that fails; "nan", a signal, or empty: none does.
    """

    def __init__(self, model, place):
        super().__init__(model, evaluate=lambda step: ("fine", {"figure": 1.0}))
        self.place, self.step = place, 0
        self.two_phase = place == "first"

    def fail(self, place):
        if self.step == 1 and place == self.place:
            raise Broken

    def shards(self, step):
        self.step = step
        self.fail("shards")
        if self.place in SIGNALS and step == 1:
            signal.raise_signal(self.place)
            assert signal.getsignal(self.place) is own_handler  # a second signal is not caught
        if self.place == "nan" and step == 1:
            self.model.params.vector[3] = np.nan
        return batches(step)

    def first(self, shard, rng):
        self.fail("first")

    def between(self, parts):
        return parts

    def count(self, shard):
        self.fail("count")
        return super().count(shard)

    def loss_and_grads(self, shard, extra, rng, grads, denominator):
        np.float32(3e38) * np.float32(10)  # overflows without a message
        self.fail("loss_and_grads")
        return super().loss_and_grads(shard, extra, rng, grads, denominator)

    def evaluate(self, step):
        self.fail("evaluate")
        return super().evaluate(step)


def training(place, error=Broken, threads=1, stop=False):
    """Return a function that trains, and its error."""

    def action(folder, patch):
        model = BertForMaskedLM(CONFIG)
        engine = Engine(model, AdamW(model.params), threads=threads)
        settings = Settings(steps=3, evaluate_every=2, save_every=2)
        if place == "save":
            patch.setattr("minibert.training.checkpoint.write_tensors", broken)
        should_stop = (lambda: engine.optimizer.step == 2) if stop else None
        train(engine, Failing(model, place), settings, TOKENIZER, run=folder,
              should_stop=should_stop)  # fmt: skip

    return action, error


def broken(*_, **__):
    raise Broken


def evaluating(threads, count):
    def action(folder, patch):
        model = BertForMaskedLM(CONFIG)
        if count == "broken":
            patch.setattr(BertForMaskedLM, "predict", broken)
        labels = np.full((70, 6), -100)
        labels[:, 1] = 7
        ids = np.random.default_rng(0).integers(5, 40, (70, 6))
        masked_lm_metrics(model, ids, labels, 0, threads=threads)

    return action, Broken if count == "broken" else None


def sums_of_ids(batches):
    return np.concatenate([batch["input_ids"].sum(axis=1) for batch in batches])


def mapping(threads, function):
    def action(folder, patch):
        texts = TEXTS * 50
        map_texts(function, TOKENIZER, texts, max_length=8, threads=threads)

    return action, Broken if function is broken else None


def abandoned(folder, patch):
    """Stop to iterate after the first batch."""
    sequences = RaggedSequences(TOKENIZER.encode(text) for text in TEXTS * 100)
    iterator = map_sequences(lambda batches: batches[0]["input_ids"][:, 0], sequences, 0, threads=2)
    next(iterator)
    iterator.close()


def embedding(folder, patch):
    model = BertModel(CONFIG)
    model.params.vector[:] = np.nan
    FeatureExtractor(model, TOKENIZER)(TEXTS, threads=2)


def fitting(folder, patch):
    TextClassifier(epochs=1, max_length=8, early_stopping=True).fit(TEXTS * 2, [0, 1, 0, 1] * 2)


def failing_fit(folder, patch):
    patch.setattr(SingleLabelTask, "metrics", broken)
    fitting(folder, patch)


def inspecting(folder, patch):
    inspect_text(BertForSequenceClassification(CONFIG), TOKENIZER, TEXTS[0], backward=True)


def timing(folder, patch):
    model = BertForMaskedLM(CONFIG)
    before = model.params.vector.copy()
    step_seconds(model, ModelObjective(model, batches), Settings(steps=1), 2, limit=0)
    assert (model.params.vector == before).all()


def command(status, *words):
    return lambda folder, patch: equal(run(*words), status), None


def equal(one, other):
    assert one == other


def interrupted_command(folder, patch):
    step = Engine.step

    def stop(engine, shards, rate):
        signal.raise_signal(signal.SIGTERM)
        return step(engine, shards, rate)

    patch.setattr(Engine, "step", stop)
    words = ["pretrain", "corpus.txt", "--tokenizer", "tokenizer", "--steps", 2, "--out", folder]
    assert run(*words) == 130


ACTIONS = {
    **{f"train, {place} fails, {threads} threads": training(place, threads=threads)
       for place in ("shards", "first", "count", "loss_and_grads", "evaluate", "save")
       for threads in (1, 2)},
    "train": training("", None),
    "train, stopped early": training("", None, stop=True),
    "train, NaN": training("nan", FloatingPointError, 2),
    "train, Ctrl-C": training(signal.SIGINT, Interrupted),
    "train, SIGTERM": training(signal.SIGTERM, Interrupted, 2),
    **{f"evaluate, {how}, {threads} threads": evaluating(threads, how)
       for how in ("works", "broken") for threads in (1, 2)},
    **{f"map_texts, {name}, {threads} threads": mapping(threads, function)
       for name, function in (("works", sums_of_ids),
                              ("broken", broken))
       for threads in (1, 2)},
    "map_sequences, abandoned": (abandoned, None),
    "FeatureExtractor, NaN": (embedding, FloatingPointError),
    "TextClassifier": (fitting, None),
    "TextClassifier, broken": (failing_fit, Broken),
    "inspect_text": (inspecting, None),
    "step_seconds": (timing, None),
    "predict": command(0, "predict", "classifier", "the cat"),
    "predict, bad input": command(2, "predict", "nothing", "the cat"),
    "pretrain, SIGTERM": (interrupted_command, None),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIONS)
def test_the_state_of_the_process_is_restored(
    name, small_workspace, small_presets, tmp_path, monkeypatch
):
    action, error = ACTIONS[name]
    monkeypatch.chdir(small_workspace)
    with unusual_state():
        before, files = state(), open_files()
        with nullcontext() if error is None else pytest.raises(error):
            action(tmp_path / "run", monkeypatch)
        after = state()
    for key, value in before.items():
        assert after[key] == value, key
    if open_files() > files:
        gc.collect()
    assert open_files() <= files
    assert not list(tmp_path.glob("**/.*")), "a temporary file is left"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("tokenize", "tokenizer", "the cat"), 0),
        (("tokenize", "nowhere", "the cat"), 2),
        (("pretrain", "nowhere.txt", "--tokenizer", "tokenizer", "--out", "run"), 2),
    ],
    ids=["success", "failure", "training"],
)
@pytest.mark.parametrize("debug", [False, True])
def test_a_command_restores_the_default_handlers(
    words, status, debug, small_workspace, tmp_path, monkeypatch
):
    """The state above has handlers of its own, which commands leave in place."""
    default = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in default.items()}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokenizer").symlink_to(small_workspace / "tokenizer")
    try:
        with pytest.raises((OSError, ValueError)) if debug and status else nullcontext():
            assert run(*words, *["--debug"] * debug) == status
        assert {number: signal.getsignal(number) for number in default} == default
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_failed_step_changes_nothing_and_can_be_repeated():
    def made(place):
        model = BertForMaskedLM(CONFIG)
        objective = Failing(model, place)
        engine = Engine(model, AdamW(model.params), threads=2, objective=objective)
        engine.step(objective.shards(0), 1e-2)
        return engine, objective

    whole, plain = made("")
    whole.step(plain.shards(1), 1e-2)
    for place in ("loss_and_grads", "count"):
        engine, objective = made(place)
        optimizer, model = engine.optimizer, engine.model
        kept = [each.copy() for each in (model.params.vector, optimizer.first, optimizer.second)]
        shards = objective.shards(1)
        with pytest.raises(Broken):
            engine.step(shards, 1e-2)
        assert optimizer.step == 1
        now = (model.params.vector, optimizer.first, optimizer.second)
        assert all((a == b).all() for a, b in zip(kept, now, strict=True))
        objective.place = ""
        engine.step(shards, 1e-2)
        assert (model.params.vector == whole.model.params.vector).all()


def digest(model):
    """Return what decides a model's results, as text."""
    blocks = [type(block).__name__ for block in model.bert.encoder.blocks]
    weights = getattr(model, "class_weights", None)
    return (model.params.vector.tobytes(), blocks, model.frozen, sorted(model.frozen_names),
            model.bert.embeddings_learn, model.config, str(weights), [*model.params])  # fmt: skip


READERS = {
    "call": lambda model: model([[2, 9, 3]], output_attentions=True, output_hidden_states=True),
    "loss": lambda model: model([[2, 9, 3]], labels=[1]),
    "loss_and_grads": lambda model: model.loss_and_grads({"input_ids": [[2, 9, 3]]}, [1]),
    "inspect_text": lambda model: inspect_text(model, TOKENIZER, "the cat", backward=True),
    "predict": lambda model: task_for(model).predict(model, TOKENIZER, TEXTS),
    "FeatureExtractor": lambda model: FeatureExtractor(model, TOKENIZER)(TEXTS),
    "astype": lambda model: model.astype(np.float64).params.vector.fill(0),
    "deepcopy": lambda model: copy.deepcopy(model).params.vector.fill(0),
    "sharing": lambda model: BertModel.sharing(BertModel(CONFIG)).freeze(None),
}


@pytest.mark.parametrize("name", READERS)
def test_what_reads_a_model_leaves_it_as_it_was(name):
    model = BertForSequenceClassification(CONFIG)
    model.class_weights = np.array([1.0, 2.0])
    model.gradient_checkpointing_enable()
    model.freeze(1)
    before = digest(model)
    READERS[name](model)
    assert digest(model) == before


def test_the_best_weights_are_restored():
    model = BertForMaskedLM(CONFIG)
    best = BestCheckpoint(model)
    start = model.params.vector.copy()
    for step, score in enumerate((0.5, 0.7, 0.6), 1):
        model.params.vector += 1
        best.update(step, score)
    assert (best.step, best.score, best.evals_since_best) == (2, 0.7, 1)
    best.restore()
    np.testing.assert_allclose(model.params.vector, start + 2, rtol=1e-6)
