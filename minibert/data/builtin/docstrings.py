"""The documentation installed with Python and NumPy, read from the source files.

No module is imported or run: `ast` finds the docstrings and a few other documentation strings
(NumPy's `add_newdoc`, arguments named `doc`, the topics of Python's `help`). Modules that are not
installed are missing from the result.
"""

import ast
import contextlib
import importlib.util
import json
import platform
import sysconfig
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minibert.data.builtin.prose import paragraphs
from minibert.io.atomic import atomic_write
from minibert.io.cache import cache_folder, trim

CACHE_FORMAT = 1  # increase it when the same source files yield other documents
SKIPPED = {"test", "tests", "idle_test", "__pycache__"}  # in addition to non-identifiers

Root = tuple[str, Path]  # a package name ("" for none) and its folder of source files


@dataclass(frozen=True)
class Document:
    """The prose of one docstring: its location and its paragraphs, each on one line.

    `module` is the top-level module, without the underscore or ``_py`` of a pure-Python
    implementation (`_pydecimal` documents `decimal`); `name` is the full dotted name.
    """

    module: str
    name: str
    paragraphs: tuple[str, ...]


def read_documents(
    roots: Sequence[Root] | None = None, *, progress: bool = False, cache: bool = True
) -> list[Document]:
    """Return the documents of all roots, by file and line, without repeated paragraphs.

    The result is stored in the user's cache folder. It is read from there as long as the source
    files and their sizes are the same. An unreadable or unwritable cache is not an error.

    Args:
        roots: source folders; None means Python's standard library and NumPy.
        progress (bool): show a progress bar on stderr.
        cache (bool): use the cache.

    Raises:
        ValueError: no documentation is found.
    """
    roots = installed_roots() if roots is None else roots
    files = [found for root in roots for found in source_files(*root)]
    saved = cache_file(files) if cache else None
    documents = load(saved) if saved else None
    if documents is None:
        documents = drop_repeated(read_files(files, progress))
        if saved and documents:
            save(saved, documents)
    if not documents:
        folders = ", ".join(str(folder) for _, folder in roots)
        raise ValueError(f"found no documentation in the Python source files of {folders}")
    return documents


def installed_roots() -> list[Root]:
    """Return the roots of the running Python's standard library and NumPy."""
    numpy = importlib.util.find_spec("numpy")
    folders = (numpy and numpy.submodule_search_locations) or []
    return [
        ("", Path(sysconfig.get_paths()["stdlib"])),
        *(("numpy", Path(folder)) for folder in folders),
    ]


def source_files(package: str, folder: Path) -> list[tuple[str, Path]]:
    """Return the Python files below a folder with their dotted names, sorted by name.

    Test packages and folders that are not identifiers (`site-packages`) are skipped.
    """
    found = []
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        if all(part.isidentifier() and part not in SKIPPED for part in parts):
            names = [package, *parts] if package else list(parts)
            found.append((".".join(name for name in names if name != "__init__"), path))
    return sorted(found)


def read_files(files: Sequence[tuple[str, Path]], progress: bool = False) -> Iterator[Document]:
    """Yield the documents of source files; skip files that do not decode or parse."""
    from tqdm import tqdm  # imported here because it is slow to import

    for name, path in tqdm(files, "reading docstrings", unit="file", disable=not progress):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about invalid escapes in strings
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
    r"""Yield the dotted name and text of each documentation string of a node.

    >>> list(docstrings(ast.parse("class C:\n 'Hold.'\n def f(self): 'Let go.'"), "m"))
    [('m.C', 'Hold.'), ('m.C.f', 'Let go.')]
    """
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = ast.get_docstring(node)
        if docstring:
            yield name, docstring
    elif isinstance(node, ast.Call):
        yield from documentation_arguments(node, name)
    elif isinstance(node, ast.Assign):
        match node:
            case ast.Assign([ast.Name("topics")], ast.Dict(keys, values)):
                for key, value in zip(keys, values, strict=True):
                    match key, value:
                        case ast.Constant(str(topic)), ast.Constant(str(text)):
                            yield f"{name}.{topic}", text
    for child in ast.iter_child_nodes(node):
        yield from docstrings(child, f"{name}.{getattr(child, 'name', '')}".removesuffix("."))


def documentation_arguments(call: ast.Call, name: str) -> Iterator[tuple[str, str]]:
    """Yield the documentation passed to NumPy's `add_newdoc` or as an argument `doc`."""
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


def drop_repeated(documents: Iterable[Document]) -> list[Document]:
    """Return the documents without repeated paragraphs; drop documents left empty."""
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
    """Return the cache's path, keyed by its inputs; None without a cache folder."""
    try:
        folder = cache_folder()
    except OSError:
        return None
    listing = "\n".join(f"{name} {path.stat().st_size}" for name, path in files)
    key = f"{CACHE_FORMAT}-python{platform.python_version()}-numpy{np.__version__}"
    return folder / f"documents-{key}-{zlib.crc32(listing.encode()):08x}.json"


def load(path: Path) -> list[Document] | None:
    """Return the cached documents; None if the cache is missing or damaged."""
    try:
        with path.open(encoding="utf-8") as file:
            entries = json.load(file)
        return [Document(module, name, tuple(prose)) for module, name, prose in entries]
    except (OSError, ValueError, TypeError):
        return None


def save(path: Path, documents: Sequence[Document]) -> None:
    """Write documents to the cache; ignore an unwritable cache."""
    entries = [(document.module, document.name, document.paragraphs) for document in documents]
    with contextlib.suppress(OSError):
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(entries), encoding="utf-8")
        trim(path.parent, path)
