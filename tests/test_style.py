"""The style of the repository: words, lengths of functions, order of imports, size of the core."""

import ast
import re

import pytest

from tests import style_todo
from tests.style import (
    DEFINITIONS,
    FUNCTIONS,
    PACKAGE,
    ROOT,
    code_lines,
    definitions,
    docstring_node,
    function_lengths,
    imports,
    prose,
    python_files,
    relative,
)

SOURCES = python_files(PACKAGE)

# Words. Each phrase with what to write instead.

NOUNS = "numbers?|floats?|texts?|files?|names?|objects?|tokens?|parameters?|gradients?"
PHRASES = {
    rf"(?<!there )\b(is|are|gives|be) no (such |floating-point )?({NOUNS})\b": "NaN; is not a",
    r", for (it|they|there|nothing|nobody) ": "because, since",
    r"\banew\b": "again; newly initialized",
    r"\byardsticks?\b": "baseline",
    r"\b(stands?|stood|standing) beside\b": "is next to",
    r"\bas (it comes|they come)\b": "by default, unchanged",
    r"\bto the bit\b": "bitwise",
    r"\bwhoever\b": "the caller, the user",
    r"\bwhat comes (in|out|home)\b": "the input, the output",
    r"\bso many\b(?!( \S+){1,3} that\b)": "n, the number of",
    r"\bdealt with\b": "consumed, handled, processed",
    r"\b(go|goes|going|went|gone) on with\b": "continue, resume",
    r"\bof its own accord\b": "automatically",
    r"\bby heart\b": "memorize",
    r"\b(comes?|way|road) home\b": "the backward pass",
    r"\bas (it|they) stands?\b": "unchanged",
    r"\btruth values?\b": "boolean, bool",
    r"\b(is|are|was|were) said of\b": "is predicted for",
    r"\b(prove|proves|proved|proven|proving|prover|proofs?)\b": "check, verify",
}
FIELDS = re.compile(r"yardstick_loss")  # stored in files of version 1


def english_files():
    """Return the files whose English is checked: code, tests, README and docs (list of paths)."""
    found = [*SOURCES, *python_files(ROOT / "tests"), *python_files(ROOT / "benchmarks")]
    found += [*python_files(ROOT / "examples"), *python_files(ROOT / "docs"), ROOT / "README.md"]
    found += (ROOT / "docs").rglob("*.md")
    # This file lists the phrases; the built-in corpus is data.
    own = {"tests/test_style.py"}
    return [
        path
        for path in found
        if relative(path) not in own and not relative(path).startswith("minibert/data/builtin/")
    ]


