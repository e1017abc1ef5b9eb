"""Every field of Settings, and every argument of AdamW and Engine, decides what it names."""

import dataclasses
import functools
import inspect
import json
import re
import threading

import numpy as np
import pytest

from minibert import BertConfig, BertForPreTraining
from minibert.data.corpus import pack
from minibert.objectives import MaskedLMAndNextSentence, ModelObjective
from minibert.parameters import Parameters
from minibert.training import AdamW, Engine, Settings, train_masked_lm
from minibert.training.checkpoint import STATE, checkpoints
from minibert.training.history import read_history
from minibert.training.ranks import Ranks
from tests.laws.runs import PlainAdamW, changed, plain_run, recorded_generators
from tests.objectives.language import SENTENCES
from tests.optim.test_adamw import SPECS

BASE = Settings(steps=4, batch_size=4, learning_rate=1e-2, warmup=0.5, weight_decay=0.5, clip=0.3,
                seed=3, shards=2, tokenizer="t", data="d", evaluate_every=2, save_every=2,
                keep=2)  # fmt: skip
# A changed value of each field, and the observation that it decides.
CHANGES = {
    "steps": (5, "steps"),
    "batch_size": (5, "sizes"),
    "learning_rate": (2e-2, "rates"),
    "warmup": (0.0, "rates"),
    "weight_decay": (0.0, "weights"),
    "clip": (0.1, "weights"),
    "seed": (0, "losses"),
    "shards": (3, "shards"),
    "tokenizer": ("u", "stored"),
    "data": ("e", "stored"),
    "evaluate_every": (3, "evaluated"),
    "save_every": (3, "saved"),
    "keep": (1, "saved"),
}
FREE = {"tokenizer", "data", "evaluate_every", "save_every", "keep"}  # they decide no number
FIELDS = [field.name for field in dataclasses.fields(Settings)]


@pytest.fixture(scope="module")
def packed(tokenizer):
    return packed_texts(tokenizer)


def packed_texts(tokenizer):
    rng = np.random.default_rng(0)
    documents = [[str(text) for text in rng.choice(SENTENCES, 2)] for _ in range(9)]
    return pack(documents, tokenizer, 14)


def made(tokenizer):
    return BertForPreTraining(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=4, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=6, max_position_embeddings=14, initializer_range=0.3,
            hidden_dropout_prob=0.25,
        ),
        dtype=np.float64,
    )  # fmt: skip


def observed(settings, tokenizer, packed, folder):
    """Train with the settings; return what can be seen of the run."""
    model, rows, held_out = made(tokenizer), packed[:-3], packed[-3:]
    result = train_masked_lm(model, tokenizer, rows, held_out, settings, run=folder, threads=1)
    lines, saved = read_history(folder), checkpoints(folder)
    steps = [line for line in lines if "loss" in line]
    shards = MaskedLMAndNextSentence(model, tokenizer, rows, None, settings).shards(0)
    return {
        "steps": [line["step"] for line in steps],
        "rates": [line["rate"] for line in steps],
        "losses": [line["loss"] for line in steps],
        "norms": [line["norm"] for line in steps],
        "weights": model.params.vector.copy(),
        "evaluated": [line["step"] for line in lines if "held_out_loss" in line],
        "result": [result.figures()[name] for name in sorted(result.figures())],
        "saved": [int(path.name.removeprefix("checkpoint-")) for path in saved],
        "sizes": sum(len(batch["input_ids"]) for batch, _ in shards),
        "shards": len(shards),
        "stored": json.loads((saved[-1] / STATE).read_text())["settings"],
    }


@functools.cache
def numbers(settings, tokenizer):
    """Return what `plain_run` computes with the settings: its steps, weights and metrics."""
    packed = packed_texts(tokenizer)
    model, rows, held_out = made(tokenizer), packed[:-3], packed[-3:]
    objective = MaskedLMAndNextSentence(model, tokenizer, rows, held_out, settings)
    lines = plain_run(model, objective, settings)
    figures = objective.metrics().figures()
    return lines, model.params.vector, [figures[name] for name in sorted(figures)]


