"""A mutation: a bug that is planted into the code, and the check that must fail."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from inspect import getattr_static
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest


class Place(NamedTuple):
    """A name by which the package finds a function: where a mutation is planted.

    Attributes:
        owner: a module or a class.
        name: of its attribute.
        key: of the item, if the attribute is a dictionary.
        part: index of the function, if the item is a tuple.
    """

    owner: Any
    name: str
    key: str | None = None
    part: int | None = None

    @property
    def module(self) -> str:
        """The name of the module (str)."""
        return self.owner.__name__ if isinstance(self.owner, ModuleType) else self.owner.__module__

    def read(self) -> Any:
        """Return the function, or the property."""
        value = getattr_static(self.owner, self.name)
        value = value if self.key is None else value[self.key]
        return value if self.part is None else value[self.part]

    def write(self, patch: pytest.MonkeyPatch, value: Any) -> None:
        """Replace it until the patch is undone."""
        if self.key is None:
            patch.setattr(self.owner, self.name, value)
            return
        items = getattr(self.owner, self.name)
        if self.part is not None:
            item = items[self.key]
            value = (*item[: self.part], value, *item[self.part + 1 :])
        patch.setitem(items, self.key, value)

    def places(self) -> list["Place"]:
        """Return the places in the package: this one."""
        return [self]

    def __str__(self) -> str:
        """Return the dotted name without `minibert`."""
        owner = "" if isinstance(self.owner, ModuleType) else f".{self.owner.__name__}"
        item = "" if self.key is None else f'["{self.key}"]'
        part = "" if self.part is None else f"[{self.part}]"
        return f"{self.module}{owner}.{self.name}{item}{part}".removeprefix("minibert.")


class Everywhere(NamedTuple):
    """A function under every name by which a module of the package or the tests finds it.

    Tables are searched too: dictionaries of functions or of tuples of functions.
    """

    function: FunctionType

    def places(self, *packages: str) -> list[Place]:
        """Return the places in modules of these packages; without any, in `minibert`."""
        prefixes = tuple(f"{package}." for package in packages or ("minibert",))
        modules = [
            module
            for path, module in sorted(sys.modules.items())
            if f"{path}.".startswith(prefixes) and not path.startswith("tests.mutations")
        ]
        return [place for module in modules for place in self._places_in(module)]

    def _places_in(self, module: ModuleType) -> Iterator[Place]:
        for name, value in list(vars(module).items()):
            if value is self.function:
                yield Place(module, name)
            if isinstance(value, dict) and not name.startswith("__"):
                for key, item in value.items():
                    if item is self.function:
                        yield Place(module, name, key)
                    for part, each in enumerate(item if isinstance(item, tuple) else ()):
                        if each is self.function:
                            yield Place(module, name, key, part)

    def write(self, patch: pytest.MonkeyPatch, value: Any) -> None:
        """Replace the function until the patch is undone, in the tests that import it too."""
        for place in self.places("minibert", "tests"):
            place.write(patch, value)

    def __str__(self) -> str:
        """Return the dotted name without `minibert`."""
        name = f"{self.function.__module__}.{self.function.__name__}"
        return name.removeprefix("minibert.")


class Mutation(NamedTuple):
    """A bug of the field.

    Attributes:
        name: of the bug.
        planted: the wrong functions by the places in which they are planted.
        check: passes on the code as it is and fails with the mutation.
    """

    name: str
    planted: dict[Place | Everywhere, Any]
    check: Callable[[], Any]

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        """Replace the right functions by the wrong ones until the patch is undone."""
        for place, wrong in self.planted.items():
            place.write(patch, wrong)


def mutation(
    name: str, place: Place | Everywhere, wrong: Any, check: Callable[[], Any]
) -> Mutation:
    """Return a mutation that is planted in one place."""
    return Mutation(name, {place: wrong}, check)


def count_calls(
    mutations: Iterable[Mutation], work: Callable[[], object]
) -> dict[Place | Everywhere, int]:
    """Return how often each place of the mutations is called while the work is done."""
    planted = {place for each in mutations for place in each.planted}
    single = {place for each in planted for place in each.places()}
    calls: Counter[Place] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for place, function in [(place, place.read()) for place in single]:
            place.write(patch, _counted(function, partial(calls.update, [place])))
        work()
    return {each: sum(calls[place] for place in each.places()) for each in planted}


def _counted(function: Any, count: Callable[[], object]) -> Any:
    """Return a function or a property that counts its calls."""
    if isinstance(function, property):
        return property(_counted(function.fget, count))

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        count()
        return function(*arguments, **options)

    return call
