"""Read Python files as text: lines of code, comments, strings and imports."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minibert"
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def python_files(folder: Path) -> list[Path]:
    """Return the Python files below a folder (list of paths), sorted."""
    return sorted(folder.rglob("*.py"))


def relative(path: Path) -> str:
    """Return a path from the root of the repository (str)."""
    return path.relative_to(ROOT).as_posix()


@lru_cache(maxsize=1)  # what follows reads one file after the other
def parsed(source: str) -> ast.Module:
    """Return the syntax tree of a source."""
    return ast.parse(source)


def docstring_node(node: ast.AST) -> ast.Constant | None:
    """Return the node of a docstring; None if there is none."""
    body = getattr(node, "body", None)
    if isinstance(node, ast.Module | DEFINITIONS) and body:
        first = body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            return first.value if isinstance(first.value.value, str) else None
    return None


def code_lines(source: str) -> set[int]:
    r"""Return the line numbers of code (set): no docstring, no comment, no blank line.

    >>> sorted(code_lines('def f():\n    "Doc."\n\n    # why\n    return 1  # here\n'))
    [1, 5]
    """
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(parsed(source)):
        docstring = docstring_node(node)
        if docstring is not None:
            lines -= set(range(docstring.lineno, docstring.end_lineno + 1))
    return lines


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield every function and class with its qualified name, nested ones too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, DEFINITIONS):
            yield prefix + node.name, node
            yield from definitions(node, f"{prefix}{node.name}.")
        elif not isinstance(node, ast.expr):  # an expression contains no definition
            yield from definitions(node, prefix)


def function_lengths(source: str) -> dict[str, int]:
    """Return the lines of code of each function (dict by qualified name)."""
    lines = code_lines(source)
    return {
        name: len(lines & set(range(node.lineno, node.end_lineno + 1)))
        for name, node in definitions(parsed(source))
        if isinstance(node, FUNCTIONS)
    }


@dataclass(frozen=True)
class Import:
    """One import.

    Attributes:
        line: its line number.
        module: the absolute name of the module or of the name in it.
    """

    line: int
    module: str


@cache  # several tests ask for the imports of the whole package
def imports(source: str) -> list[Import]:
    r"""Return all absolute imports (list), of modules and functions alike.

    `from a import b` is an import of `a.b`, because b may be a module.

    >>> [one.module for one in imports("import a.b\ndef f():\n    from c import d, e\n")]
    ['a.b', 'c.d', 'c.e']
    """
    found = []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            found += [Import(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            found += [Import(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return found


def collapsed(text: str) -> str:
    """Return a text in one line (str), with single spaces."""
    return " ".join(text.split())


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield each block of comments in one line, with its line number."""
    block: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if block and token.start[0] != last + 1:
            yield start, collapsed(" ".join(block))
            block = []
        if not block:
            start = token.start[0]
        block.append(token.string.lstrip("#: "))
        last = token.start[0]
    if block:
        yield start, collapsed(" ".join(block))


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Yield each docstring, message and other string in one line, with its line number."""
    nodes = list(ast.walk(parsed(source)))
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            values = [
                part.value if isinstance(part, ast.Constant) else "{}" for part in node.values
            ]
            yield node.lineno, collapsed("".join(map(str, values)))
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
        ):
            yield node.lineno, collapsed(node.value)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield everything in a file that is English, each in one line, with its line number.

    Of a Python file these are comments, strings and the names of functions and classes, as words;
    of any other file its paragraphs.
    """
    source = path.read_text("utf-8")
    if path.suffix != ".py":
        line = 1
        for paragraph in re.split(r"(\n\s*\n)", source):
            yield line, collapsed(paragraph)
            line += paragraph.count("\n")
        return
    yield from comments(source)
    yield from strings(source)
    for name, node in definitions(parsed(source)):
        yield node.lineno, name.split(".")[-1].replace("_", " ").strip()
