"""The README and its continuation in `docs/`: commands, files, and the reading path."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

import minibert
from minibert import BertConfig, BertForMaskedLM
from minibert.cli import build_parser, main

ROOT = Path(__file__).parent.parent
PACKAGE = Path(minibert.__file__).parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
README = PAGES[0].read_text("utf-8")
READING = (DOCS / "reading.md").read_text("utf-8")
SHELL = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
README_LINES = 130
MAX_ROWS = 12  # of a table of "Read it"
MAX_MINUTES = 300  # "an afternoon"
MAX_DEPTH = 10  # of minibert's functions on the call stack; loss_and_grads is 1
MAX_LINES = 2200  # of all files that loss_and_grads executes


def commands(page):
    """Return the shell commands of a page, without pipes and redirection (list of str)."""
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [
        re.split(r" [|>] ?", command)[0].strip()
        for line in lines
        for command in line.partition("  #")[0].split(" && ")
        if command.strip() and not command.startswith("#")
    ]


COMMANDS = commands(README)
ALL_COMMANDS = sorted({one for page in PAGES for one in commands(page.read_text("utf-8"))})


def section(title, text=README):
    """Return the text of a section (str)."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def tables(text):
    """Return the tables of a text (list), each a list of rows, each a list of cells."""
    found = re.findall(r"^\|.*\|\n\|[-| ]+\|\n((?:\|.*\|\n)+)", text, re.MULTILINE)
    return [[row.strip("| ").split(" | ") for row in rows.splitlines()] for rows in found]


def named_files(text):
    """Return the Python files and folders that a text names in backticks (list of str).

    A name without a folder is in the folder of the name before it.

    >>> named_files("`minibert/data/rng.py`, `sampling.py`; `docs/`, `x.y`")
    ['minibert/data/rng.py', 'minibert/data/sampling.py', 'docs/']
    """
    found = []
    for name in re.findall(r"`([\w/.]+(?:\.py|/))`", text):
        is_alone = "/" not in name and found
        found.append(str(PurePosixPath(found[-1]).with_name(name)) if is_alone else name)
    return found


READING_PATH, (TRAINING, ROOMS) = tables(section("Read it"))[0], tables(READING)


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_every_command_parses_and_resolves(command):
    words = shlex.split(command)
    if words[0] == "mpiexec":
        words = words[words.index("minibert") :]
    program = words[0].removeprefix(".venv/bin/")
    if program == "minibert":
        assert callable(build_parser().parse_args(words[1:]).command)
    elif program == "python3":
        assert words == ["python3", "-m", "venv", ".venv"]
    elif program == "python":
        assert words[1] == "-m"
        assert importlib.util.find_spec(words[2]) is not None
    elif program == "pip":
        assert words[1] == "install"
        extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
        for extra in re.findall(r"\.\[(.*)\]", command):
            assert set(extra.split(",")) <= set(extras)
    else:
        assert program in {"pytest", "mkdocs", "head", "cat", "less"}


def test_the_readme_is_short():
    assert len(README.splitlines()) <= README_LINES


@pytest.mark.parametrize("block", PYTHON)
def test_every_python_block_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    assert names.keys() > {"__name__", "__builtins__"}


def test_the_two_commands_come_first():
    assert "minibert demo" in COMMANDS[2]
    assert COMMANDS[5] == ".venv/bin/pytest -n 2"
    assert len(PYTHON) == 1


def test_fill_mask_finds_the_tokens_that_the_readme_names(capsys):
    named = re.search(r"command finds `(\w+)` and `(\w+)` most probable", README).groups()
    main(shlex.split(COMMANDS[6])[1:])
    assert re.findall(r"(\w+) [\d.]+%", capsys.readouterr().out)[:2] == list(named)


def test_ci_finds_the_test_command():
    lines = re.findall(r"^python3 -m venv .*pytest -n 2$", README, re.MULTILINE)
    assert lines == [SHELL[1].strip()]


def test_every_module_after_python_m_exists():
    texts = [page.read_text("utf-8") for page in PAGES]
    modules = {name for text in texts for name in re.findall(r"python -m (\w[\w.]*\w)", text)}
    modules -= {"venv"}
    assert len(modules) > 5
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []


def test_every_file_named_exists():
    lines = [*README.splitlines(), *READING.splitlines()]
    names = [name for line in lines for name in named_files(line)]
    assert len(names) > 50
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_every_example_is_in_the_table_of_extensions():
    page = (DOCS / "guides" / "extend.md").read_text("utf-8")
    named = {name for row in tables(page)[0] for name in named_files(row[-1])}
    files = (ROOT / "examples").glob("*.py")
    assert named == {f"examples/{path.name}" for path in files if path.stem != "__init__"}


def test_every_measured_file_is_linked():
    pages = [(DOCS / f"{name}.md").read_text("utf-8") for name in ("performance", "trust")]
    linked = set(re.findall(r"\(\.\./benchmarks/results/([\w.]+)\)", "".join(pages)))
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    results = {path.name for path in (ROOT / "benchmarks" / "results").glob("*.md")}
    assert {name for name in results if Path(name).stem in scripts} <= linked


# The reading path.


def test_the_tables_of_files_are_short():
    assert READING_PATH[0][0] == "`minibert/by_hand.py`"
    assert max(map(len, (READING_PATH, TRAINING, ROOMS))) <= MAX_ROWS
    assert sum(int(minutes) for _, minutes, _ in READING_PATH) <= MAX_MINUTES


def test_every_room_is_in_a_table():
    rows = [*READING_PATH, *TRAINING, *ROOMS]
    named = {tuple(name.split("/"))[1] for row in rows for name in named_files(row[0])}
    parts = {path.name for path in PACKAGE.iterdir() if not path.name.startswith(("_", "."))}
    assert parts - {"py.typed", "typing.py", "pretrained"} <= named  # the last one is data


@pytest.fixture(scope="module")
def executed():
    """Return the lengths of the files that `loss_and_grads` executes (dict), and its depth."""
    config = BertConfig.preset("tiny", vocab_size=50, max_position_embeddings=16)
    model, rng = BertForMaskedLM(config), np.random.default_rng(0)
    ids = rng.integers(5, 50, (4, 16))
    mask = np.arange(16) < [[16], [12], [9], [16]]
    labels = np.where(mask & (rng.random(ids.shape) < 0.2), ids, -100)
    labels[:, 1] = ids[:, 1]
    files, depth, deepest = {}, 0, 0

    def note(frame, event, _):
        nonlocal depth, deepest
        path = Path(frame.f_code.co_filename)
        if event in ("call", "return") and path.is_relative_to(PACKAGE):
            files[f"minibert/{path.relative_to(PACKAGE).as_posix()}"] = path
            depth += 1 if event == "call" else -1
            deepest = max(deepest, depth)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        model.loss_and_grads({"input_ids": ids * mask, "attention_mask": mask * 1}, labels, rng)
    finally:
        sys.setprofile(before)
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in files.items()}
    return lines, deepest


def test_the_reading_path_covers_the_files_that_loss_and_grads_executes(executed):
    lines, _ = executed
    named = {name for row in READING_PATH for name in named_files(row[0])}
    assert len(lines) > 15
    assert lines.keys() <= named


def test_loss_and_grads_executes_few_lines_and_a_shallow_stack(executed):
    lines, deepest = executed
    assert 5 < deepest <= MAX_DEPTH
    assert sum(lines.values()) <= MAX_LINES, lines
