"""The field's real bugs, planted one at a time, and the check that must catch each by name.

A mutation that its check lets pass fails the test; so does a check that fails without a mutation,
and a mutation of a function that nothing executes. `benchmarks/results/mutations.md`, written by
`python -m tests.mutations.test_mutations`, lists which check catches which.
"""

from functools import cache
from pathlib import Path

import pytest

import minibert.functional
from tests.mutations import (
    data,
    deberta,
    distillation,
    embeddings,
    functional,
    layers,
    models,
    modern,
    optim,
    relatives,
    replaced_tokens,
    training,
)
from tests.mutations.checks import gradients
from tests.mutations.mutation import Mutation, Place, count_calls, mutation
from tests.mutations.runs import run_everything

ROOMS = (
    functional, layers, modern, relatives, deberta, models, embeddings, replaced_tokens,
    distillation, training, optim, data,
)  # fmt: skip
MUTATIONS = {each.name: each for room in ROOMS for each in room.MUTATIONS}
TABLE = Path(__file__).parents[2] / "benchmarks/results/mutations.md"
CAUGHT = (AssertionError, ExceptionGroup, pytest.fail.Exception)

# The mathematics in every run, the rest in the slow tests.
SLOW = {
    each.name for room in (models, distillation, training, optim, data) for each in room.MUTATIONS
}
each_mutation = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in MUTATIONS],
)


def test_every_mutation_has_a_name_of_its_own():
    assert len(MUTATIONS) == sum(len(room.MUTATIONS) for room in ROOMS)


def named(check):
    """Return the name of a check: of a gradient check, a test, or a function of `checks`."""
    return getattr(check, "what", f"`{check.__name__}`")


def table():
    """Return the mutations as a Markdown table: the bug, its places, and what catches it."""
    lines = [
        "# Bugs of the field, and the checks that catch them",
        "",
        "Written by `python -m tests.mutations.test_mutations`. The tests there plant each bug in",
        "the code, check that models, training or data execute this code, and fail if the check",
        "that is named passes.",
        "",
        "| bug | planted in | caught by |",
        "| --- | --- | --- |",
    ]
    for name, each in MUTATIONS.items():
        places = ", ".join(f"`{place}`" for place in each.planted)
        lines.append(f"| {name} | {places} | {named(each.check)} |")
    return "\n".join(lines) + "\n"


def test_the_stored_table_lists_the_mutations():
    assert TABLE.read_text("utf-8") == table()


# In the package's own namespace, where no layer looks it up: they import it by name.
UNUSED = Place(minibert.functional, "attention_forward")


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """Return how often each place of a mutation is called in small runs of everything."""
    unused = mutation("never executed", UNUSED, None, None)
    folder = tmp_path_factory.mktemp("runs")
    return count_calls([*MUTATIONS.values(), unused], lambda: run_everything(folder))


@each_mutation
def test_mutations_are_planted_in_code_that_is_executed(name, calls):
    for place in MUTATIONS[name].planted:
        assert place.places(), place
        assert all(each.module.startswith("minibert.") for each in place.places())
        assert calls[place] > 0, place


def test_count_calls_finds_no_call_of_a_name_that_nothing_uses(calls):
    assert calls[UNUSED] == 0


@cache
def passes(check):
    """Run a check on the code without mutation, once for all the mutations that it catches."""
    check()


@each_mutation
def test_the_mutation_is_caught(name, monkeypatch):
    own: Mutation = MUTATIONS[name]
    passes(own.check)
    own.plant(monkeypatch)
    with pytest.raises(CAUGHT):
        own.check()


@pytest.mark.parametrize(
    ("name", "blind"),
    [
        ("heads merged without the transpose", "Block, all rows, masked, dropout"),
        ("padding masked as queries instead of keys", "BertModel"),
        ("the class read from the last token", "BertForSequenceClassification"),
        ("query positions trimmed in every block", "BertForSequenceClassification, no padding"),
        ("frozen layers apply dropout", "BertForMaskedLM, one frozen block, dropout"),
    ],
)
def test_gradient_checks_do_not_catch_a_forward_and_backward_that_are_wrong_alike(
    name, blind, monkeypatch
):
    """So the properties are tested too."""
    MUTATIONS[name].plant(monkeypatch)
    results = gradients(blind)()
    assert results
    assert all(result.error < 1e-6 for result in results)


if __name__ == "__main__":
    TABLE.write_text(table(), "utf-8")
