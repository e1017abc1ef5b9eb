"""What the README shows works: every command parses and names what is there, every block runs."""

import re
import shlex
from pathlib import Path

import pytest

from minibert.cli import build_parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
SHELL = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    command for block in SHELL for line in block.splitlines() for command in line.split(" && ")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses_and_resolves(command):
    words = shlex.split(command)
    program = words[0].removeprefix(".venv/bin/")
    if program == "minibert":
        assert callable(build_parser().parse_args(words[1:]).command)
    elif program == "python3":
        assert words == ["python3", "-m", "venv", ".venv"]
    elif program in ("python", "python3"):
        assert (ROOT / words[1]).is_file()
    elif program == "pip":
        assert words[1] == "install"
        extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
        for extra in re.findall(r"\.\[(.*)\]", command):
            assert set(extra.split(",")) <= set(extras)
    else:
        assert words == [".venv/bin/pytest"]


@pytest.mark.parametrize("block", PYTHON)
def test_every_python_block_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    assert names.keys() > {"__name__", "__builtins__"}


def test_the_two_commands_come_first():
    assert "minibert demo" in COMMANDS[2]
    assert COMMANDS[5] == ".venv/bin/pytest"
    assert PYTHON


def test_every_file_of_the_reading_order_is_there_with_its_length():
    rows = re.findall(r"^\| `(minibert/[\w/.]+\.py)` \| (\d+) \|", README, re.M)
    assert len(rows) > 15
    for name, lines in rows:
        count = len((ROOT / name).read_text("utf-8").splitlines())
        assert abs(count - int(lines)) <= 3, (name, count)
