"""`benchmarks.strategies`: balanced samples, and runs that are stored and found again."""

import sys
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest

import minibert
from benchmarks import strategies
from benchmarks.harness import Missing
from benchmarks.records import Records
from benchmarks.strategies import Runs, sample, settings_of


class FakeWorker:
    """Counts its jobs; SetFit is not installed."""

    jobs: ClassVar = []
    ready, others = "package 1.0", 0.25

    def __init__(self, job, *arguments):
        side, _, size, seed, _, _ = arguments
        if side == "SetFit":
            raise Missing("No module named 'setfit'")
        self.jobs.append(arguments)
        self.found = {"accuracy": 0.5 + seed / 10, "cpu": float(size), "seconds": 2.0 * size}

    def round(self):
        return self.found

    def close(self):
        pass


@pytest.fixture
def worker(monkeypatch):
    """Replace the processes that train, and the model, which an extra contains."""
    tiny = Path(minibert.__file__).parent / "pretrained" / "tiny"
    monkeypatch.setattr(strategies, "minilm", lambda: tiny)
    monkeypatch.setattr(strategies, "Worker", FakeWorker)
    monkeypatch.setattr(strategies, "machine", lambda: "machine A")
    monkeypatch.setattr(FakeWorker, "jobs", [])
    return FakeWorker


def test_samples_are_balanced_and_others_for_each_seed():
    train, test = sample("questions", 16, 0)
    assert len(train) == 16
    assert set(Counter(train.labels).values()) == {2, 3}
    assert not set(train.texts) & set(test.texts)
    assert train.texts == sample("questions", 16, 0)[0].texts
    assert train.texts != sample("questions", 16, 1)[0].texts
    assert set(train.texts) < set(sample("questions", 50, 0)[0].texts)


def test_runs_are_stored_and_not_shared_between_sides_sets_sizes_seeds_and_recipes(
    tmp_path, worker, monkeypatch
):
    runs = Runs(Records(tmp_path / "runs.jsonl"), threads=1)
    first = runs.result("pairs", "questions", 16, 0)
    assert first == {"accuracy": 0.5, "cpu": 16.0, "seconds": 32.0}
    others = [("direct", "questions", 16, 0), ("pairs", "situations", 16, 0),
              ("pairs", "questions", 50, 0), ("pairs", "questions", 16, 1)]  # fmt: skip
    for count, what in enumerate(others, 2):
        runs.result(*what)
        assert len(worker.jobs) == count
    again = Runs(Records(tmp_path / "runs.jsonl"), threads=1, only_stored=True)
    assert again.result("pairs", "questions", 16, 0) == first
    assert again.result("TF-IDF", "questions", 16, 0) is None
    recipe = settings_of("pairs", 16)["recipe"]
    monkeypatch.setattr(
        strategies, "settings_of", lambda side, size: {"recipe": recipe | {"epochs": 1}}
    )
    assert again.result("pairs", "questions", 16, 0) is None
    assert len(worker.jobs) == 5


def test_report_has_the_spread_and_tells_what_is_missing(tmp_path, worker, monkeypatch, capsys):
    words = ["--runs", str(tmp_path / "runs.jsonl"), "--sizes", "16", "50", "--rounds", "2",
             "--sides", "pairs", "SetFit", "--sets", "questions"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["strategies", *words])
    strategies.main()
    first = capsys.readouterr().out
    assert "| 16 | pairs | 55.0% (50.0% to 60.0%), n = 2 |  |" in first
    assert "| 50 | pairs | 50 (50 to 50), n = 2 |  |" in first
    assert "| SetFit | left out: No module named 'setfit' |" in first
    assert "- machine A" in first
    assert len(worker.jobs) == 4
    monkeypatch.setattr(sys, "argv", ["strategies", *words, "--report"])
    strategies.main()
    second = capsys.readouterr().out
    assert len(worker.jobs) == 4
    assert second == first.replace("left out: No module named 'setfit'", "no runs")
