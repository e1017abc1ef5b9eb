"""The derivative of a function along a direction, from the function's values alone."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.exceptions import ComplexWarning
from numpy.typing import DTypeLike

# The five-point stencil f'(x) ≈ Σ w · f(x + k·h) / 12h has a truncation error of about h⁴ and a
# rounding error of about eps / h. Their sum is smallest near h = eps^(1/5): 1e-12 in float64. The
# usual (f(x + h) - f(x - h)) / 2h reaches 1e-10 at best.
CENTRED = ((1, 8), (-1, -8), (2, -1), (-2, 1))
# A one-sided (forward) difference of the same order. At a kink it is the slope on the right, where
# the centred difference is the mean of both sides.
ONE_SIDED = ((0, -25), (1, 48), (2, -36), (3, 16), (4, -3))
TINY = 1e-20  # length of the complex step: there is no subtraction, so it is never too small


def step_size(array: np.ndarray) -> float:
    """Return how far to move an array (float), relative to its values and its dtype.

        h = 2 eps^(1/5) · rms(array)

    In float64 this is 1.5e-3 of the array's root mean square, in float32 8e-2. For an array of
    zeros the root mean square is taken as 1.
    """
    rms = float(np.sqrt(np.mean(np.square(np.abs(array, dtype=np.float64))))) if array.size else 0
    return 2 * float(np.finfo(array.dtype).eps) ** 0.2 * (rms or 1.0)


def finite_difference(
    function: Callable[[], Any],
    array: np.ndarray,
    direction: np.ndarray,
    h: float,
    stencil: Iterable[tuple[int, int]] = CENTRED,
) -> float:
    """Return the derivative of `function()` along a direction (float), by finite differences.

    Of several numbers, the sum is differentiated. They are subtracted one by one before, which
    cancels those that do not depend on the array, with their rounding errors.

    Args:
        function: reads the array and returns a number or an array of them.
        array (any shape, float): moved, and restored bitwise.
        direction (the array's shape): the direction.
        h: the step; see `step_size`.
        stencil: pairs of a number of steps and the weight of the value there.
    """
    original = array.copy()
    total: Any = 0.0
    for steps, weight in stencil:
        array[...] = original + steps * h * direction
        total += weight * function()
    array[...] = original
    return float(np.sum(total) / (12 * h))


def complex_step_derivative(
    function: Callable[[], Any], array: np.ndarray, direction: np.ndarray
) -> float:
    """Return the derivative along a direction (float), exact to rounding: Im f(x + ih·d) / h.

    f(x + ih) = f(x) + ih f'(x) - O(h²) holds where f is analytic: made of sums, products, exp, sin
    and the like, but not of abs, max or a comparison. Squire and Trapp (1998), eq. 1.

    Args:
        function: reads the array and returns a complex number or an array, whose sum is meant.
        array (any shape, complex): moved, and restored bitwise.
        direction (the array's shape, real): the direction.

    Raises:
        ValueError: the function rejects complex numbers, or discards their imaginary part.
    """
    original = array.copy()
    array[...] = original + 1j * TINY * direction
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ComplexWarning)
            value = np.sum(function())
    except (TypeError, ComplexWarning) as error:
        raise ValueError(
            f"complex_step: the forward doesn't take complex numbers ({error}); leave it out"
        ) from None
    finally:
        array[...] = original
    return float(np.imag(value) / TINY)


def complex_dtype(dtype: DTypeLike) -> np.dtype:
    """Return the complex dtype with parts of this float dtype (np.dtype).

    >>> complex_dtype(np.float32).name
    'complex64'
    """
    return np.result_type(dtype, np.complex64)
