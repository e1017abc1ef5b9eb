"""Every test contains an assertion, so it can fail."""

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
FILES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("test_*.py"))
EXPECTS = ("raises", "warns", "fail", "find")  # of pytest, and of Hypothesis, which raises


def names_called(function):
    called = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    return {getattr(each, "attr", getattr(each, "id", "")) for each in called}


def expects_something(function, helpers):
    asserts = any(isinstance(node, ast.Assert) for node in ast.walk(function))
    called = names_called(function)
    return asserts or bool(called & {*EXPECTS, *helpers}) or any(
        name.startswith(("assert_", "check")) for name in called
    )  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_test_asserts_something(name):
    tree = ast.parse((FOLDER / name).read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    tests = [function for function in functions if function.name.startswith("test_")]
    others = [function for function in functions if function not in tests]
    helpers = {other.name for other in others if expects_something(other, ())}
    idle = [test.name for test in tests if not expects_something(test, helpers)]
    assert idle == []


def test_a_test_without_an_assertion_is_found():
    (idle,) = ast.parse("def test_it():\n    print(1 + 1)").body
    assert not expects_something(idle, ())
    assert expects_something(idle, {"print"})