def phrases_in(path):
    """Return a line for each denied phrase in a file (list of str)."""
    return [
        f"{relative(path)}:{line}: {found[0]!r} in {text[max(found.start() - 30, 0):][:90]!r}; "
        f"write: {instead}"
        for line, text in prose(path)
        for english in [FIELDS.sub("", text)]
        for phrase, instead in PHRASES.items()
        for found in re.finditer(phrase, english, re.IGNORECASE)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [path for path in english_files() if relative(path) not in style_todo.WORDS],
    ids=relative,
)
def test_no_file_contains_a_denied_phrase(path):
    assert phrases_in(path) == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""Return what is no number."""', 1),
        ("x = 1  # skipped, for it\n# is empty", 1),
        ('f"{1}: expected a name, for {2} it"', 0),
        ('f"{1} is no "\\\n"float"', 1),
        ("def test_weights_drawn_anew(): pass", 1),
        ('"so many lines that it is slow, no file, there is no file, yardstick_loss"', 0),
        ("class Provable: improve = 1  # approve", 0),
    ],
)
def test_a_denied_phrase_is_found_in_comments_strings_and_names(
    source, count, tmp_path, monkeypatch
):
    monkeypatch.setattr("tests.style.ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text(source)
    assert len(phrases_in(path)) == count


# Lengths.

LONGEST = 60  # lines of code of a function; docstrings, comments and blank lines are not counted
LONG_BODY = 3  # lines; two functions may have the same shorter body


def test_no_function_has_more_than_sixty_lines_of_code():
    too_long = {
        f"{relative(path)}:{name}": length
        for path in SOURCES
        for name, length in function_lengths(path.read_text("utf-8")).items()
        if length > LONGEST
    }
    assert {name: n for name, n in too_long.items() if name not in style_todo.LONG} == {}


def bodies(path):
    """Yield the name of each function of a file, and the lines of its body (list of str).

    Without the docstring, and without the indentation of the function.
    """
    source = path.read_text("utf-8")
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[ast.get_docstring(node, clean=False) is not None :]
            if body:
                own = lines[body[0].lineno - 1 : body[-1].end_lineno]
                yield f"{relative(path)}:{node.name}", [line[node.col_offset :] for line in own]


def test_no_two_functions_have_the_same_body():
    """By hand everything is written again, and so are the files of the exercises."""
    places = {}
    for path in SOURCES:
        if not relative(path).startswith(("minibert/by_hand.py", "minibert/exercises/files/")):
            for name, body in bodies(path):
                if len(body) >= LONG_BODY:
                    places.setdefault("\n".join(body), []).append(name)
    assert len(places) > 1000
    assert [names for names in places.values() if len(names) > 1] == []


def test_function_lengths_count_code_only():
    body = '    """Doc.\n\n    More.\n    """\n\n    # why\n    x = (\n        1\n    )\n'
    source = f"class A:\n  def f():\n{body}    def g():\n        return x\n    return g\n"
    assert function_lengths(source) == {"A.f": 7, "A.f.g": 2}


# Imports.

ORDER = [
    {"typing"},
    {"runtime", "io"},
    {"functional"},
    {"specs"},
    {"parameters"},
    {"gradients"},
    {"layers"},
    {"models"},
    {"tokenization"},
    {"data"},
    {"inference"},
    {"tasks"},
    {"objectives", "optim"},
    {"training"},
    {"estimators"},
    {"inspection", "gradcheck", "testing"},
    {"exercises"},
    {"cli"},
]
RANKS = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
MOVED = {"kernels": "functional"}  # modules of version 1 that are being moved
TOP = {"__init__", "__main__", "by_hand"}  # may import every room


def room_of(module):
    """Return the room of a module of the package (str): `minibert.io.text` is in io."""
    name = module.split(".")[1]
    name = MOVED.get(name, name)
    return name if name in RANKS or name in TOP else "__init__"


def own_imports(path):
    """Return the names that a file imports from the package (list of str)."""
    found = [one.module for one in imports(path.read_text("utf-8"))]
    assert not any(module.startswith(".") for module in found), f"{path}: a relative import"
    return [module for module in found if module.startswith("minibert.")]


def room_imports():
    """Yield the file, its room, the imported name and its room, for each import between rooms."""
    for path in SOURCES:
        room = room_of("minibert." + path.relative_to(PACKAGE).with_suffix("").parts[0])
        for module in own_imports(path):
            if room_of(module) != room:
                yield relative(path), room, module, room_of(module)


def test_every_module_is_in_a_room():
    names = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in SOURCES}
    assert names <= {*RANKS, *TOP, *MOVED}


def test_imports_point_to_earlier_rooms():
    wrong = {
        f"{file} -> {module}"
        for file, room, module, other in room_imports()
        if room not in TOP and (other in TOP or RANKS[other] > RANKS[room])
    }
    assert wrong - style_todo.IMPORTS == set()


def test_rooms_of_the_same_rank_do_not_import_each_other_mutually():
    pairs = {(room, other) for _, room, _, other in room_imports() if {room, other} <= {*RANKS}}
    mutual = {pair for pair in pairs if pair[::-1] in pairs and RANKS[pair[0]] == RANKS[pair[1]]}
    assert mutual == set()


def test_modules_of_io_and_runtime_import_one_another_at_their_top():
    """An import inside a function hides a circle."""
    hidden = [
        f"{relative(path)}: {node.module}"
        for path in SOURCES
        if path.parent.name in ("io", "runtime")
        for function in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(function, FUNCTIONS)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("minibert")
    ]
    assert hidden == []


def test_each_exit_status_is_defined_once():
    found = [
        name
        for path in SOURCES
        for name in re.findall(r"\b(EXIT_\w+)(?=[\w, ]* = )", path.read_text("utf-8"))
    ]
    assert sorted(found) == ["EXIT_BAD_INPUT", "EXIT_FAILURE", "EXIT_INTERRUPTED"]


def test_no_module_imports_by_hand():
    importers = [file for file, _, module, _ in room_imports() if "by_hand" in module.split(".")]
    assert importers == []


def test_by_hand_imports_only_numpy_and_math():
    path = PACKAGE / "by_hand.py"
    if not path.exists():
        pytest.skip("not written yet")
    roots = {one.module.split(".")[0] for one in imports(path.read_text("utf-8"))}
    assert roots <= {"numpy", "math"}


def test_only_the_front_door_imports_for_type_checking():
    users = [
        relative(path)
        for path in SOURCES
        if any(one.module == "typing.TYPE_CHECKING" for one in imports(path.read_text("utf-8")))
    ]
    assert set(users) - style_todo.TYPE_CHECKING <= {"minibert/__init__.py"}


# The core: what a reader reads.

CORE = [
    "typing.py",
    "specs.py",
    "parameters.py",
    "functional/*.py",
    "layers/*.py",
    "models/base.py",
    "models/bert.py",
    "models/body.py",
    "models/task_model.py",
    "models/heads.py",
    "tokenization/normalizer.py",
    "tokenization/characters.py",
    "tokenization/vocabulary.py",
    "tokenization/matching.py",
    "data/masking.py",
    "training/engine.py",
    "training/ranks.py",
    "optim/adamw.py",
]
CORE_FILES = sorted({path for pattern in CORE for path in PACKAGE.glob(pattern)})
CORE_LINES = 3000
PERIPHERY = {"data", "inference", "tasks", "training", "estimators", "inspection", "testing"}
PERIPHERY |= {"exercises", "cli"}
ALLOWED = (
    "minibert.data.masking",
    "minibert.data.rng",
    "minibert.training.engine",
    "minibert.training.ranks",
)


def test_the_core_has_at_most_three_thousand_lines_of_code():
    counts = {relative(path): len(code_lines(path.read_text("utf-8"))) for path in CORE_FILES}
    assert sum(counts.values()) <= CORE_LINES, counts


def test_the_core_imports_nothing_from_the_periphery():
    wrong = {
        f"{relative(path)} -> {module}"
        for path in CORE_FILES
        for module in own_imports(path)
        if room_of(module) in PERIPHERY
        and not f"{module}.".startswith(tuple(f"{a}." for a in ALLOWED))
    }
    assert wrong - style_todo.CORE_IMPORTS == set()


def is_public(name):
    return all(not part.startswith("_") or part == "__init__" for part in name.split("."))


def missing_annotations(function):
    """Return the names of arguments without a type, and "return" (list of str)."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    without = [
        one.arg for one in named if one.annotation is None and one.arg not in ("self", "cls")
    ]
    if function.returns is None and function.name != "__init__":
        without.append("return")
    return without


