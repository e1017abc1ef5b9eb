"""Behaviour of all commands: help pages, unexpected errors, import time."""

import ast
import logging
import random
import subprocess
import sys
from pathlib import Path

import pytest

import minibert
from minibert.cli import COMMANDS, build_parser, main
from tests.cli.helpers import assert_refused, run


def test_every_command_has_a_help_page_with_an_example(capsys):
    commands = next(a for a in build_parser()._actions if a.choices).choices
    known = """corpus train-tokenizer pretrain finetune evaluate predict answer demo fill-mask embed
        similar tokenize gradcheck exercises inspect plot estimate distill train-embeddings"""
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


def test_options_are_read_in_any_place_between_the_positional_arguments():
    """`predict M --as jsonl "text"` is read as `predict M "text" --as jsonl`, and so on."""
    rng = random.Random(0)
    examples = {
        "predict": (["M", "a text", "-5 degrees"], [["--as", "jsonl"], ["--text", "t"]]),
        "embed": (["M", "a text"], [["--normalize"], ["--pooling", "cls"], ["--out", "v.npy"]]),
        "tokenize": (["M", "one", "two"], [["--offsets"], ["--split-special-tokens"]]),
        "fill-mask": (["M", "a [MASK]", "b [MASK]"], [["--top", "2"]]),
        "similar": (["M", "a query", "one.txt", "two.txt"], [["--top", "2"], ["--pooling", "max"]]),
        "inspect": (["M", "a text"], [["--values"], ["--pair", "b"]]),
        "estimate": ([], [["--size", "mini"], ["--length", "9"]]),
        "pretrain": (["one.txt", "two.txt"], [["--out", "o"], ["--tokenizer", "t"], ["--resume"]]),
        "train-tokenizer": (["one.txt", "two.txt"], [["--out", "o"], ["--cased"]]),
        "finetune": (["rows.tsv"], [["--out", "o"], ["--seeds", "2"]]),
        "evaluate": (["M", "rows.tsv"], [["--pair", "p"], ["--text", "t"]]),
        "distill": (["M", "one.txt", "two.txt"], [["--out", "o"], ["--layers", "3"]]),
        "train-embeddings": (["a.tsv", "b.tsv"], [["--out", "o"], ["--model", "M"]]),
        "plot": (["run"], [["--out", "p.svg"]]),
    }
    for name, (places, options) in examples.items():
        usual = build_parser().parse_args([name, *places, *[word for o in options for word in o]])
        for _ in range(5):
            parts = [[place] for place in places]
            for option in options:
                parts.insert(rng.randrange(len(parts) + 1), option)
            words = [word for part in parts for word in part]
            assert build_parser().parse_args([name, *words]) == usual, words


def test_a_text_that_begins_with_a_dash_follows_two_dashes():
    parse = build_parser().parse_args
    assert parse(["predict", "M", "--as", "jsonl", "--", "-x", "--as"]).texts == ["-x", "--as"]
    options = build_parser().parse_args(["embed", "M", "--layers", "-2", "-1", "--", "a", "b"])
    assert (options.layers, options.texts) == ([-2, -1], ["a", "b"])


def test_unknown_options_and_texts_after_layers_are_refused_with_a_reason(capsys):
    for words, message in (
        (["predict", "M", "--bogus", "x"], "unrecognized arguments: --bogus"),
        (["embed", "M", "--layers", "-2", "x"], "got 'x'; a text comes before --layers, or after"),
        (["predict"], "the following arguments are required: model"),
        (["pretrain", "x"], "the following arguments are required: --out"),
    ):
        with pytest.raises(SystemExit) as leave:
            main(words)
        assert leave.value.code == 2
        assert message in capsys.readouterr().err


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit) as leave:
        main(["--version"])
    assert leave.value.code == 0
    assert capsys.readouterr().out == f"minibert {minibert.__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["tokenize", "--help"], ["tokenize", "--bogus"]])
def test_pages_and_errors_of_the_parser_have_no_colors(capsys, monkeypatch, words):
    """Python 3.14 writes some to a terminal; their escapes would be printed as text."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with pytest.raises(SystemExit):
        main(words)
    assert "x1b" not in "".join(capsys.readouterr())
    parser = build_parser()
    commands = next(each for each in parser._actions if each.choices).choices.values()
    assert {each.color for each in (parser, *commands)} == {False}


def test_the_log_of_a_command_whose_output_is_closed_is_dropped(workspace, capsys, monkeypatch):
    monkeypatch.setattr(
        "minibert.cli.tokenize.run", lambda _: logging.getLogger("minibert").info("a line")
    )
    monkeypatch.setattr(sys, "stdout", None)
    assert run(["tokenize", workspace / "tokenizer", "x"]) == 0
    assert capsys.readouterr().err == ""


def test_commands_without_a_model_import_no_models():
    code = (
        "import sys\n"
        "from minibert.cli import main\n"
        "try:\n"
        "    main(['exercises', '--help'])\n"
        "except SystemExit:\n"
        "    print('minibert.models' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_no_two_commands_declare_the_same_option():
    """What several commands have is declared once, in a function that they call."""
    declared = {}
    for file in sorted(Path(minibert.cli.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            words = [node.args, node.keywords] if isinstance(node, ast.Call) else [[]]
            if words[0] and str(getattr(words[0][0], "value", "")).startswith("--"):
                fixed = not any(isinstance(each, ast.JoinedStr) for each in ast.walk(node))
                key = ast.unparse(node).partition("(")[2]
                assert declared.setdefault(key, file.name) == file.name or not fixed, key
    assert len(declared) > 50


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
