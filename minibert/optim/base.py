"""The optimizer's protocol, and helpers for optimizers that work on the flat vector."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

from minibert.parameters import Parameters
from minibert.runtime.threads import Team
from minibert.typing import Array

# An update is several passes over a piece of this many numbers. Smaller pieces fit better into a
# core's cache, but two threads then wait for the interpreter lock: they take 13.8 ms for an update
# of 10.9 million numbers, 18.2 in pieces of 65,536, and as long as one thread, 24, in half of that.
PIECE = 262_144

Job: TypeAlias = Callable[[], None]


@runtime_checkable
class Optimizer(Protocol):
    """Updates the parameters of a model from their gradient.

    The engine runs the jobs of an update on its threads, in any order. Checkpoints store the arrays
    of `state` and the class's name.

    If an optimizer has `takes_rows = True`, its `jobs` is also given `rows`, as that of `AdamW`.

    Attributes:
        step: the number of updates so far.
    """

    step: int

    def jobs(self, gradient: Array, rate: float, scale: float) -> Iterable[Job]:
        """Begin one update: add 1 to `step`, return its independent parts.

        The parts must not depend on the number of threads, or the bits would.

        Args:
            gradient (P,): the gradient of the loss.
            rate: the learning rate.
            scale: factor of the gradient, from clipping.
        """
        ...

    def state(self) -> dict[str, Array]:
        """Return the arrays that a resumed run needs, by name."""
        ...

    def load(self, state: Mapping[str, Array]) -> None:
        """Read the arrays that `state` returned.

        Raises:
            ValueError: an array is missing, unknown or of another shape or dtype; nothing changed.
        """
        ...


# (model, settings of the run): makes an optimizer.
OptimizerFactory: TypeAlias = Callable[[Any, Any], Optimizer]


def made_optimizer(optimizer: Optimizer | OptimizerFactory, model: Any, settings: Any) -> Optimizer:
    """Return an optimizer that is given as such or as a function that makes it.

    Raises:
        TypeError: it lacks a method of the protocol; the message names its class.
    """
    if isinstance(optimizer, type) or not isinstance(optimizer, Optimizer):
        if not callable(optimizer):
            raise TypeError(f"optimizer: expected step, jobs, state and load, or a function that "
                            f"makes an optimizer, got {type(optimizer).__name__}")  # fmt: skip
        optimizer = optimizer(model, settings)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer: expected step, jobs, state and load, got "
                        f"{type(optimizer).__name__}")  # fmt: skip
    return optimizer


class Piece(NamedTuple):
    """A part of the parameter vector with one learning rate.

    Attributes:
        where: the part.
        decays: whether weight decay applies.
        rate: factor of the learning rate.
    """

    where: slice
    decays: bool
    rate: float


def spans(
    params: Parameters, rates: Mapping[str, float], alone: Container[str] = ()
) -> Iterator[Piece]:
    """Yield the spans of the vector that learn, in order.

    Adjacent parameters with equal decay and rate are one span, except those in `alone`.

    Args:
        params: the parameters.
        rates: factors of the learning rate by parameter name; 1 where none is given. A parameter
            with the factor 0 is left out.
        alone: names of parameters that are spans of their own.
    """
    kinds = {
        name: (params.specs[name].decay, rates.get(name, 1.0), name if name in alone else "")
        for name in params
    }
    for (decay, rate, _), names in groupby(params, key=kinds.__getitem__):
        slices = [params.slices[name] for name in names]
        if rate:
            yield Piece(slice(slices[0].start, slices[-1].stop), decay, rate)


def pieces(whole: Iterable[Piece], width: int = 1) -> list[Piece]:
    """Cut spans into cache-sized pieces, on a grid that does not depend on threads.

    Args:
        whole: the spans.
        width: every piece is a multiple of this many numbers, the rows of a table.
    """
    step = max(PIECE // width, 1) * width
    return [
        Piece(slice(start, min(start + step, where.stop)), decay, rate)
        for where, decay, rate in whole
        for start in range(where.start, where.stop, step)
    ]


def run_jobs(jobs: Iterable[Job], threads: int) -> None:
    """Run the jobs of an update, `threads` of them at a time."""
    Team(threads).run_all(list(jobs))


def load_arrays(owner: object, places: Mapping[str, Array], state: Mapping[str, Array]) -> None:
    """Copy the arrays of a state into their places, all of them or none.

    Args:
        owner: the optimizer, named in messages.
        places: where to write, by name.
        state: what to write, by name.

    Raises:
        ValueError: an array is missing, unknown or of another shape or dtype.
    """
    kind = type(owner).__name__
    for name in [*places, *state]:
        expected, got = (_described(arrays.get(name)) for arrays in (places, state))
        if expected != got:
            raise ValueError(f"{name}: expected {expected} for {kind}, got {got}")
    for name, place in places.items():
        place[:] = state[name]


def _described(array: Array | None) -> str:
    return "no array" if array is None else f"{np.shape(array)} in {array.dtype}"
