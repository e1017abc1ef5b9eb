"""Parameters: one flat vector, and named views into it."""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import DTypeLike

Shapes = Mapping[str, tuple[int, ...]]


class Parameters(Mapping[str, np.ndarray]):
    """Named arrays that lie side by side in one vector.

    Who trains sees the vector: clipping, the optimizer and an all-reduce are each one loop over it.
    Who computes sees the names. Gradients are a second `Parameters` of the same layout.

    >>> params = Parameters({"dense.weight": (2, 3), "dense.bias": (2,)})
    >>> params["dense.bias"][:] = 7
    >>> params.vector
    array([0., 0., 0., 0., 0., 0., 7., 7.], dtype=float32)
    >>> params.scope("dense.")["bias"]
    array([7., 7.], dtype=float32)

    Args:
        shapes: the arrays' shapes by name, in the order in which they lie.
        vector: the memory to name, (P,) for P numbers in all; None: zeros.
        dtype: of the zeros.

    Raises:
        ValueError: the vector has another length than the shapes.
    """

    def __init__(
        self, shapes: Shapes, vector: np.ndarray | None = None, *, dtype: DTypeLike = np.float32
    ):
        size = sum(math.prod(shape) for shape in shapes.values())
        if vector is None:
            vector = np.zeros(size, dtype)
        if vector.shape != (size,):
            raise ValueError(f"vector: expected the shape ({size},), got {vector.shape}")
        self.shapes = dict(shapes)
        self.vector = vector
        self.slices: dict[str, slice] = {}
        self._views: dict[str, np.ndarray] = {}
        self._scopes: dict[str, Parameters] = {}
        start = 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            self.slices[name] = slice(start, stop)
            self._views[name] = vector[start:stop].reshape(shape)
            start = stop

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the array called `name`: a view, so writing to it writes to the vector."""
        return self._views[name]

    def __setitem__(self, name: str, value: np.ndarray) -> None:
        """Write `value` into the array called `name`, so that `grads[name] += ...` adds to it."""
        self._views[name][...] = value

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the order in which the arrays lie."""
        return iter(self._views)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self._views)

    def scope(self, prefix: str) -> "Parameters":
        """Return the arrays whose names begin with `prefix`, named without it, in the same memory.

        Raises:
            KeyError: no name begins so.
        """
        if prefix not in self._scopes:
            names = [name for name in self if name.startswith(prefix)]
            if not names:
                raise KeyError(prefix)
            shapes = {name.removeprefix(prefix): self.shapes[name] for name in names}
            span = self.vector[self.slices[names[0]].start : self.slices[names[-1]].stop]
            self._scopes[prefix] = Parameters(shapes, span)
        return self._scopes[prefix]

    def fused(self, *names: str) -> np.ndarray:
        """Return arrays that adjoin as one view, stacked along their first axis, without a copy.

        Raises:
            ValueError: they don't adjoin in this order.
        """
        slices = [self.slices[name] for name in names]
        if any(left.stop != right.start for left, right in pairwise(slices)):
            raise ValueError(f"these arrays do not adjoin: {', '.join(names)}")
        rest = self.shapes[names[0]][1:]
        return self.vector[slices[0].start : slices[-1].stop].reshape(-1, *rest)

    def __reduce__(self):
        """Go through pickle and `copy.deepcopy` as one vector, of which the views are made anew."""
        return type(self), (self.shapes, self.vector)

    def zeros_like(self) -> Self:
        """Return zeros of the same layout and dtype: room for gradients."""
        return type(self)(self.shapes, dtype=self.vector.dtype)

    def astype(self, dtype: DTypeLike) -> Self:
        """Return a copy in another dtype."""
        return type(self)(self.shapes, self.vector.astype(dtype))


def prefixed(prefix: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Put `prefix` before every name: how a part's shapes become a part of the whole's."""
    return {prefix + name: shape for name, shape in shapes.items()}