def public_definitions(tree):
    """Yield the public functions and classes that are not local to a function."""
    for name, node in definitions(tree):
        parents = name.split(".")[:-1]
        functions = {n for n, other in definitions(tree) if isinstance(other, FUNCTIONS)}
        is_local = any(".".join(parents[: i + 1]) in functions for i in range(len(parents)))
        if isinstance(node, DEFINITIONS) and is_public(name) and not is_local:
            yield name, node


def undocumented(source):
    """Return the public functions and classes that lack a docstring or annotations (list)."""
    found = []
    for name, node in public_definitions(ast.parse(source)):
        if docstring_node(node) is None and not name.endswith("__init__"):
            found.append(f"{name}: docstring")
        if isinstance(node, FUNCTIONS):
            found += [f"{name}: annotation of {one}" for one in missing_annotations(node)]
    return found


@pytest.mark.parametrize("path", CORE_FILES, ids=relative)
def test_the_core_is_documented_and_annotated(path):
    if relative(path) in style_todo.ANNOTATIONS:
        pytest.skip("not annotated yet")
    assert undocumented(path.read_text("utf-8")) == []


def test_a_missing_docstring_and_a_missing_annotation_are_found():
    source = (
        "class A:\n    'Doc.'\n    def __init__(self, x): ...\n    def f(self, *y: int): 'Doc.'\n"
    )
    source += "def g(x: int) -> int:\n    def h(z): ...\n    return x\ndef _i(x): ...\n"
    assert undocumented(source) == [
        "A.__init__: annotation of x",
        "A.f: annotation of return",
        "g: docstring",
    ]
