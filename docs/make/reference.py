"""The reference of the Python names, from their docstrings and `examples/ROOM.md`.

A docstring may contain an example itself. `examples/ROOM.md` has those of the other names, each
below a heading with the name. The pages do not depend on the version of Python, because signatures
are unparsed from the source.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from docs.make import commands

FOLDER = Path(__file__).parents[1] / "reference"
EXAMPLES = Path(__file__).with_name("examples")
ROOMS = {  # page: what the room is for
    "minibert": "Models, tokenizer, feature extraction and estimators: the names most people need.",
    "minibert.models": "Configuration, task models and checkpoints.",
    "minibert.functional": "The mathematics: each forward with its backward.",
    "minibert.layers": "Layers with the interface `specs`, `forward`, `backward`.",
    "minibert.tokenization": "WordPiece, byte-level BPE and Unigram: learning, splitting, files.",
    "minibert.objectives": "What is trained: shards of each step, loss, evaluation.",
    "minibert.optim": "AdamW, Muon, clipping and schedules.",
    "minibert.training": "The engine, the loop, pre-training and fine-tuning.",
    "minibert.tasks": "Classification, regression and tagging: labels and metrics.",
    "minibert.inspection": "Activations, attention and gradients of one text.",
    "minibert.gradcheck": "Gradient checks of functions, layers, models and objectives.",
    "minibert.testing": "Hypothesis strategies and laws for tests.",
}  # fmt: skip
SECTION = re.compile(
    r"^(Args|Arguments|Attributes|Returns|Yields|Raises|Example|Examples|Note):\s*(.*)$"
)
ENTRY = re.compile(r"^([\w.*, /]+?)(?: \(([^)]*(?:\([^)]*\)[^)]*)*)\))?: (.*)$", re.DOTALL)
MAX_SIGNATURE = 88  # characters of one line


def pages() -> dict[str, str]:
    """Return the pages of the reference by file name (dict of str)."""
    found = {f"{room}.md": room_page(room) for room in ROOMS}
    return {"index.md": index_page(), "commands.md": commands.page(), **found}


def write() -> None:
    """Write the pages of the reference."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")


def index_page() -> str:
    """Return the page that lists all public names (str)."""
    lines = [
        "# Reference",
        "",
        "Generated from the docstrings and the parsers by `python -m docs.make`.",
        "",
    ]
    lines += ["- [Commands](commands.md): the command line."]
    lines += [f"- [`{room}`]({room}.md): {text}" for room, text in ROOMS.items()]
    lines += ["", "| name | content |", "|---|---|"]
    for room in ROOMS:
        for name, value in public(room):
            summary = docstring(value).partition("\n")[0].replace("|", "\\|")
            lines.append(f"| [`{room}.{name}`]({room}.md#{name.lower()}) | {summary} |")
    return "\n".join(lines) + "\n"


def public(room: str) -> list[tuple[str, Any]]:
    """Return the public names of a room and what they mean (list of pairs).

    A name of `minibert` itself is not repeated in the room that defines it.
    """
    module = import_module(room)
    repeated = set(import_module("minibert").__all__) if room != "minibert" else set()
    return [(name, getattr(module, name)) for name in sorted(set(module.__all__) - repeated)]


def examples(room: str) -> dict[str, str]:
    """Return the examples of a room by name (dict of str, Markdown)."""
    path = EXAMPLES / f"{room}.md"
    text = path.read_text("utf-8") if path.exists() else ""
    sections = (section.partition("\n") for section in text.split("\n## ")[1:])
    return {name.strip(): body.strip() for name, _, body in sections}


@cache
def documented() -> dict[Any, str]:
    """Return the link to each public class (dict)."""
    return {
        value: f"[`{name}`]({room}.md#{name.lower()})"
        for room in ROOMS
        for name, value in public(room)
        if inspect.isclass(value)
    }


def room_page(room: str) -> str:
    """Return the page of a room (str)."""
    module = import_module(room)
    parts = [f"# {room}", rendered(docstring(module))]
    shown = examples(room)
    for name, value in public(room):
        parts += [f"## {name}", *described(name, value)]
        if name in shown:
            parts += ["**Example**", shown[name]]
        for method_name, method in methods(value):
            parts += [f"### {name}.{method_name}", *described(method_name, method)]
    return "\n\n".join(part for part in parts if part) + "\n"


