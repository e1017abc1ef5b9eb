"""Estimates: parameters and FLOPs are those that a model has and computes, memory is near it."""

import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from minibert import BertConfig, BertForMaskedLM, BertForSequenceClassification
from minibert.functional.families import disentangled
from minibert.inspection import estimate
from minibert.inspection.estimate import (
    TrainingStep,
    activation_bytes,
    count_parameters,
    forward_flops,
    make_model,
    memory_of,
    step_flops,
    time_step,
    total_parameters,
)
from minibert.models.table import family_class
from minibert.parameters import Parameters
from minibert.training import AdamW, Engine, split_batch

TOLERANCE = 0.15  # of the memory


SIZES = {"vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 3,
         "intermediate_size": 20, "max_position_embeddings": 16, "hidden_dropout_prob": 0.0,
         "attention_probs_dropout_prob": 0.0}  # fmt: skip


def config_of(**changes):
    return BertConfig(**SIZES | changes)


def batch_of(step):
    """Return random ids and labels, with as many masked tokens as a step has."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, step.config.vocab_size, (step.batch_size, step.length))
    if step.classes:
        return {"input_ids": ids}, rng.integers(0, step.classes, step.batch_size)
    labels = np.full(ids.shape, -100)
    labels[:, 1 : step.read + 1] = ids[:, 1 : step.read + 1]
    return {"input_ids": ids}, labels


# Parameters.


@pytest.mark.parametrize("positions", ["absolute", "sinusoidal"])
def test_parameters_are_counted_by_part(positions):
    config = config_of(position_embedding_type=positions)
    params = BertForMaskedLM(config).params
    counts = count_parameters(config)
    parts = {"embeddings": "bert.embeddings.", "block": "bert.encoder.layer.1.", "head": "cls."}
    for part, prefix in parts.items():
        own = [array.size for name, array in params.items() if name.startswith(prefix)]
        assert counts[part] == sum(own), part
    assert total_parameters(config) == params.vector.size
    classifier = BertForSequenceClassification(replace(config, id2label={0: "a", 1: "b", 2: "c"}))
    assert total_parameters(config, 3) == classifier.params.vector.size
    assert count_parameters(config, 3)["block"] == counts["block"]


FAMILIES = ["distilbert", "roberta", "electra", "mpnet", "albert", "deberta-v2", "modernbert"]
DISTANCES = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8}
# The width of the tables, which an ALBERT projects even from the width of the blocks; padding; and
# attention with distances, whose maps are its own.
OPTIONS = {
    "electra": {"embedding_size": 7}, "albert": {"embedding_size": 12},
    "deberta-v2": DISTANCES, "modernbert": {"pad_token_id": 0},
}  # fmt: skip
LAST = {"albert": "0.0"}  # the block of all layers


def of_family(family, **changes):
    """Return a configuration of a family, with 16 tokens at least."""
    own = {"max_position_embeddings": 18, **OPTIONS.get(family, {}), **changes}
    return family_class(family, "Config")(**SIZES | own)


@pytest.mark.parametrize(("family", "classes"), [(f, c) for f in FAMILIES for c in (0, 3)])
def test_parameters_and_flops_of_relatives_are_those_of_their_models(family, classes):
    config = of_family(family)
    model = make_model(config, classes, dtype=np.float64)
    assert total_parameters(config, classes) == model.params.vector.size
    counts = count_parameters(config, classes)
    last = f"bert.encoder.layer.{LAST.get(family, 2)}."
    own = [a.size for name, a in model.params.items() if name.startswith(last)]
    assert counts["block"] == sum(own)
    tables = [a.size for name, a in model.params.items() if name.startswith("bert.embeddings.")]
    assert counts["embeddings"] == sum(tables)
    step = TrainingStep(config, 4, 16, 1, classes=classes)
    model.params = Parameters(model.specs(), model.params.vector.view(Counted))
    Counted.products = 0
    model.loss_forward(*batch_of(step))
    forward, Counted.products = Counted.products, 0
    model.loss_and_grads(*batch_of(step))
    # Rotary positions make plain arrays of the queries and keys, whose products are not counted in
    # the forward.
    assert 2 * forward == forward_flops(step) or family == "modernbert"
    assert 2 * (Counted.products - forward) == step_flops(step) - forward_flops(step)


def test_flops_of_distances_are_those_of_their_blocks(monkeypatch):
    monkeypatch.setattr(disentangled, "BLOCK", 6)  # of 16 tokens
    test_parameters_and_flops_of_relatives_are_those_of_their_models("deberta-v2", 0)
    assert len(disentangled.distance_blocks(16)) == 3


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("albert", {"num_hidden_groups": 2}),
        ("modernbert", {"layer_types": ["sliding_attention"] * 2 + ["full_attention"]}),
    ],
)
def test_which_layers_share_or_have_a_wide_window_does_not_change_the_flops(family, changes):
    one, other = (TrainingStep(of_family(family, **c), 4, 16, 1) for c in ({}, changes))
    assert step_flops(one) == step_flops(other)


@pytest.mark.parametrize(
    ("classes", "changes"),
    [
        (0, {}),
        (3, {"classifier_pooling": "mean"}),
        (3, {"layer_types": ("sliding_attention",) * 3}),
    ],
)
def test_windows_spare_the_flops_of_far_pairs(classes, changes):
    """Of 40 tokens and a window of two on each side."""
    config = of_family("modernbert", max_position_embeddings=40, local_attention=4, **changes)
    step = TrainingStep(config, 4, 40, 1, classes=classes)
    full = replace(config, global_attn_every_n_layers=1, layer_types=None)
    assert step_flops(step) < 0.9 * step_flops(replace(step, config=full))
    assert memory_of(step).activations < memory_of(replace(step, config=full)).activations
    model = make_model(config, classes, dtype=np.float64)
    model.params = Parameters(model.specs(), model.params.vector.view(Counted))
    Counted.products = 0
    model.loss_forward(*batch_of(step))
    forward, Counted.products = Counted.products, 0
    model.loss_and_grads(*batch_of(step))
    assert 2 * (Counted.products - forward) == step_flops(step) - forward_flops(step)


# FLOPs.


class Counted(np.ndarray):
    """An array that counts the multiply-adds of the matrix products that it takes part in."""

    products = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [x.view(np.ndarray) if isinstance(x, np.ndarray) else x for x in inputs]
        if out is not None:
            options["out"] = tuple(x.view(np.ndarray) for x in out)
        result = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul and min(x.ndim for x in plain) > 1 and plain[1].shape[-1] > 1:
            # (..., n, m) @ (..., m, k): products with one column or vector are sums of rows.
            Counted.products += result.size * plain[0].shape[-1]
        if out is not None:
            return out[0]
        return result.view(Counted) if isinstance(result, np.ndarray) else result


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("layers", "length", "batch"), [(1, 16, 2), (3, 16, 4), (2, 5, 3)])
def test_flops_are_those_of_the_products_that_are_executed(
    layers, length, batch, checkpointing, classes
):
    config = config_of(num_hidden_layers=layers)
    step = TrainingStep(config, batch, length, 1, checkpointing=checkpointing, classes=classes)
    model = make_model(config, classes, dtype=np.float64)
    model.params = Parameters(model.specs(), model.params.vector.view(Counted))
    if checkpointing:
        model.gradient_checkpointing_enable()
    Counted.products = 0
    model.loss_forward(*batch_of(step))
    assert 2 * Counted.products == forward_flops(step)
    Counted.products = 0
    model.loss_and_grads(*batch_of(step))
    assert 2 * Counted.products == step_flops(step)


def test_flops_do_not_depend_on_shards_and_grow_with_the_batch():
    step = TrainingStep(config_of(), 8, 16, 1)
    assert step_flops(replace(step, shards=4, threads=3)) == step_flops(step)
    assert step_flops(replace(step, batch_size=16)) == 2 * step_flops(step)


# Memory.

STEPS = {
    "plain": TrainingStep(
        config_of(vocab_size=300, hidden_size=96, intermediate_size=384,
                  max_position_embeddings=64), 16, 64, 2),
    "wide vocabulary": TrainingStep(
        config_of(vocab_size=6000, hidden_size=48, intermediate_size=192,
                  max_position_embeddings=64), 24, 64, 2),
    "long": TrainingStep(
        config_of(vocab_size=300, hidden_size=48, intermediate_size=64,
                  max_position_embeddings=256), 4, 256, 1),
    "dropout": TrainingStep(
        config_of(vocab_size=300, hidden_size=96, intermediate_size=384, hidden_dropout_prob=0.1,
                  attention_probs_dropout_prob=0.1, max_position_embeddings=64), 16, 64, 2),
    "checkpointing": TrainingStep(
        config_of(vocab_size=300, hidden_size=96, intermediate_size=384, num_hidden_layers=6,
                  max_position_embeddings=64), 16, 64, 2, checkpointing=True),
    "classifier": TrainingStep(
        config_of(vocab_size=900, hidden_size=96, intermediate_size=384, hidden_dropout_prob=0.1,
                  attention_probs_dropout_prob=0.1, max_position_embeddings=64), 16, 64, 2,
        classes=3),
    **{
        family: TrainingStep(
            of_family(family, vocab_size=300, hidden_size=48, intermediate_size=64,
                      max_position_embeddings=258), 4, 256, 2)
        for family in FAMILIES
    },
    "deberta-v2, many heads": TrainingStep(
        of_family("deberta-v2", vocab_size=300, hidden_size=48, intermediate_size=64,
                  num_hidden_layers=1, num_attention_heads=12, max_position_embeddings=256),
        1, 256, 1),
    "deberta-v2, checkpointing": TrainingStep(
        of_family("deberta-v2", vocab_size=300, hidden_size=48, intermediate_size=64,
                  max_position_embeddings=128, pos_att_type=["p2c"], hidden_dropout_prob=0.1,
                  attention_probs_dropout_prob=0.1), 4, 128, 1, checkpointing=True, classes=3),
}  # fmt: skip


def peak_of(step, steps=2):
    """Return the peak of the memory that Python and NumPy allocate in some steps, in bytes."""
    batch, labels = batch_of(step)
    tracemalloc.start()
    try:
        model = make_model(step.config, step.classes)
        if step.checkpointing:
            model.gradient_checkpointing_enable()
        engine = Engine(model, AdamW(model.params), threads=step.threads)
        tracemalloc.reset_peak()  # drawing the weights does not count
        for _ in range(steps):
            engine.step(split_batch(batch, labels, step.shards), 1e-3)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", STEPS)
def test_memory_is_that_of_the_engine(name):
    """On one thread, because what several allocate at the same moment depends on their timing."""
    step = STEPS[name]
    memory = memory_of(step)
    peak = peak_of(step)
    assert memory.total == pytest.approx(peak, rel=TOLERANCE)
    vectors = memory.parameters + memory.gradients + memory.moments
    assert activation_bytes(step) == pytest.approx(peak - vectors, rel=TOLERANCE)


def test_memory_counts_the_shards_and_buffers_of_several_threads():
    step = TrainingStep(config_of(), 8, 16, 4)
    for threads, buffers, at_once in ((1, 2, 1), (2, 3, 2), (3, 4, 3), (4, 4, 4), (9, 4, 4)):
        memory = memory_of(replace(step, threads=threads))
        assert memory.buffers == buffers
        assert memory.gradients == buffers * memory.parameters
        assert memory.activations == at_once * activation_bytes(step)
    one = memory_of(replace(step, shards=1))
    assert (one.buffers, one.moments) == (1, 2 * one.parameters)


RESIDENT = """
import sys
from pathlib import Path
import numpy as np
from minibert import BertConfig, BertForMaskedLM
from minibert.inspection.estimate import TrainingStep, memory_of
from minibert.training import AdamW, Engine, split_batch

