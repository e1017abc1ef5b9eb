"""Compare an analytic gradient with finite differences, and find the largest error."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minibert.gradcheck.blind import warn_if_all_zero
from minibert.gradcheck.extrapolation import LONGEST, extrapolated_slope, longest_step
from minibert.gradcheck.slopes import (
    ONE_SIDED,
    complex_step_derivative,
    finite_difference,
    step_size,
)

EPS = float(np.finfo(np.float64).eps)
FLOOR = 1e-3  # of an array's largest gradient: smaller gradients are compared relative to this
ENOUGH_INCONCLUSIVE = 32  # elements of an array, the worst first: the others are not tried again


@dataclass(frozen=True)
class GradientResult:
    """The largest disagreement found in one array.

    Attributes:
        name: the array's name.
        index: the element; None where a random direction through the whole array was worst.
        analytic: the gradient that the backward returned.
        numeric: the slope from the forward's values.
        error: |a - n| / max(|a|, |n|, 1e-3 · the array's largest |gradient|), or for a gradient
            that is provably zero max(|a|, |n|) itself. The uncertainty of n is subtracted from the
            numerator.
        tolerance: the largest error that passes.
        one_sided_slope: for a failure at a kink of the forward, a one-sided (forward) difference
            with a shorter step; None: the slopes of both sides agree.
        uncertainty: of the numeric slope; 0: the first step agreed, so it was not estimated.
        inconclusive: whether the slopes from several steps disagree too much to tell a wrong
            gradient from a right one.
    """

    name: str
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    tolerance: float
    one_sided_slope: float | None = None
    uncertainty: float = 0.0
    inconclusive: bool = False

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; NaN never passes."""
        return self.error <= self.tolerance and not self.inconclusive

    @property
    def severity(self) -> tuple[int, float]:
        """The order of results: passed, inconclusive, wrong, and by error; NaN is the largest."""
        kind = 0 if self.passed else 1 if self.inconclusive else 2
        return kind, np.inf if np.isnan(self.error) else self.error

    def __str__(self) -> str:
        """Return the array, the element, both values and the error in one line."""
        where = "a random direction" if self.index is None else list(self.index)
        text = (
            f"{self.name} at {where}: analytic {self.analytic:.10g}, numeric {self.numeric:.10g}, "
            f"error {self.error:.2e} (at most {self.tolerance:.0e})"
        )
        if self.one_sided_slope is not None:
            text += (
                f"; but a shorter step gives {self.one_sided_slope:.10g} on one side: a kink of "
                "the forward"
            )
        if not self.inconclusive:
            return text
        if self.one_sided_slope is None:
            text += f"; but steps of other lengths differ by up to {self.uncertainty:.1e}"
        return text + "; inconclusive: give another input, or `step`"


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
        yield index, _unit_vector(shape, index)
    for _ in range(directions):
        yield None, _random_direction(shape, rng)


def _unit_vector(shape, index):
    direction = np.zeros(shape)
    direction[index] = 1
    return direction


def _random_direction(shape, rng):
    direction = rng.standard_normal(shape)
    return direction / max(np.linalg.norm(direction), EPS)


class Comparison:
    """The comparison of one array's gradient with slopes of a function.

    Args:
        name: the array's name.
        function: reads the array and returns an array of numbers, whose sum is differentiated;
            complex ones if the array is complex.
        array (any shape, float or complex): moved, and restored bitwise.
        gradient (the array's shape, float): the analytic gradient.
        tolerance: the largest error that passes.
        is_zero: whether the gradient is provably zero.
        step: the longest step, which is tried first; None: it follows the array's values.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[], Any],
        array: np.ndarray,
        gradient: np.ndarray,
        tolerance: float,
        is_zero: bool = False,
        step: float | None = None,
    ):
        self.name, self.function, self.array, self.gradient = name, function, array, gradient
        self.tolerance, self.is_zero, self.step = tolerance, is_zero, step
        self.largest = float(np.abs(gradient).max(initial=0))
        self.is_exact = np.iscomplexobj(array)
        # A function that does not depend on the array has no truncation error: a longer step only
        # reduces the rounding error.
        self.h = 0.0 if self.is_exact else step or step_size(array) * (4 if is_zero else 1)

    def worst(self, moves: Iterable[Move]) -> GradientResult:
        """Return the result of the move with the largest error.

        Each move is tried with one step. Where this fails, the slope is computed again from shorter
        and longer steps: only then is the gradient wrong.

        Args:
            moves: as `sample_moves` yields them.
        """
        if not self.array.size:
            return GradientResult(self.name, None, 0.0, 0.0, 0.0, self.tolerance)
        tried = []
        for index, direction in moves:
            analytic = float(np.sum(self.gradient * direction))
            result = self._result(index, analytic, self._first_slope(direction))
            tried.append((result, direction if index is None else None))
        tried.sort(key=lambda pair: pair[0].severity, reverse=True)
        seen: list[GradientResult] = []
        for result, random_direction in tried:
            if any(other.severity >= result.severity for other in seen):
                break
            if not (result.passed or self.is_exact):
                direction = self._direction(result.index, random_direction)
                result = self._again(result, direction)
            seen.append(result)
            if sum(other.inconclusive for other in seen) == ENOUGH_INCONCLUSIVE:
                break
        if not self.is_zero:
            agreed = [result for result, _ in tried if result.passed]
            numeric = [result.numeric for result in [*seen, *agreed]]
            warn_if_all_zero(self.name, self.gradient, numeric)
        return max(seen, key=lambda result: result.severity)

    def _direction(self, index, random_direction):
        return random_direction if index is None else _unit_vector(self.array.shape, index)

    def _first_slope(self, direction):
        if self.is_exact:
            return complex_step_derivative(self.function, self.array, direction)
        return finite_difference(self.function, self.array, direction, self.h)

    def _result(self, index, analytic, numeric, uncertainty=0.0):
        both = float(np.maximum(abs(analytic), abs(numeric)))  # NaN if one of them is NaN
        scale = 1 if self.is_zero else np.maximum(both, FLOOR * self.largest)
        difference = both if self.is_zero else abs(analytic - numeric)
        error = float(np.maximum(difference - uncertainty, 0) / scale) if scale else 0.0
        return GradientResult(
            self.name, index, analytic, numeric, error, self.tolerance, uncertainty=uncertainty
        )

    def _again(self, result, direction):
        """Return the result with the slope from steps of many lengths."""
        if not np.isfinite(result.analytic):
            return result
        bar = self.tolerance
        if not self.is_zero:
            bar *= max(abs(result.analytic), FLOOR * self.largest)
        longest = self.step or longest_step(self.array)
        slope = extrapolated_slope(self.function, self.array, direction, longest, enough=bar / 4)
        if not np.isfinite(slope.uncertainty):  # NaN everywhere, or too few steps to compare
            return replace(result, inconclusive=bool(np.isfinite(result.numeric)))
        result = self._result(result.index, result.analytic, slope.value, slope.uncertainty)
        if result.passed:
            return replace(result, inconclusive=slope.uncertainty > self._required(result, slope))
        return self._at_kink(result, direction, slope)

    def _required(self, result, slope):
        """Return the largest uncertainty with which a result passes (float).

        A small gradient among large ones needs no better one than they do, nor does a gradient that
        is as small as the rounding error of the outputs.
        """
        if self.is_zero:
            return self.tolerance
        natural = LONGEST * slope.size / longest_step(self.array)
        gradients = abs(result.analytic), abs(result.numeric), self.largest
        return self.tolerance * max(*gradients, natural)

    def _at_kink(self, result, direction, slope):
        """Return the result of a failure, inconclusive if the two sides have different slopes.

        At a kink, every gradient between the slopes of both sides is right.
        """
        # A one-sided difference reaches four steps ahead, and must not reach another kink.
        right, left = self._sides(direction, slope.step / 8)
        near_right, near_left = self._sides(direction, slope.step / 32)
        gap, near_gap = abs(right - left), abs(near_right - near_left)
        apart = abs(result.analytic - result.numeric)
        if not (gap > 0.1 * apart + slope.uncertainty and 0.5 * gap < near_gap < 2 * gap):
            return result  # the gap of a smooth function vanishes, that of rounding grows
        margin = self.tolerance * max(abs(right), abs(left)) + slope.uncertainty
        between = min(right, left) - margin <= result.analytic <= max(right, left) + margin
        return replace(result, one_sided_slope=right, inconclusive=between)

    def _sides(self, direction, h):
        """Return the slopes ahead and behind (two floats)."""
        ahead, behind = (
            finite_difference(self.function, self.array, sign * direction, h, ONE_SIDED)
            for sign in (1, -1)
        )
        return ahead, -behind


def assert_analytic(
    name: str, function: Callable[[], Any], array: np.ndarray, rng: np.random.Generator
) -> None:
    """Compare the complex step with differences once: abs and max give wrong slopes silently.

    Raises:
        ValueError: they disagree.
    """
    direction = _random_direction(array.shape, rng)
    exact = complex_step_derivative(function, array, direction)
    h = step_size(array.real)
    near = finite_difference(lambda: np.real(function()), array, direction, h)
    largest = max(abs(exact), abs(near), abs(float(np.real(np.sum(function())))))
    if not abs(exact - near) <= 1e-2 * largest:
        raise ValueError(
            f"complex_step: the forward isn't analytic in {name}: along a random direction its "
            f"imaginary part gives the slope {exact:.6g} and differences {near:.6g}; leave it out"
        )
