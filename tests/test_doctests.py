"""The doctests of the package and of the benchmarks pass."""

import doctest
import importlib
import pkgutil

import pytest

import minibert

MODULES = [
    module.name
    for module in pkgutil.walk_packages(minibert.__path__, "minibert.")
    if not module.name.endswith("__main__")  # its import runs the command line
]
MODULES += [
    "docs.make.pages",
    "docs.make.reference",
    "benchmarks.avx2",
    "benchmarks.harness",
    "benchmarks.stored",
]


@pytest.mark.parametrize("name", MODULES)
def test_the_doctests_of_a_module_pass(name, capsys):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0, capsys.readouterr().out


def test_some_modules_have_doctests():
    with_examples = [
        name
        for name in MODULES
        if any(
            test.examples for test in doctest.DocTestFinder().find(importlib.import_module(name))
        )
    ]
    assert {"minibert.parameters", "minibert.gradcheck", "minibert.testing.strategies"} <= set(
        with_examples
    )
