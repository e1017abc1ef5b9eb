"""`minibert plot`."""

import sys

import pytest

from tests.cli.helpers import assert_refused, run


def test_plot_writes_svg_and_png_and_refuses_other_names(workspace, capsys):
    pytest.importorskip("matplotlib")
    for name in ("curves.svg", "curves.png"):
        assert run(["plot", workspace / "model", "--out", workspace / name]) == 0
        start = (workspace / name).read_bytes()[:60]
        assert b"<?xml" in start or b"PNG" in start
    assert_refused(capsys, ["plot", workspace / "model", "--out", "x.gif"], "ends in .svg or .png")
    assert_refused(capsys, ["plot", workspace / "tokenizer"], "history.jsonl: no such file")


def test_plot_names_the_extra_when_matplotlib_is_missing(workspace, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    needs = "minibert: drawing needs matplotlib: the extra minibert[plot]\n"
    assert run(["plot", workspace / "model"]) == 1
    assert capsys.readouterr().err == needs
