"""The examples in the docstrings run, and give what they say."""

import doctest
import importlib
import pkgutil

import pytest

import minibert

MODULES = [
    module.name
    for module in pkgutil.walk_packages(minibert.__path__, "minibert.")
    if not module.name.endswith("__main__")  # importing that runs it
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name, capsys):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0, capsys.readouterr().out


def test_there_are_examples():
    with_examples = [
        name
        for name in MODULES
        if any(
            test.examples for test in doctest.DocTestFinder().find(importlib.import_module(name))
        )
    ]
    assert {"minibert.parameters", "minibert.gradcheck", "minibert.testing"} <= set(with_examples)
