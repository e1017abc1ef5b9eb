"""The slope of a function from steps of many lengths, and how accurately it is known.

A step that suits most elements of an array may be far too long for some. Layer norm divides a row
of equal elements by √eps = 1e-6, so its slope changes within steps of that length. Where the usual
step fails, `extrapolated_slope` tries many lengths and keeps those whose slopes agree.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

LONGEST = 0.2  # the longest step, of the array's size
RATIO = 1.5  # from one step to the next
STEPS = 75  # from 0.2 to 1e-14
WINDOW = 9  # neighbouring steps that give one estimate
TERMS = 4  # of the polynomial through their slopes
# Times the standard error of an estimate. It is computed from five degrees of freedom, and the
# estimate that is used has the smallest of many.
SAFETY = 10
# Relative to the array. A shorter step that changes no output at all shows that the forward rounds
# its input to float32, not that the slope is 0.
FLAT = 2.0**-20


class Slope(NamedTuple):
    """A slope along a direction."""

    value: float  # NaN if the function is NaN near the array
    uncertainty: float
    step: float  # the longest of the steps that it is computed from
    size: float  # the norm of the function's values


def longest_step(array: np.ndarray) -> float:
    """Return the longest step to try (float): 0.2 of the array's size, or of 1 if larger."""
    return LONGEST * max(float(np.sqrt(np.mean(np.square(array, dtype=np.float64)))), 1)


def extrapolated_slope(
    function: Callable[[], Any],
    array: np.ndarray,
    direction: np.ndarray,
    h: float,
    enough: float,
) -> Slope:
    """Return the most accurate slope along a direction (Slope), over steps h, h/1.5, h/1.5², ….

    The centred difference of a smooth function is f' + a h² + b h⁴ + c h⁶ + …, and its rounding
    error is proportional to 1 / h. The polynomial is fitted to the differences of nine neighbouring
    steps by least squares, and the differences' distance from it shows the error of f', from either
    source: where the steps are too long for the polynomial, and where they are too short for the
    rounding. The nine steps with the smallest error win, without a look at the analytic gradient.

    Args:
        function: reads the array and returns an array of numbers, whose sum is differentiated.
        array (any shape, float): moved, and restored bitwise.
        direction (the array's shape): of length 1.
        h: the longest step.
        enough: stop at an uncertainty below this.
    """
    eps = float(np.finfo(array.dtype).eps)
    reach = float(np.linalg.norm(array[direction != 0]))  # of the moved elements
    best = Slope(np.nan, np.inf, h, 0.0)
    slopes: list[float] = []
    has_changed = False
    for _ in range(STEPS):
        if h < 64 * eps * reach:
            break
        difference, distance, size = _centred_difference(function, array, direction, h)
        if has_changed and h < FLAT * reach and not difference.any():
            break
        has_changed = has_changed or bool(difference.any())
        slopes.append(float(np.sum(difference)) / distance)
        if len(slopes) >= WINDOW:
            longest = h * RATIO ** (WINDOW - 1)
            value, spread = _fit(np.array(slopes[-WINDOW:]))
            uncertainty = max(SAFETY * spread, NOISE * eps * size / longest)
            if uncertainty < best.uncertainty:
                best = Slope(value, uncertainty, longest, size)
            if best.uncertainty <= enough:
                break
        h /= RATIO
    return best


def _centred_difference(function, array, direction, h):
    """Return f(x + h·d) - f(x - h·d), the distance of both after rounding, and the norm of f."""
    original = array.copy()
    array[...] = original + h * direction
    ahead, above = array.copy(), np.asarray(function())
    array[...] = original - h * direction
    distance = float(np.sum(direction * (ahead - array)))
    below = np.asarray(function())
    array[...] = original
    with np.errstate(all="ignore"):  # infinities give NaN, which is never the best
        return above - below, distance, float(np.linalg.norm(above))


def _weighted_fit():
    """Return what turns the weighted slopes of a window into coefficients, and into residuals.

    The steps are relative to the window's longest, and so are the weights: a slope with half the
    step has twice the rounding error.
    """
    steps = RATIO ** -np.arange(WINDOW, dtype=np.float64)
    terms = steps[:, None] ** (2 * np.arange(TERMS)) * steps[:, None]  # (WINDOW, TERMS)
    solve = np.linalg.pinv(terms)  # (TERMS, WINDOW)
    return steps, solve, np.eye(WINDOW) - terms @ solve


WEIGHTS, SOLVE, RESIDUALS = _weighted_fit()
NOISE = float(np.linalg.norm(SOLVE[0]))  # the error of f' from errors of 1 in the weighted slopes


def _fit(slopes):
    """Return the constant term of the polynomial through the slopes, and its standard error."""
    weighted = WEIGHTS * slopes
    with np.errstate(all="ignore"):
        deviation = np.linalg.norm(RESIDUALS @ weighted) / np.sqrt(WINDOW - TERMS)
        return float(SOLVE[0] @ weighted), float(NOISE * deviation)