def methods(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the public methods of a class, without those that a public base class has, too."""
    bases = value.__mro__ if inspect.isclass(value) else ()
    public = [base for base in bases[1:] if base in documented()]
    elsewhere = {each for base in public for each in base.__mro__}
    own = [base for base in bases if base is value or base not in elsewhere]
    names = {name for base in own for name in vars(base) if base.__module__.startswith("minibert")}
    for name in sorted(names):
        member = getattr(value, name)
        if not isinstance(member, property):
            member = inspect.unwrap(getattr(member, "__func__", member))
        function = member.fget if isinstance(member, property) else member
        if name.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        if function.__name__ == name:  # otherwise it is another method's name
            yield name, member


def described(name: str, value: Any) -> Iterator[str]:
    """Yield the signature and the docstring of a function, property, class or constant."""
    function = value.fget if isinstance(value, property) else value
    if not (inspect.isfunction(function) or inspect.isclass(function)):
        yield f"```text\n{name}: {type(value).__name__}\n```"
        return
    yield f"```text\n{signature(name, value)}\n```"
    yield rendered(docstring(function))
    bases = value.__mro__[1:] if inspect.isclass(value) else ()
    if links := [documented()[base] for base in bases if base in documented()]:
        yield f"Further methods: see {', '.join(links)}."


def docstring(value: Any) -> str:
    """Return a docstring without indentation (str), "" for a constant."""
    has_one = inspect.isfunction(value) or inspect.isclass(value) or inspect.ismodule(value)
    return inspect.cleandoc(value.__doc__ or "") if has_one else ""


def signature(name: str, value: Any) -> str:
    """Return a call with types, defaults and result (str), an argument per line if it is long."""
    if isinstance(value, property):
        return f"{name}{result(tree_of(value.fget))}"
    init = inspect.isclass(value) and vars(value).get("__init__")
    if inspect.isclass(value) and (is_dataclass(value) or not inspect.isfunction(init)):
        arguments, after = fields(value), ""
    else:
        tree = tree_of(init or value)
        if tree.args.args and tree.args.args[0].arg in {"self", "cls"}:
            del tree.args.args[0]
        arguments = split_arguments(ast.unparse(tree.args))
        after = "" if init else result(tree)
    line = f"{name}({', '.join(arguments)}){after}"
    if len(line) <= MAX_SIGNATURE:
        return line
    inside = ",\n    ".join(arguments)
    return f"{name}(\n    {inside},\n){after}"


def tree_of(function: Any) -> ast.FunctionDef:
    """Return the definition of a function (ast.FunctionDef)."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except OSError:  # a strategy, which Hypothesis has made
        source = f"def _{inspect.signature(function)}: ..."
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.FunctionDef)
    return tree


def result(tree: ast.FunctionDef) -> str:
    """Return the arrow and the type of a function's result (str), "" without an annotation."""
    return f" -> {ast.unparse(tree.returns)}" if tree.returns else ""


def fields(value: type) -> list[str]:
    """Return the fields of a dataclass or NamedTuple, with types and defaults (list of str)."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    assert isinstance(tree, ast.ClassDef)
    return [ast.unparse(node) for node in tree.body if isinstance(node, ast.AnnAssign)]


def split_arguments(text: str) -> list[str]:
    """Split arguments at the commas that are not inside brackets (list of str).

    >>> split_arguments("a: dict[str, int], b=(1, 2)")
    ['a: dict[str, int]', 'b=(1, 2)']
    """
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    return [*parts, text[start:].strip()]


# Docstrings as Markdown.


def rendered(text: str) -> str:
    """Return a docstring as Markdown (str): sections as lists, formulas and examples as blocks."""
    parts: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.splitlines()
        found = SECTION.match(lines[0]) if lines else None
        if found and len(lines) > 1:
            parts += [f"**{found[1]}**", entries("\n".join(lines[1:]))]
        elif found and found[2]:
            parts += [f"**{found[1]}**: {' '.join([found[2], *lines[1:]])}"]
        elif lines and lines[0].lstrip().startswith(">>>"):
            parts.append(f"```pycon\n{textwrap.dedent(paragraph)}\n```")
        elif lines and all(line.startswith("    ") for line in lines):
            parts.append(f"```text\n{textwrap.dedent(paragraph)}\n```")
        else:
            parts.append(paragraph)
    return "\n\n".join(parts)


def entries(text: str) -> str:
    r"""Return the entries of a section as a Markdown list (str).

    >>> entries("    x (N, I): the rows,\n        in order.\n    dx, dy: gradients.")
    '- `x` (N, I): the rows, in order.\n- `dx`, `dy`: gradients.'
    """
    items: list[str] = []
    for line in textwrap.dedent(text).splitlines():
        if items and (line.startswith(" ") or not ENTRY.match(line)):
            items[-1] += f" {line.strip()}"
        else:
            items.append(line)
    return "\n".join(map(entry, items))


def entry(text: str) -> str:
    """Return one argument, result or error as a list item (str)."""
    found = ENTRY.match(text)
    if not found or " " in found[1].replace(", ", ""):
        return f"- {text}"
    names = ", ".join(f"`{name}`" for name in found[1].split(", "))
    kind = f" ({found[2]})" if found[2] else ""
    return f"- {names}{kind}: {found[3]}"