def status(field):
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text.split(field + ":")[1].split()[0])

size, batch, length, threads = sys.argv[1], *map(int, sys.argv[2:])
config = BertConfig.preset(size, vocab_size=30522, max_position_embeddings=length,
                           hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
step = TrainingStep(config, batch, length, 4, threads)
ids = np.random.default_rng(0).integers(5, 30522, (batch, length))
labels = np.full(ids.shape, -100)
labels[:, 1 : step.read + 1] = ids[:, 1 : step.read + 1]
before = status("VmRSS")
model = BertForMaskedLM(config)
engine = Engine(model, AdamW(model.params), threads=threads)
Path("/proc/self/clear_refs").write_text("5")  # drawing the weights does not count
for _ in range(3):
    engine.step(split_batch({"input_ids": ids}, labels, 4), 1e-3)
print(status("VmHWM") - before, memory_of(step).total)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("size", "batch", "length"), [("tiny", 64, 64), ("mini", 32, 128)])
@pytest.mark.parametrize("threads", [1, 2])
def test_memory_is_the_peak_of_resident_memory(size, batch, length, threads):
    words = [sys.executable, "-c", RESIDENT, size, str(batch), str(length), str(threads)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    resident, estimated = map(int, done.stdout.split())
    assert estimated == pytest.approx(resident, rel=TOLERANCE)


# Bad input.


def test_contradictory_steps_are_refused():
    config = config_of()
    for arguments, message in (
        ((4, 17, 2), r"length: expected from 3 to 16 tokens \(max_position_embeddings\), got 17"),
        ((4, 2, 2), "length: expected from 3 to 16"),
        ((4, 16, 5), "shards: expected at most the 4 sequences of a batch, got 5"),
        ((0, 16, 1), "batch_size: expected at least 1, got 0"),
        ((4, 16, 2, 0), "threads: expected at least 1, got 0"),
        ((4, 16, 2, 1, False, 1), "classes: expected at least 2, got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            TrainingStep(config, *arguments)


# Time.


@pytest.mark.parametrize("classes", [0, 3])
def test_a_small_step_is_measured_itself(classes):
    step = TrainingStep(config_of(), 4, 16, 2, 2, classes=classes)
    timing = time_step(step, budget=0.05)
    assert timing.measured is step
    assert 1 <= timing.steps <= estimate.MAX_STEPS
    assert timing.seconds > 0


def test_the_time_of_a_large_step_is_extrapolated_by_its_flops(monkeypatch):
    seen = []

    def measure(step, budget):
        seen.append(step)
        return [1.0, 3.0, 2.0]

    monkeypatch.setattr(estimate, "_measure", measure)
    config = BertConfig.preset("large", vocab_size=30522)
    step = TrainingStep(config, 64, 512, 4, 2, checkpointing=True)
    timing = time_step(step)
    (small,) = seen
    assert timing.measured is small
    assert timing.steps == 3
    assert timing.seconds == pytest.approx(2.0 * step_flops(step) / step_flops(small))
    assert small.config.num_hidden_layers == estimate.SMALL_LAYERS
    assert small.config.hidden_size == config.hidden_size
    assert (small.length, small.threads, small.checkpointing) == (512, 2, True)
    assert small.at_once == 2
    assert small.batch_size < 64


def test_a_large_step_with_a_shard_for_each_sequence_is_measured_on_fewer(monkeypatch):
    seen = []
    monkeypatch.setattr(estimate, "_measure", lambda step, budget: seen.append(step) or [1.0])
    time_step(TrainingStep(BertConfig.preset("base", vocab_size=8192), 64, 128, 64, 2))
    (small,) = seen
    assert (small.batch_size, small.shards, small.at_once) == (2, 2, 2)


@pytest.mark.parametrize(
    "changes", [{"classes": 10**8}, {"length": 10**6}, {"batch_size": 10**7, "shards": 10**5}]
)
def test_what_is_measured_needs_little_memory(monkeypatch, changes):
    seen = []
    monkeypatch.setattr(estimate, "_measure", lambda step, budget: seen.append(step) or [1.0])
    config = BertConfig.preset("tiny", vocab_size=8192, max_position_embeddings=10**6)
    step = replace(TrainingStep(config, 64, 32, 4, 2), **changes)
    timing = time_step(step)
    (small,) = seen
    assert memory_of(small).total <= estimate.MAX_MEMORY
    assert small.classes <= 1024
    assert timing.seconds == pytest.approx(step_flops(step) / step_flops(small))


def test_a_step_is_measured_itself_if_the_smaller_one_is_fast(monkeypatch):
    seen = []

    def measure(step, budget):
        seen.append(step)
        return [1e-6]

    monkeypatch.setattr(estimate, "_measure", measure)
    step = TrainingStep(BertConfig.preset("mini", vocab_size=30522), 32, 128, 4, 2)
    timing = time_step(step)
    assert len(seen) == 2
    assert timing.measured is seen[1] is step
    assert timing.seconds == 1e-6
