"""Compare an analytic gradient with finite differences, and find the largest error."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minibert.gradcheck.blind import warn_if_all_zero
from minibert.gradcheck.slopes import (
    CENTRED,
    ONE_SIDED,
    complex_step_derivative,
    finite_difference,
    step_size,
)

EPS = float(np.finfo(np.float64).eps)
FLOOR = 1e-3  # of an array's largest gradient: smaller gradients are compared relative to this


@dataclass(frozen=True)
class GradientResult:
    """The largest disagreement found in one array.

    Attributes:
        name: the array's name.
        index: the element; None where a random direction through the whole array was worst.
        analytic: the gradient that the backward returned.
        numeric: the slope from the forward's values.
        error: |a - n| / max(|a|, |n|, 1e-3 · the array's largest |gradient|), or for a gradient
            that is provably zero max(|a|, |n|) itself.
        tolerance: the largest error that passes.
        half_step_estimate: for a failure, a one-sided (forward) difference with half the step;
            None: not computed.
    """

    name: str
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    tolerance: float
    half_step_estimate: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; NaN never passes."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        """Return the array, the element, both values and the error in one line."""
        where = "a random direction" if self.index is None else list(self.index)
        text = (
            f"{self.name} at {where}: analytic {self.analytic:.10g}, numeric {self.numeric:.10g}, "
            f"error {self.error:.2e} (at most {self.tolerance:.0e})"
        )
        other = self.half_step_estimate
        if other is None:
            return text
        if not abs(other - self.numeric) > 0.1 * abs(self.analytic - self.numeric):
            return text
        return text + (
            f"; but half the step gives {other:.10g} on one side: a kink of the forward, or "
            "rounding"
        )


Row = GradientResult  # the name of version 1

Move = tuple[tuple[int, ...] | None, np.ndarray]  # an element's index or None, and a direction


def sample_moves(
    shape: tuple[int, ...], entries: int | None, directions: int, rng: np.random.Generator
) -> Iterator[Move]:
    """Yield the moves to try: an index and its unit vector, or None and a direction.

    Args:
        shape: the array's shape.
        entries: the number of elements, drawn at random; None: all.
        directions: the number of random directions after them, each of length 1.
        rng: draws both.
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
    moves: Iterable[Move],
    tolerance: float,
    is_zero: bool,
) -> GradientResult:
    """Return the result of the move with the largest error.

    Args:
        name: the array's name.
        function: reads the array and returns a number; a complex one if the array is complex.
        array (any shape, float or complex): moved, and restored bitwise.
        gradient (the array's shape, float): the analytic gradient.
        moves: as `sample_moves` yields them.
        tolerance: the largest error that passes.
        is_zero: whether the gradient is provably zero.
    """
    if not array.size:
        return GradientResult(name, None, 0.0, 0.0, 0.0, tolerance)
    largest = np.abs(gradient).max()
    exact = np.iscomplexobj(array)
    # A function that does not depend on the array has no truncation error: a longer step only
    # reduces the rounding error.
    h = 0.0 if exact else step_size(array) * (4 if is_zero else 1)

    def slope(direction, h, stencil=CENTRED):
        if exact:
            return complex_step_derivative(function, array, direction)
        return finite_difference(function, array, direction, h, stencil)

    results = []
    for index, direction in moves:
        analytic = float(np.sum(gradient * direction))
        numeric = slope(direction, h)
        both = float(np.maximum(abs(analytic), abs(numeric)))  # NaN if one of them is NaN
        scale = 1 if is_zero else np.maximum(both, FLOOR * largest)
        difference = both if is_zero else abs(analytic - numeric)
        error = float(difference / scale) if scale else 0.0
        results.append(
            (GradientResult(name, index, analytic, numeric, error, tolerance), direction)
        )
    if not is_zero:
        warn_if_all_zero(name, gradient, [result.numeric for result, _ in results])
    worst, direction = max(
        results, key=lambda pair: np.inf if np.isnan(pair[0].error) else pair[0].error
    )
    if worst.passed or exact:
        return worst
    return replace(worst, half_step_estimate=slope(direction, h / 2, ONE_SIDED))


def assert_analytic(
    name: str, function: Callable[[], complex], array: np.ndarray, rng: np.random.Generator
) -> None:
    """Compare the complex step with differences once: abs and max give wrong slopes silently.

    Raises:
        ValueError: they disagree.
    """
    direction = _random_direction(array.shape, rng)
    exact = complex_step_derivative(function, array, direction)
    h = step_size(array.real)
    near = finite_difference(lambda: float(np.real(function())), array, direction, h)
    largest = max(abs(exact), abs(near), abs(float(np.real(function()))))
    if not abs(exact - near) <= 1e-2 * largest:
        raise ValueError(
            f"complex_step: the forward isn't analytic in {name}: along a random direction its "
            f"imaginary part gives the slope {exact:.6g} and differences {near:.6g}; leave it out"
        )
