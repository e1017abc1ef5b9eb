"""`benchmarks.replaced_tokens`: equal CPU time, stored runs, and differences of equal seeds."""

import pytest

from benchmarks import replaced_tokens
from benchmarks.recipe import Contest
from benchmarks.records import Records
from benchmarks.replaced_tokens import CANDIDATES, FIRST, TASKS, cost, result_of, row, run, steps_in
from tests.benchmarks.test_recipe import text  # noqa: F401

OTHER = "replaced tokens"


def test_minutes_become_steps_after_the_initialization():
    assert steps_in(2.0, 0.5, 20.0) == 200
    assert steps_in(0.1, 0.5, 20.0) == 1


def test_a_row_compares_equal_seeds():
    found = {
        FIRST: {seed: dict.fromkeys(TASKS, 0.5 + seed / 10) | {"held_out": "a"} for seed in (0, 1)},
        OTHER: {seed: dict.fromkeys(TASKS, 0.6) | {"held_out": "b"} for seed in (1, 2)},
    }
    steps, costs = {FIRST: 1200, OTHER: 900}, {FIRST: (0.1, 1.0), OTHER: (0.15, 1.0)}
    assert row(OTHER, found, steps, costs) == (
        OTHER, "900", "150.0", "2", *("60.0% (60.0% to 60.0%)", "+0.0 (+0.0 to +0.0) points") * 2,
        "b",
    )  # fmt: skip
    assert row(FIRST, found, steps, costs)[5] == ""


def test_stored_measurements_are_found_again_by_what_was_measured(text, tmp_path):  # noqa: F811
    contest = Contest(text, Records(tmp_path / "runs.jsonl"), 1, only_stored=True)
    seen = []

    def measured(what, name, job, *arguments):
        seen.append(what)
        return {"step": 0.1, "initialization": 2.0}

    contest.measured = measured
    costs = [cost(contest, name, "nano") for name in CANDIDATES]
    assert costs == [(0.1, 2.0)] * len(CANDIDATES)
    runs = [result_of(contest, name, "nano", 3, seed) for name in CANDIDATES for seed in (0, 1)]
    assert len(runs) == 2 * len(CANDIDATES)
    keys = [str(sorted(what.items())) for what in seen]
    assert len(set(keys)) == len(keys)


@pytest.mark.slow
@pytest.mark.parametrize("name", [FIRST, OTHER])
def test_a_run_gives_the_accuracies_of_both_tasks(text, name, monkeypatch):  # noqa: F811
    monkeypatch.setattr(replaced_tokens, "EVALUATED_ROWS", 8)
    job = run(CANDIDATES[name], "nano", text, 1, 2, 0, 8)
    assert next(job) is None
    found = next(job)
    assert all(0 <= found[task] <= 1 for task in TASKS)
    assert ("discriminator" in found["held_out"]) == (name == OTHER)
    assert found["figures"]["held_out_loss"] > 0
