"""`python -m benchmarks`: new ratios are compared with stored ones; only a script can fail."""

import sys
from importlib import import_module

import pytest

from benchmarks import __main__ as program
from benchmarks.__main__ import compare, main
from benchmarks.catalogue import BENCHMARKS, Benchmark
from benchmarks.harness import table
from docs.make import figures
from docs.make.figures.speed import speed


def result(**medians):
    """Return a result with these ratios (str)."""
    lines = [(side, f"{ratio:.2f} (0.01 to 9.00)") for side, ratio in medians.items()]
    return table(("side", "minibert / side"), lines)


def test_compare_shows_both_ratios_and_whether_they_are_near():
    now = result(A=1.0, B=2.0, C=4.1, D=0.99, E=3.0)
    stored = result(A=2.0, B=1.0, C=2.0, D=2.0, F=1.0)
    assert list(compare(now, stored)) == [
        "A: now 1.00, stored 2.00, within a factor of 2",
        "B: now 2.00, stored 1.00, within a factor of 2",
        "C: now 4.10, stored 2.00, NOT WITHIN a factor of 2",
        "D: now 0.99, stored 2.00, NOT WITHIN a factor of 2",
        "E: now 3.00, stored nothing",
    ]
    assert next(compare(now, None)) == "A: now 1.00, stored nothing"


def test_command_of_a_quick_run():
    benchmark = Benchmark("a", "--b 1", "--c 2", "d")
    assert benchmark.command() == ["-m", "benchmarks.d", "--b", "1", "--c", "2", "--quick"]
    assert benchmark.command(is_quick=False) == ["-m", "benchmarks.d", "--b", "1"]
    assert Benchmark("a").command() == ["-m", "benchmarks.a", "--quick"]


@pytest.mark.parity  # some scripts import PyTorch
@pytest.mark.parametrize("module", sorted({one.module or one.name for one in BENCHMARKS}))
def test_every_script_prints_its_help(module, monkeypatch, capsys):
    """`argparse` formats the help texts, in which a percent sign must be doubled."""
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as end:
        import_module(f"benchmarks.{module}").main()
    assert end.value.code == 0
    assert "--quick" in capsys.readouterr().out


class Script(Benchmark):
    """A benchmark whose script is given as code."""

    def command(self, is_quick=True):
        return ["-c", self.arguments]


@pytest.fixture
def scripts(monkeypatch):
    """Replace all benchmarks."""
    good = Script("good", f"print({result(A=1.0)!r})")
    bad = Script("bad", "print('half'); raise SystemExit('broken')")
    monkeypatch.setattr(program, "BENCHMARKS", [good, bad])
    monkeypatch.setattr(program, "stored_result", lambda name: result(A=8.0))


def test_a_changed_ratio_does_not_fail(scripts, capsys):
    assert main(["--only", "good"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("== python -c")
    assert lines[1] == "good A: now 1.00, stored 8.00, NOT WITHIN a factor of 2"
    assert lines[2].startswith("good ran in ")


def test_a_script_that_fails_is_shown_and_named(scripts, capsys):
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "half" in out
    assert "broken" in out
    assert "bad failed with exit status 1" in out
    assert out.splitlines()[-1] == "failed: bad"


def test_store_replaces_the_result_of_a_script_that_ran(scripts, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "path_of", lambda name: tmp_path / name)
    assert main(["--only", "good"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert main(["--store"]) == 1
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"good": result(A=1.0)}


def test_an_unknown_name_is_refused(scripts, capsys):
    with pytest.raises(SystemExit):
        main(["--only", "other"])
    assert "'other'" in capsys.readouterr().err


def test_chart_writes_the_file_and_runs_nothing(scripts, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "executable", "nothing")
    assert main(["--chart"]) == 0
    assert (tmp_path / "speed.svg").read_text("utf-8") == speed()
