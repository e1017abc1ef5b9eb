"""The gradient of a step, which knows what was added to it.

A gradient is as large as the model. To set all of it to zero, to add it to another, to find its
norm and to apply it takes a third of a step of sixteen short texts. Half of it is the table of word
embeddings, of which a batch reads some hundred rows; so rows without gradient are left out, and an
array is set to zero only if something is added to it before it is written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import Any, Literal, Self, TypeAlias, cast

import numpy as np
from numpy.typing import DTypeLike

from minibert.functional import Unwritten
from minibert.parameters import Parameters, Views
from minibert.specs import Joined, Layout
from minibert.typing import Array

# Numbers that are added at a time; as many as `optim.base.PIECE`, for the same reason.
PIECE = 262_144

SquareJob: TypeAlias = Callable[[], float]  # returns a sum of squares


class Sum:
    """One array of a gradient, and how much of it counts.

    Attributes:
        array: the memory.
        state: `empty`, nothing was added yet, and the array counts as zeros; `rows`, something was
            added to the rows `ids` alone; `whole`, all of the array counts.
        ids (n,): sorted and distinct.
        clean: whether the memory of what does not count is zero.
    """

    def __init__(self, array: Array, *, counts: bool):
        self.array, self.clean = array, True
        self.state: Literal["empty", "rows", "whole"] = "whole" if counts else "empty"
        self.ids: Array = np.empty(0, np.intp)

    def reset(self) -> None:
        """Let nothing count."""
        if self.state == "rows":
            self.array[self.ids] = 0
        elif self.state == "whole":
            self.clean = False
        self.state = "empty"

    def whole(self) -> Array:
        """Return the array to add to anywhere."""
        self.fill()
        self.state = "whole"
        return self.array

    def unwritten(self) -> Array:
        """Return the array to add products to."""
        if self.state != "empty":
            return self.whole()
        self.state = "whole"
        return self.array.view(Unwritten)

    def rows(self, ids: Array) -> Array:
        """Return the array to add to rows `ids`."""
        if self.state == "empty":
            self.fill()
            self.state, self.ids = "rows", np.unique(ids)
        elif self.state == "rows":
            self.ids = np.union1d(self.ids, ids)
        return self.array

    def fill(self) -> None:
        """Set the memory to zero if nothing counts."""
        if self.state == "empty" and not self.clean:
            self.array[...] = 0
            self.clean = True


class JoinedSum:
    """Adjacent arrays of a gradient as one array."""

    def __init__(self, array: Array, parts: Iterable[Sum]):
        self.array, self.parts = array, list(parts)

    def whole(self) -> Array:
        """Return the array to add to anywhere."""
        for part in self.parts:
            part.whole()
        return self.array

    def unwritten(self) -> Array:
        """Return the array to add products to."""
        if any(part.state != "empty" for part in self.parts):
            return self.whole()
        for part in self.parts:
            part.unwritten()
        return self.array.view(Unwritten)

    def rows(self, ids: Array) -> Array:
        """Return the array to add to rows `ids`."""
        return self.whole()


class GradientViews(Views):
    """Named sums in somebody else's memory. `grads[name]` can be added to, as in any `Views`."""

    _part_class = property(lambda self: GradientViews)

    def __contains__(self, name: object) -> bool:
        """Return whether there is an array called `name`."""
        return name in self._arrays or name in self._joined

    def __getitem__(self, name: str) -> Array:
        """Return the array called `name`; all of it counts from now on."""
        return self._sum(name).whole()

    def unwritten(self, name: str) -> Array:
        """Return the array called `name` to add products to by `functional.add_product`.

        It is `Unwritten` if nothing was added to it before.
        """
        return self._sum(name).unwritten()

    def rows(self, name: str, ids: Array) -> Array:
        """Return the array called `name`, of which only the rows `ids` are added to."""
        return self._sum(name).rows(ids)

    def _sum(self, name: str) -> "Sum | JoinedSum":
        return cast("Sum | JoinedSum", super().__getitem__(name))


