"""Parameters: one flat vector, and a tree of named views into it.

A layer declares its parameters as `ParameterSpec`s. The optimizer, clipping and an all-reduce see
the vector, each as one loop over it; a layer sees the names in its own scope. Gradients are a
second `Parameters` of the same layout; those of a training step are `Gradients`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from minibert.specs import Joined, Layout, ParameterSpec, Spec, tree_lines
from minibert.typing import Array


class Views(Mapping[str, Array]):
    """Named arrays in somebody else's memory; writing to `views[name]` writes to that memory.

    Args:
        arrays: the parameters by name.
        joined: views of several adjacent parameters; found by name, but not iterated over.
        absent: names of parameters that are left out here; see `without`.
    """

    _part_class: Any = property(lambda self: Views)  # of scopes

    def __init__(
        self, arrays: Mapping[str, Array], joined: Mapping[str, Array], absent: Iterable[str] = ()
    ):
        self._arrays, self._joined, self._absent = dict(arrays), dict(joined), frozenset(absent)
        self._scopes: dict[str, Views] = {}

    def __getitem__(self, name: str) -> Array:
        """Return the array called `name`."""
        array = self._arrays.get(name)
        if array is None:
            array = self._joined.get(name)
        if array is None:
            raise KeyError(f"no parameter {name!r}; known: {', '.join(self._arrays)}")
        return array

    def __setitem__(self, name: str, value: Any) -> None:
        """Write `value` into the array called `name`, so that `grads[name] += ...` adds to it."""
        self[name][...] = value

    def unwritten(self, name: str) -> Array:
        """Return a gradient to add products to by `functional.add_product`; see `Gradients`."""
        return self[name]

    def rows(self, name: str, ids: Array) -> Array:
        """Return the gradient of a table, of which only the rows `ids` are added to."""
        return self[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order of the layout, without the joined views."""
        return iter(self._arrays)

    def __len__(self) -> int:
        """Return the number of parameters."""
        return len(self._arrays)

    def scope(self, prefix: str) -> "Views":
        """Return the views whose names begin with `prefix`, named without it.

        Raises:
            KeyError: no parameter begins with it.
        """
        if prefix not in self._scopes:
            arrays, joined = (
                {name.removeprefix(prefix): own for name, own in every.items()
                 if name.startswith(prefix)}
                for every in (self._arrays, self._joined)
            )  # fmt: skip
            absent = [n.removeprefix(prefix) for n in self._absent if n.startswith(prefix)]
            if not arrays and not absent:
                raise KeyError(f"no parameter begins with {prefix!r}; known: {', '.join(self)}")
            self._scopes[prefix] = self._part_class(arrays, joined, absent)
        return self._scopes[prefix]

    def without(self, names: Iterable[str]) -> "Views":
        """Return the views but those called `names`: gradients without the frozen parameters'."""
        absent = set(names)
        arrays = {name: own for name, own in self._arrays.items() if name not in absent}
        views: Views = self._part_class(arrays, self._joined, absent)
        return views

    def __repr__(self) -> str:
        """Return the tree of names with shapes and counts."""
        return "\n".join(tree_lines({name: array.shape for name, array in self.items()}))


class Parameters(Views):
    """Named arrays, adjacent in one vector.

    >>> params = Parameters({"dense.weight": (2, 3), "dense.bias": (2,)})
    >>> params["dense.bias"][:] = 7
    >>> params.vector
    array([0., 0., 0., 0., 0., 0., 7., 7.], dtype=float32)
    >>> params.scope("dense.")["bias"]
    array([7., 7.], dtype=float32)
    >>> print(params)
    dense                       8
      weight (2, 3)             6
      bias (2,)                 2

    Args:
        layout: a `ParameterSpec` or a shape for each parameter, in the order of the vector.
        vector (P,): the memory to name; None: zeros.
        dtype: of the zeros.

    Attributes:
        specs: the parameters' specs by name.
        shapes: their shapes.
        slices: their places in the vector.
        vector (P,): all of them.

    Raises:
        ValueError: the vector's length is not that of the layout, or parameters to be joined are
            not adjacent.
    """

    def __init__(
        self, layout: Layout, vector: Array | None = None, *, dtype: DTypeLike = np.float32
    ):
        specs = {n: ParameterSpec(s) if isinstance(s, tuple) else s for n, s in layout.items()}
        self.layout: dict[str, Spec] = specs
        self.specs = {n: s for n, s in specs.items() if isinstance(s, ParameterSpec)}
        self.shapes = {name: spec.shape for name, spec in self.specs.items()}
        size = sum(map(math.prod, self.shapes.values()))
        if vector is None:
            vector = np.zeros(size, dtype)
        if vector.shape != (size,):
            raise ValueError(f"vector: expected the shape ({size},), got {vector.shape}")
        self.vector: Array = vector
        self.slices: dict[str, slice] = {}
        start = 0
        for name, shape in self.shapes.items():
            self.slices[name] = slice(start, start + math.prod(shape))
            start = self.slices[name].stop
        arrays = {n: vector[self.slices[n]].reshape(shape) for n, shape in self.shapes.items()}
        joined = {n: self.fused(*s.names) for n, s in specs.items() if isinstance(s, Joined)}
        super().__init__(arrays, joined)

    def fused(self, *names: str) -> Array:
        """Return adjacent arrays as one view, stacked along their first axis, without a copy.

        Raises:
            ValueError: they are not adjacent in this order.
        """
        slices = [self.slices[name] for name in names]
        if any(left.stop != right.start for left, right in pairwise(slices)):
            raise ValueError(f"expected adjacent parameters, got {', '.join(names)}")
        rest = self.shapes[names[0]][1:]
        return self.vector[slices[0].start : slices[-1].stop].reshape(-1, *rest)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and deep-copy the layout and the vector; the views are made again."""
        return type(self), (self.layout, self.vector)

    def zeros_like(self) -> Self:
        """Return zeros of the same layout and dtype: room for gradients."""
        return type(self)(self.layout, dtype=self.vector.dtype)

    def astype(self, dtype: DTypeLike) -> Self:
        """Return a copy in another dtype."""
        return type(self)(self.layout, self.vector.astype(dtype))