def expected(settings, tokenizer):
    """Return what `observed` should, by `plain_run`."""
    deciding = dataclasses.replace(settings, **{name: getattr(BASE, name) for name in FREE})
    lines, weights, result = numbers(deciding, tokenizer)
    every = {name: range(getattr(settings, name), settings.steps + 1, getattr(settings, name))
             for name in ("evaluate_every", "save_every")}  # fmt: skip
    last = [settings.steps]
    return {
        "steps": list(range(1, settings.steps + 1)),
        "rates": [line["rate"] for line in lines],
        "losses": [line["loss"] for line in lines],
        "norms": [line["norm"] for line in lines],
        "weights": weights,
        "evaluated": sorted({*every["evaluate_every"], *last}),
        "result": result,
        "saved": sorted({*every["save_every"], *last})[-settings.keep :],
        "sizes": settings.batch_size,
        "shards": settings.shards,
        "stored": dataclasses.asdict(settings),
    }


@pytest.fixture(scope="module")
def before(tokenizer, packed, tmp_path_factory):
    return observed(BASE, tokenizer, packed, tmp_path_factory.mktemp("base"))


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        if name == "stored":
            assert ours[name] == value
        else:
            np.testing.assert_allclose(ours[name], value, rtol=1e-8, atol=1e-10, err_msg=name)


def test_every_field_has_a_changed_value():
    assert list(CHANGES) == FIELDS


def test_a_run_follows_its_settings(tokenizer, packed, before):
    theirs = expected(BASE, tokenizer)
    assert_same(before, theirs)
    assert min(theirs["norms"]) > BASE.clip  # else clipping could not be seen


@pytest.mark.parametrize("name", FIELDS)
def test_a_run_follows_a_change_of_each_field(tokenizer, packed, before, name, tmp_path):
    value, decided = CHANGES[name]
    settings = changed(BASE, name, value)
    after = observed(settings, tokenizer, packed, tmp_path)
    assert_same(after, expected(settings, tokenizer))
    assert np.any(np.asarray(after[decided] != before[decided]))
    if name in FREE:
        np.testing.assert_array_equal(after["weights"], before["weights"])


