"""`benchmarks.against_version`: its worker runs with other versions of the package."""

import ast
import inspect

import pytest

import minibert
from benchmarks import version_worker
from benchmarks.against_version import Result, compare
from benchmarks.harness import spread
from tests.style import imports

PUBLIC = {f"minibert.training.{name}" for name in ("AdamW", "Engine", "split_batch")}
OPTIONAL = {"minibert.training.defaults.default_shards"}  # version 1 lacks it


def test_the_worker_uses_only_names_that_all_versions_have():
    source = inspect.getsource(version_worker)
    modules = {one.module for one in imports(source) if one.module.startswith("minibert")}
    assert modules == {"minibert", *PUBLIC, *OPTIONAL}
    attributes = {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "minibert"
    }
    assert attributes - {"__file__"} <= {*minibert.__all__}
    assert "benchmarks" not in {one.module.split(".")[0] for one in imports(source)}


def test_compare_divides_the_results_of_each_round():
    here, there = [Result(30.0, 10, 2.0), Result(10.0, 10, 2.0)], [Result(10.0, 20, 2.0)] * 2
    row = compare("job", here, there)
    assert row[0] == "job"
    assert row[3] == spread([3.0, 1.0])
    assert row[6] == spread([0.5, 0.5])


def test_compare_refuses_versions_that_compute_something_else():
    with pytest.raises(ValueError, match="job: expected the first result"):
        compare("job", [Result(1, 1, 2.1)], [Result(1, 1, 2.0)])


def test_pretraining_job_trains_a_model(monkeypatch):
    monkeypatch.setattr(version_worker, "PRETRAINING", {"tiny": (2, 8)})
    run, units = version_worker.pretraining("tiny", 0.0)
    assert units == 16
    first = run()
    assert min(run() for _ in range(5)) < first
