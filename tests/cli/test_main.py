"""Behaviour of all commands: help pages, unexpected errors, import time."""

import subprocess
import sys

import pytest

from minibert.cli import COMMANDS, build_parser, main
from tests.cli.helpers import assert_refused, run


def test_every_command_has_a_help_page_with_an_example(capsys):
    commands = next(a for a in build_parser()._actions if a.choices).choices
    known = """corpus train-tokenizer pretrain finetune evaluate predict demo fill-mask embed
        similar tokenize gradcheck inspect plot"""
    assert set(known.split()) == set(commands)
    for name in commands:
        with pytest.raises(SystemExit) as leave:
            main([name, "--help"])
        assert leave.value.code == 0
        page = capsys.readouterr().out
        assert f"example:\n  minibert {name}" in page
    with pytest.raises(SystemExit) as leave:
        main(["no-such-command"])
    assert leave.value.code == 2


def test_an_unexpected_error_prints_one_line_and_debug_shows_the_traceback(
    workspace, capsys, monkeypatch
):
    def fail(options):
        raise KeyError("what")

    monkeypatch.setattr("minibert.cli.tokenize.run", fail)
    assert_refused(
        capsys, ["tokenize", workspace / "tokenizer", "x"], "KeyError", "--debug", status=1
    )
    with pytest.raises(KeyError):
        run(["tokenize", workspace / "tokenizer", "x", "--debug"])


def test_a_missing_module_is_an_unexpected_error(workspace, capsys, monkeypatch):
    monkeypatch.setattr("minibert.cli.plot.run", lambda _: __import__("minibert.nothing"))
    assert_refused(
        capsys, ["plot", workspace / "model"], "ModuleNotFoundError", "--debug", status=1
    )


def test_import_minibert_loads_no_heavy_module_and_python_m_minibert_runs():
    code = (
        "import sys, minibert\n"
        "heavy = {'tqdm', 'torch', 'transformers', 'hypothesis', 'argparse', 'regex'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"
    done = subprocess.run(
        [sys.executable, "-m", "minibert", "tokenize", "no-such-folder", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("minibert: no-such-folder")


def test_help_imports_no_command():
    code = (
        "import sys\n"
        "from minibert.cli import COMMANDS, main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit:\n"
        "    print([module for module, _ in COMMANDS.values() if module in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in COMMANDS)