@pytest.mark.parametrize("seed", [0, 3])
def test_every_generator_of_a_run_is_derived_from_its_seed(tokenizer, packed, seed):
    settings, model = changed(BASE, "seed", 9), made(tokenizer)
    settings = dataclasses.replace(settings, seed=seed)
    with recorded_generators() as seeds:
        train_masked_lm(model, tokenizer, packed[:-3], packed[-3:], settings)
    steps, shards = range(settings.steps), range(settings.shards)
    assert sorted(each for each in seeds if each[1] != "order") == sorted([
        (seed, "evaluation"),
        *((seed, purpose, step) for purpose in ("masking", "pairs") for step in steps),
        *((seed, "dropout", step, shard) for step in steps for shard in shards),
    ])  # fmt: skip
    epochs = [step * settings.batch_size // len(packed[:-3]) for step in steps]
    assert {each for each in seeds if each[1] == "order"} <= {
        (seed, "order", epoch) for epoch in range(epochs[-1] + 2)
    }


def test_each_purpose_of_the_seed_is_seen_in_the_batches(tokenizer, packed):
    rows = packed[:4]  # one batch is all of them, so order and masking are told apart

    def batches(seed):
        settings = dataclasses.replace(BASE, seed=seed, shards=1)
        objective = MaskedLMAndNextSentence(made(tokenizer), tokenizer, rows, rows, settings)
        ((batch, labels),) = objective.shards(0)
        masked = labels["labels"] != -100
        return {
            "order": np.where(masked, labels["labels"], batch["input_ids"])[:, 1:4],
            "masking": masked,
            "pairs": labels["next_sentence_label"],
            "evaluation": objective.held_out_labels,
        }

    several = [batches(seed) for seed in range(6)]
    for name in several[0]:
        assert len({each[name].tobytes() for each in several}) > 1, name


ADAMW = {  # values of each argument
    "betas": [(0.9, 0.999), (0.5, 0.999), (0.9, 0.9), (0.0, 0.0)],
    "eps": [1e-8, 0.5, 0.0],
    "weight_decay": [0.01, 0.0, 0.7],
    "rates": [None, {"a.weight": 0.25, "LayerNorm.bias": 3.0}, {"a.weight": 0.0}],
}


@pytest.mark.parametrize("name", ADAMW)
def test_each_argument_of_adamw_decides_the_weights(name):
    assert {"self", "params", *ADAMW} == set(inspect.signature(AdamW.__init__).parameters)
    seen = []
    for value in ADAMW[name]:
        ours, theirs, gradient = (Parameters(SPECS, dtype=np.float64) for _ in range(3))
        ours.vector[:] = theirs.vector[:] = np.random.default_rng(0).normal(size=ours.vector.size)
        optimizer, plain = AdamW(ours, **{name: value}), PlainAdamW(theirs, **{name: value})
        for step in range(3):
            gradient.vector[:] = np.random.default_rng(step + 1).normal(size=ours.vector.size)
            for each, grads in ((optimizer, gradient.vector), (plain, gradient)):
                each.update(grads, 0.1, 0.5)
        np.testing.assert_allclose(ours.vector, theirs.vector, rtol=1e-12)
        seen.append(ours.vector.tobytes())
    assert len(set(seen)) == len(seen)


class Meeting(ModelObjective):
    """An objective whose shards wait until a number of threads compute at the same time."""

    def __init__(self, model, threads):
        super().__init__(model)
        self.barrier, self.seen = threading.Barrier(threads), []

    def loss_and_grads(self, shard, extra, rng, grads, denominator):
        self.barrier.wait(timeout=20)
        self.seen.append(len(shard[0]["input_ids"]))
        return super().loss_and_grads(shard, extra, rng, grads, denominator)


class Second(Ranks):
    """The second of two ranks."""

    rank, size, neighbours = 1, 2, 2


def test_each_argument_of_engine_arrives(tokenizer, packed):
    """Clipping and the seed of the dropout: also in the runs above."""
    arguments = set(inspect.signature(Engine.__init__).parameters) - {"self"}
    assert arguments == {"model", "optimizer", "seed", "clip", "threads", "ranks", "objective"}
    settings = dataclasses.replace(BASE, shards=2)
    model = made(tokenizer)
    shards = MaskedLMAndNextSentence(model, tokenizer, packed, None, settings).shards(0)

    def stepped(**options):
        model = made(tokenizer)
        engine = Engine(model, AdamW(model.params), **{"threads": 1, **options})
        result = engine.step(shards, 1e-2)
        return engine, result, model.params.vector

    engine, result, weights = stepped()
    assert engine.optimizer.step == 1
    assert stepped(seed=1)[1].loss != result.loss
    clipped = stepped(clip=1e-9)
    assert clipped[1] == result
    assert (clipped[2] != weights).any()
    for threads in (1, 2):
        meeting = Meeting(made(tokenizer), threads)
        stepped(threads=threads, objective=meeting)
        assert len(meeting.seen) == len(shards)
    with pytest.raises(ValueError, match="threads: expected at least 1, got 0"):
        stepped(threads=0)
    own = Meeting(made(tokenizer), 1)
    stepped(ranks=Second(), objective=own)
    assert own.seen == [len(shards[1][0]["input_ids"])]


def test_settings_name_the_field_that_is_out_of_range():
    wrong = {
        **dict.fromkeys(["steps", "batch_size", "shards", "evaluate_every", "save_every", "keep"],
                        0),
        "learning_rate": 0.0, "clip": 0.0, "weight_decay": -1.0, "seed": -1, "warmup": 1.1,
    }  # fmt: skip
    assert {*wrong, "tokenizer", "data"} == set(FIELDS)
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=rf"^{name}: expected .*got {re.escape(str(value))}"):
            dataclasses.replace(BASE, **{name: value})
