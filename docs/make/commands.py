"""The manual of the command line, from the parsers.

Options are read from the parsers and not from their formatted help, which depends on the version of
Python and on the width of the terminal.
"""

import argparse
import textwrap
from collections.abc import Iterator
from importlib import import_module

from minibert.cli import COMMANDS, build_parser


def page() -> str:
    """Return the manual (str)."""
    lines = ["# Commands", "", "Generated from the parsers: `minibert COMMAND --help` prints it."]
    lines += ["Every command takes `--debug`, which shows a traceback on errors.", ""]
    lines += [f"- [`{name}`](#minibert-{name}): {text}" for name, (_, text) in COMMANDS.items()]
    for name, (module_name, summary) in COMMANDS.items():
        module = import_module(module_name)
        description = textwrap.dedent(module.DESCRIPTION).strip()
        lines += ["", f"## minibert {name}", "", summary, *(["", description] * bool(description))]
        lines += ["", *arguments(name), "", "```sh", textwrap.dedent(module.EXAMPLE), "```"]
    return "\n".join(lines) + "\n"


def arguments(command: str) -> Iterator[str]:
    """Yield the lines of the table of a command's arguments."""
    commands = next(
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    parser = commands.choices[command]
    parser.load()
    yield "| argument | meaning |"
    yield "|---|---|"
    for action in parser._actions:
        if action.dest not in {"help", "debug"} and action.help not in {None, argparse.SUPPRESS}:
            words = " ".join((action.help % vars(action)).split()).replace("|", "\\|")
            yield f"| {written(action)} | {words} |"


def written(action: argparse.Action) -> str:
    """Return how an argument is written on the command line (str), in Markdown."""
    if action.nargs == 0:
        value = ""
    elif action.choices:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    elif isinstance(action.metavar, tuple):
        value = " ".join(action.metavar)
    else:
        value = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    value += " …" * (action.nargs in {"+", "*"})
    words = f"{', '.join(action.option_strings)} {value}".strip()
    return f"`{words}`"
