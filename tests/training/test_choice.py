"""The choice of a model for a text, a machine and a time."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertConfig
from minibert.inspection.estimate import TrainingStep, step_flops, total_parameters
from minibert.models.config import PRESETS
from minibert.training.choice import (
    LENGTHS,
    MANY_STEPS,
    MIN_BATCH,
    MIN_SEQUENCES,
    OCCURRENCES,
    PASSES,
    SIZES,
    TOKENS_PER_LENGTH,
    TOKENS_PER_PARAMETER,
    TextSize,
    choose,
    least_frequency,
    usual_length,
)
from minibert.training.recipes import RECIPES

RECIPE = RECIPES["2"]


def config(size, length=32):
    return BertConfig.preset(size, vocab_size=4096, max_position_embeddings=length)


@cache  # the models are the same in each example
def parameters(size):
    return total_parameters(config(size))


@cache
def flops_of(size, length, batch_size):
    return step_flops(TrainingStep(config(size, length), batch_size, length, 1))


def machine(flops):
    """Return the function of the seconds of a step on a machine with this number of FLOPs/s."""

    def seconds(size, length, batch_size):
        return flops_of(size, length, batch_size) / flops

    return seconds


def chosen(seconds, text, flops=1e10, **given):
    return choose(seconds, text, RECIPE, machine(flops), parameters, **given)


texts = st.builds(TextSize, st.integers(2, 10**9), st.integers(0, 1000))
times = st.floats(-10, 1e7)
speeds = st.floats(1e8, 1e13)


@given(times, times, texts, speeds)
def test_more_time_never_chooses_a_smaller_model(one, other, text, flops):
    before, after = (chosen(time, text, flops) for time in sorted((one, other)))
    assert SIZES.index(before.size) <= SIZES.index(after.size)
    assert before.length <= after.length


@given(st.floats(0, 1e7), texts, speeds, speeds)
def test_a_faster_machine_never_chooses_a_smaller_model(seconds, text, one, other):
    before, after = (chosen(seconds, text, flops) for flops in sorted((one, other)))
    assert SIZES.index(before.size) <= SIZES.index(after.size)
    assert before.length <= after.length


@given(times, texts, st.integers(0, 10**9), st.integers(0, 1000), speeds)
def test_more_text_never_chooses_a_smaller_model(seconds, text, more, longer, flops):
    other = TextSize(text.tokens + more, text.document_tokens + longer)
    before, after = chosen(seconds, text, flops), chosen(seconds, other, flops)
    assert SIZES.index(before.size) <= SIZES.index(after.size)
    assert before.length <= after.length


@given(times, texts, speeds)
def test_what_is_chosen_has_enough_time_and_text(seconds, text, flops):
    found = chosen(seconds, text, flops)
    assert found.size in SIZES
    assert found.length in LENGTHS
    own = RECIPE.batch_size * RECIPE.length // found.length
    assert own >= MIN_BATCH
    steps = seconds / machine(flops)(found.size, found.length, own)
    assert found.batch_size == own * (2 if steps >= MANY_STEPS else 1)

    def read(size):
        return seconds / machine(flops)(size, RECIPE.length, RECIPE.batch_size) * 2048

    if found.size != SIZES[0]:
        needed = TOKENS_PER_PARAMETER * parameters(found.size)
        assert read(found.size) >= needed
        assert text.tokens * PASSES >= needed
    if found.length > RECIPE.length:
        assert read(SIZES[0]) >= TOKENS_PER_LENGTH * found.length
        assert text.document_tokens >= found.length
        assert text.tokens >= MIN_SEQUENCES * found.length


@given(
    times,
    texts,
    st.none() | st.sampled_from(list(PRESETS)),
    st.none() | st.integers(3, 512),
    st.none() | st.integers(1, 500),
)
def test_what_is_given_stays_and_the_rest_has_a_reason(seconds, text, size, length, batch_size):
    given = {"size": size, "length": length, "batch_size": batch_size}
    found = chosen(seconds, text, **given)
    names = {"size": "size", "length": "length", "batch_size": "batch"}
    for name, value in given.items():
        assert value in (None, getattr(found, name))
        assert any(line.startswith(f"{names[name]}:") for line in found.reasons) == (value is None)


@pytest.mark.parametrize(
    ("hours", "tokens", "document_tokens", "expected"),
    [
        (0.001, 10**8, 500, ("tiny", 32, 64)),  # little time
        (100, 3000, 500, ("tiny", 32, 128)),  # little text
        (100, 10**8, 20, ("small", 32, 128)),  # short documents
        (100, 10**8, 70, ("small", 64, 64)),
        (100, 10**8, 500, ("small", 128, 32)),
        (100, PASSES**-1 * TOKENS_PER_PARAMETER * parameters("mini") + 1, 500, ("mini", 128, 32)),
    ],
)
def test_examples(hours, tokens, document_tokens, expected):
    assert chosen(3600 * hours, TextSize(int(tokens), document_tokens))[:3] == expected


def test_a_larger_size_is_not_measured_without_time_for_the_smaller_one():
    asked = []

    def step_seconds(size, length, batch_size):
        asked.append((size, length, batch_size))
        return machine(1e10)(size, length, batch_size)

    choose(60, TextSize(10**8, 500), RECIPE, step_seconds, parameters)
    assert set(asked) == {("tiny", 32, 64)}


def test_reasons_name_the_numbers():
    size, length, batch = chosen(60, TextSize(10**8, 500)).reasons
    needed = TOKENS_PER_PARAMETER * parameters("mini") / 1e6
    assert size.startswith("size: tiny; mini would read at most ")
    assert size.endswith(f"million tokens in this time, and needs {needed:.1f} million")
    assert length.startswith("length: 32 tokens; for 64, ")
    assert batch.startswith("batch: 64 sequences; there is time for ")
    assert batch.endswith(f" steps of 64, and a batch of 128 is chosen from {MANY_STEPS:,} on")
    size, length, batch = chosen(1e6, TextSize(1000, 40)).reasons
    assert size.endswith("million tokens, and this one has 1,000")
    assert length == "length: 32 tokens; half of the text is in documents shorter than 64"
    assert batch.endswith(f", and from {MANY_STEPS:,} on a run learns more with 128")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (MANY_STEPS - 0.4, "batch: 64 sequences; there is time for 499 steps of 64"),
        (MANY_STEPS + 0.4, "batch: 128 sequences; there is time for 500 steps of 64"),
    ],
)
def test_the_steps_of_a_reason_are_whole_ones(steps, expected):
    text = TextSize(10**8, 500)
    found = choose(steps, text, RECIPE, lambda *_: 1.0, parameters, size="tiny", length=32)
    assert found.reasons[0].startswith(expected)


@given(st.lists(st.integers(0, 50), max_size=30))
def test_half_of_the_tokens_are_in_documents_of_the_usual_length(lengths):
    usual, whole = usual_length(np.array(lengths, int)), sum(lengths)
    assert (usual == 0) == (whole == 0)
    assert 2 * sum(length for length in lengths if length >= usual) >= whole
    assert 2 * sum(length for length in lengths if length > usual) <= whole


@given(st.integers(1, 10**9), st.floats(1, 1e12), st.floats(0.001, 1))
def test_a_piece_occurs_often_in_the_text_and_in_what_is_read(characters, read, share):
    sampled = math.ceil(share * characters)
    least = least_frequency(characters, sampled, read)
    assert least >= 2
    in_text = least * characters / sampled
    assert in_text >= OCCURRENCES - characters / sampled / 2
    assert least_frequency(characters, sampled, 2 * read) <= least
    assert least_frequency(2 * characters, 2 * sampled, read) >= least
