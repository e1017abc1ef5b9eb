"""One gradient beside the forward's slopes: what is tried, and where they disagree most."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minibert.gradcheck.blind import look_at_gradient
from minibert.gradcheck.slopes import (
    ONE_SIDED,
    STENCIL,
    by_complex_step,
    by_differences,
    step,
)

EPS = float(np.finfo(np.float64).eps)
FLOOR = 1e-3  # of an array's largest gradient: what is smaller is measured by that


@dataclass(frozen=True)
class Row:
    """The worst disagreement found in one array.

    Attributes:
        name: of the array.
        index: of the element; None where a random direction through the whole array was worst.
        analytic: what the backward says.
        numeric: what the forward's values say.
        error: |a - n| / max(|a|, |n|, 1e-3 · the array's largest |gradient|), or for a gradient
            that is provably zero max(|a|, |n|) itself.
        tolerance: the largest error that passes.
        halved: for what fails, `numeric` with half the step, to one side; None: not tried.
    """

    name: str
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    tolerance: float
    halved: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; one that is not a number is not."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        """Name the array, the element, both values and the error."""
        where = "a random direction" if self.index is None else list(self.index)
        text = (
            f"{self.name} at {where}: analytic {self.analytic:.10g}, numeric {self.numeric:.10g}, "
            f"error {self.error:.2e} (at most {self.tolerance:.0e})"
        )
        unsettled = self.halved is not None and abs(self.halved - self.numeric) > 0.1 * abs(
            self.analytic - self.numeric
        )
        return text + (
            f"; but half the step gives {self.halved:.10g} to one side: a kink of the forward, or "
            "rounding"
            if unsettled
            else ""
        )


Move = tuple[tuple[int, ...] | None, np.ndarray]  # an element's index, or None; and where to


def moves(
    shape: tuple[int, ...], entries: int | None, directions: int, rng: np.random.Generator
) -> Iterator[Move]:
    """Yield what to move an array along: its index and a unit vector, or None and a direction.

    Args:
        shape: of the array.
        entries: so many elements, drawn at random; None: all.
        directions: so many random directions after them, each of length 1.
        rng: of both.
    """
    size = int(np.prod(shape))
    chosen = np.arange(size)
    if entries is not None and entries < size:
        chosen = rng.choice(size, entries, replace=False)
    for flat in chosen:
        index = tuple(int(i) for i in np.unravel_index(flat, shape))
        direction = np.zeros(shape)
        direction[index] = 1
        yield index, direction
    for _ in range(directions):
        yield None, _random_direction(shape, rng)


def _random_direction(shape, rng):
    direction = rng.standard_normal(shape)
    return direction / max(np.linalg.norm(direction), EPS)


def compare(
    name: str,
    function: Callable[[], Any],
    array: np.ndarray,
    gradient: np.ndarray,
    tried: Iterable[Move],
    tolerance: float,
    zero: bool,
) -> Row:
    """Return the row of the move along which gradient and slope disagree most.

    Args:
        name: of the array.
        function: reads the array, and gives a number; a complex one if the array is complex.
        array: is moved, and put back to the bit.
        gradient: what the backward says, of the array's shape.
        tried: as `moves` makes them.
        tolerance: the largest error that passes.
        zero: whether the gradient is provably zero.
    """
    if not array.size:
        return Row(name, None, 0.0, 0.0, 0.0, tolerance)
    largest = np.abs(gradient).max()
    exact = np.iscomplexobj(array)
    # What doesn't depend on the array is cut off nowhere: a longer step only rounds less.
    h = 0.0 if exact else step(array) * (4 if zero else 1)

    def slope(direction, h, stencil=STENCIL):
        if exact:
            return by_complex_step(function, array, direction)
        return by_differences(function, array, direction, h, stencil)

    rows = []
    for index, direction in tried:
        analytic = float(np.sum(gradient * direction))
        numeric = slope(direction, h)
        both = float(np.maximum(abs(analytic), abs(numeric)))  # not a number if one of them isn't
        scale = 1 if zero else np.maximum(both, FLOOR * largest)
        wrong = both if zero else abs(analytic - numeric)
        error = float(wrong / scale) if scale else 0.0
        rows.append((Row(name, index, analytic, numeric, error, tolerance), direction))
    if not zero:
        look_at_gradient(name, gradient, [row.numeric for row, _ in rows])
    worst, direction = max(
        rows, key=lambda pair: np.inf if np.isnan(pair[0].error) else pair[0].error
    )
    if worst.passed or exact:
        return worst
    return replace(worst, halved=slope(direction, h / 2, ONE_SIDED))


def must_be_analytic(
    name: str, function: Callable[[], complex], array: np.ndarray, rng: np.random.Generator
) -> None:
    """Compare the complex step with differences once: abs and max give wrong slopes silently.

    Raises:
        ValueError: they disagree.
    """
    direction = _random_direction(array.shape, rng)
    exact = by_complex_step(function, array, direction)
    h = step(array.real)
    near = by_differences(lambda: float(np.real(function())), array, direction, h)
    largest = max(abs(exact), abs(near), abs(float(np.real(function()))))
    if not abs(exact - near) <= 1e-2 * largest:
        raise ValueError(
            f"complex_step: the forward isn't analytic in {name}: along a random direction its "
            f"imaginary part gives the slope {exact:.6g} and differences {near:.6g}; leave it out"
        )