class Gradients(GradientViews, Parameters):
    """The gradient of all parameters in one vector.

    It is a `Parameters`: `grads[name]` and `grads.vector` are arrays of which all counts. What was
    not added to is left out by `reset`, `add`, the norm and `AdamW`.

    >>> grads = Gradients({"table": (4, 2), "bias": (2,)})
    >>> grads.rows("table", np.array([3, 1]))[[3, 1]] += 1
    >>> grads["bias"][:] += 5
    >>> grads.nonzero_rows()["table"], [piece.tolist() for piece in grads.pieces()]
    (array([1, 3]), [[5.0, 5.0], [1.0, 1.0, 1.0, 1.0]])
    >>> grads.reset()
    >>> grads.vector
    array([0., 0., 0., 0., 0., 0., 0., 0., 0., 0.], dtype=float32)

    Args:
        layout: as for `Parameters`.
        vector (P,): memory, all of which counts; None: zeros.
        dtype: of the zeros.
    """

    def __init__(
        self, layout: Layout, vector: Array | None = None, *, dtype: DTypeLike = np.float32
    ):
        self._sums: dict[str, Sum] = {}
        super().__init__(layout, vector, dtype=dtype)
        counts = vector is not None
        sums = {name: Sum(array, counts=counts) for name, array in self._arrays.items()}
        joined: dict[str, Any] = {}
        for name, array in self._joined.items():
            spec = self.layout[name]
            assert isinstance(spec, Joined)
            joined[name] = JoinedSum(array, (sums[part] for part in spec.names))
        arrays: dict[str, Any] = dict(sums)
        self._arrays, self._joined, self._sums = arrays, joined, sums

    @property
    def vector(self) -> Array:
        """The whole gradient, (P,)."""
        for each in self._sums.values():
            each.whole()
        return self._vector

    @vector.setter
    def vector(self, numbers: Array) -> None:
        """Take the memory, once; then copy numbers (P,), which `+=` has already written."""
        if not self._sums:
            self._vector = numbers
        elif numbers is not self._vector:
            self.vector[...] = numbers

    def filled(self) -> Array:
        """Return the whole gradient (P,), to be read only."""
        for each in self._sums.values():
            each.fill()
        return self._vector

    def zeros_like(self) -> Self:
        """Return an empty gradient of the same layout and dtype."""
        return type(self)(self.layout, dtype=self._vector.dtype)

    def reset(self) -> None:
        """Let nothing count, which is as good as zeros."""
        for each in self._sums.values():
            each.reset()

    def nonzero_rows(self) -> dict[str, Array]:
        """Return for each array of which some rows alone were added to their sorted numbers."""
        return {name: each.ids for name, each in self._sums.items() if each.state == "rows"}

    def pieces(self) -> list[Array]:
        """Return everything that counts: parts of the vector, and copies of rows."""
        spans = self._spans(dict.fromkeys(self._sums, ""))
        rows = (each for each in self._sums.values() if each.state == "rows")
        copies = [each.array[each.ids].reshape(-1) for each in rows]  # (n, D) -> (n·D,)
        return [self._vector[part] for _, part in spans] + copies

    def addition(self, other: "Gradients | None") -> list[SquareJob]:
        """Begin to add another gradient; return the independent parts of what is left to do.

        Each part adds a piece, and returns the sum of the squares of the result, which is still in
        the cache. The parts do not depend on threads.

        Args:
            other: of the same layout; None: nothing is added, only the squares are asked for.
        """
        kinds = dict.fromkeys(self._sums, "")
        for name, mine in self._sums.items():
            theirs = None if other is None else other._sums[name]
            if theirs is None or theirs.state == "empty":
                continue
            if theirs.state == "rows":
                mine.rows(theirs.ids)[theirs.ids] += theirs.array[theirs.ids]
            elif mine.state == "empty":
                kinds[name] = "copy"
                mine.unwritten()
            else:
                kinds[name] = "add"
                mine.whole()
        source = self._vector if other is None else other._vector
        every: list[SquareJob] = [
            partial(_combine, kind, self._vector[part], source[part])
            for kind, part in self._spans(kinds)
        ]
        rows = (each for each in self._sums.values() if each.state == "rows")
        return every + [partial(_squares_of_rows, each.array, each.ids) for each in rows]

    def add(self, other: "Gradients") -> None:
        """Add another gradient of the same layout."""
        for job in self.addition(other):
            job()

    def _spans(self, kinds: Mapping[str, str]) -> Iterator[tuple[str, slice]]:
        """Yield the pieces of the arrays that count as a whole, and their kinds.

        Adjacent arrays of one kind are cut together, on a grid of `PIECE` numbers.
        """
        whole = {name: each.state == "whole" for name, each in self._sums.items()}
        for (counts, kind), names in groupby(self._sums, lambda name: (whole[name], kinds[name])):
            slices = [self.slices[name] for name in names]
            if counts:
                stop = slices[-1].stop
                for start in range(slices[0].start, stop, PIECE):
                    yield kind, slice(start, min(start + PIECE, stop))


def _combine(kind: str, total: Array, part: Array) -> float:
    """Add `part` to `total`, or copy it there; return the sum of the squares of the result."""
    if kind == "add":
        total += part
    elif kind == "copy":
        total[...] = part
    return _squares(total)


def _squares_of_rows(array: Array, ids: Array) -> float:
    return _squares(array[ids].reshape(-1))  # (n, D) -> (n·D,)


def _squares(vector: Array) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.dot(vector, vector))
