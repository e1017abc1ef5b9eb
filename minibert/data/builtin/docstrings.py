"""The documentation that installs with Python and NumPy, read from the source files.

Nothing is imported or run: `ast` finds the docstrings, and the few strings that document without
being one (NumPy's `add_newdoc`, arguments called `doc`, the topics of Python's `help`). What an
installation lacks is simply absent from the result.
"""

import ast
import contextlib
import importlib.util
import json
import platform
import sysconfig
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minibert.data.builtin.prose import paragraphs
from minibert.files import cache_folder, replacing

CACHE_FORMAT = 1  # raise it whenever the same source files give other documents
SKIPPED = {"test", "tests", "idle_test", "__pycache__"}  # besides whatever is no identifier

Root = tuple[str, Path]  # a folder of source files, and the package that it is ("" for none)


@dataclass(frozen=True)
class Document:
    """The prose of one docstring: where it stands, and its paragraphs, each on one line.

    `module` is the top-level module, without the underscore or ``_py`` that marks a pure-Python
    half (`_pydecimal` documents `decimal`); `name` is the full dotted name.
    """

    module: str
    name: str
    paragraphs: tuple[str, ...]


def read_documents(
    roots: Sequence[Root] | None = None, *, progress: bool = False, cache: bool = True
) -> list[Document]:
    """Return the documents of `roots`, in order of file and line; a paragraph occurs only once.

    The result is kept in the user's cache folder and read from there next time, as long as the
    list of source files with their sizes is the same. A cache that can't be read or written is
    no error.

    Args:
        roots: where to look; by default Python's standard library and NumPy.
        progress: show a bar on stderr.
        cache: whether to use the cache.

    Raises:
        ValueError: there is no documentation to be found.
    """
    roots = installed_roots() if roots is None else roots
    files = [found for root in roots for found in source_files(*root)]
    saved = cache_file(files) if cache else None
    documents = load(saved) if saved else None
    if documents is None:
        documents = distinct(read_files(files, progress))
        if saved and documents:
            save(saved, documents)
    if not documents:
        folders = ", ".join(str(folder) for _, folder in roots)
        raise ValueError(f"found no documentation in the Python source files of {folders}")
    return documents


def installed_roots() -> list[Root]:
    """Return the roots of the running Python's standard library and of its NumPy."""
    numpy = importlib.util.find_spec("numpy")
    folders = (numpy and numpy.submodule_search_locations) or []
    return [
        ("", Path(sysconfig.get_paths()["stdlib"])),
        *(("numpy", Path(folder)) for folder in folders),
    ]


def source_files(package: str, folder: Path) -> list[tuple[str, Path]]:
    """List the Python files below `folder` with their dotted names, sorted by name.

    Test packages are left out, and whatever can't be imported by name (`site-packages`).
    """
    found = []
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        if all(part.isidentifier() and part not in SKIPPED for part in parts):
            names = [package, *parts] if package else list(parts)
            found.append((".".join(name for name in names if name != "__init__"), path))
    return sorted(found)


def read_files(files: Sequence[tuple[str, Path]], progress: bool = False) -> Iterator[Document]:
    """Yield the documents of `files`; a file that doesn't decode or parse has none."""
    from tqdm import tqdm  # imported when used: it is slow to import

    for name, path in tqdm(files, "reading docstrings", unit="file", disable=not progress):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of invalid escapes in other people's strings
                tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        top = name.partition(".")[0]
        module = top.removeprefix("_py").strip("_") or top
        for full_name, docstring in docstrings(tree, name):
            prose = paragraphs(docstring)
            if prose:
                yield Document(module, full_name, tuple(prose))


def docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    r"""Yield the dotted name and the text of each documentation string in `node`, in order.

    >>> list(docstrings(ast.parse("class C:\n 'Hold.'\n def f(self): 'Let go.'"), "m"))
    [('m.C', 'Hold.'), ('m.C.f', 'Let go.')]
    """
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node)
        if docstring:
            yield name, docstring
    elif isinstance(node, ast.Call):
        yield from documenting_arguments(node, name)
    elif isinstance(node, ast.Assign):
        match node:
            case ast.Assign([ast.Name("topics")], ast.Dict(keys, values)):
                for key, value in zip(keys, values, strict=True):
                    match key, value:
                        case ast.Constant(str(topic)), ast.Constant(str(text)):
                            yield f"{name}.{topic}", text
    for child in ast.iter_child_nodes(node):
        yield from docstrings(child, f"{name}.{getattr(child, 'name', '')}".removesuffix("."))


def documenting_arguments(call: ast.Call, name: str) -> Iterator[tuple[str, str]]:
    """Yield what `call` documents, by NumPy's `add_newdoc` or an argument `doc`."""
    match call.func:
        case ast.Name("add_newdoc"):
            strings = [
                part.value
                for argument in call.args
                for part in ast.walk(argument)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
            if len(strings) > 2:
                yield ".".join(strings[:-1]), strings[-1]
        case _:
            for keyword in call.keywords:
                match keyword:
                    case ast.keyword("doc", ast.Constant(str(text))):
                        yield name, text


def distinct(documents: Iterator[Document]) -> list[Document]:
    """Keep only the first of equal paragraphs, and the documents that still have one."""
    seen: set[str] = set()
    kept = []
    for document in documents:
        prose = tuple(text for text in document.paragraphs if text not in seen)
        prose = tuple(dict.fromkeys(prose))
        seen.update(prose)
        if prose:
            kept.append(Document(document.module, document.name, prose))
    return kept


def cache_file(files: Sequence[tuple[str, Path]]) -> Path | None:
    """Return the cache's path, named after all that the result depends on; None if homeless."""
    folder = cache_folder()
    if folder is None:
        return None
    listing = "\n".join(f"{name} {path.stat().st_size}" for name, path in files)
    key = f"{CACHE_FORMAT}-python{platform.python_version()}-numpy{np.__version__}"
    return folder / f"documents-{key}-{zlib.crc32(listing.encode()):08x}.json"


def load(path: Path) -> list[Document] | None:
    """Read documents from the cache; None if they aren't there whole."""
    try:
        with path.open(encoding="utf-8") as file:
            rows = json.load(file)
        return [Document(module, name, tuple(prose)) for module, name, prose in rows]
    except (OSError, ValueError, TypeError):
        return None


def save(path: Path, documents: Sequence[Document]) -> None:
    """Write documents to the cache, if it can be written."""
    rows = [(document.module, document.name, document.paragraphs) for document in documents]
    with contextlib.suppress(OSError), replacing(path) as temporary:
        temporary.write_text(json.dumps(rows), encoding="utf-8")
