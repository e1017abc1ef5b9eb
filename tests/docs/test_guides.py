"""The guides of `docs/guides/`: their commands parse, and they are short."""

import shlex
from pathlib import Path

import pytest

from docs.make import pages
from minibert.cli import build_parser

GUIDES = sorted((Path(__file__).parents[2] / "docs" / "guides").glob("*.md"))
MAX_LINES = 150  # of a guide


def commands(path):
    """Return the lines of a guide's shell blocks (list of str)."""
    found = [block for block in pages.blocks(path.read_text("utf-8")) if block.language == "sh"]
    return [line for block in found for line in block.text.splitlines()]


@pytest.mark.parametrize("command", [line for path in GUIDES for line in commands(path)])
def test_every_command_of_a_guide_parses(command):
    program, *arguments = shlex.split(command)
    assert program == "minibert"
    assert callable(build_parser().parse_args(arguments).command)


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_guides_are_short_and_contain_commands(path):
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES
    assert commands(path)
