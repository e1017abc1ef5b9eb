"""The derivative of a function along a direction, from the function's values alone."""

import warnings
from collections.abc import Callable, Iterable

import numpy as np
from numpy.exceptions import ComplexWarning
from numpy.typing import DTypeLike

# The five-point stencil f'(x) ≈ Σ w · f(x + k·h) / 12h errs by about h⁴ for cutting off the series
# and by eps / h for rounding. Both together are least near h = eps^(1/5), where they are 1e-12 in
# float64; the usual (f(x + h) - f(x - h)) / 2h can't do better than 1e-10.
STENCIL = ((1, 8), (-1, -8), (2, -1), (-2, 1))
# As exact for what is smooth; but at a kink it's the slope to the right of it, not the mean of two.
ONE_SIDED = ((0, -25), (1, 48), (2, -36), (3, 16), (4, -3))
TINY = 1e-20  # of the complex step: nothing is subtracted, so it can't be too small


def step(array: np.ndarray) -> float:
    """Return how far to move an array: in proportion to its numbers, and as its dtype allows.

        h = 2 eps^(1/5) · rms(array)

    In float64, 1.5e-3 of what is usual in the array; in float32, 8e-2. An array of zeros is taken
    for one of ordinary numbers, around 1.
    """
    usual = float(np.sqrt(np.mean(np.square(np.abs(array, dtype=np.float64))))) if array.size else 0
    return 2 * float(np.finfo(array.dtype).eps) ** 0.2 * (usual or 1.0)


def by_differences(
    function: Callable[[], float],
    array: np.ndarray,
    direction: np.ndarray,
    h: float,
    stencil: Iterable[tuple[int, int]] = STENCIL,
) -> float:
    """The derivative of `function()` as `array` moves along `direction`, by its values nearby.

    Args:
        function: reads the array, and gives a number.
        array: of floats; moved, and put back to the bit.
        direction: of the array's shape.
        h: how far to move; see `step`.
        stencil: at how many h to look, and with which weight.
    """
    kept = array.copy()
    total = 0.0
    for steps, weight in stencil:
        array[...] = kept + steps * h * direction
        total += weight * function()
    array[...] = kept
    return float(total / (12 * h))


def by_complex_step(
    function: Callable[[], complex], array: np.ndarray, direction: np.ndarray
) -> float:
    """The derivative along `direction`, as exact as the function itself: Im f(x + ih·d) / h.

    f(x + ih) = f(x) + ih f'(x) - O(h²) holds where f is analytic: made of sums, products, exp, sin
    and the like, but not of abs, max or a comparison. Squire and Trapp (1998), eq. 1.

    Args:
        function: reads the array, and gives a complex number.
        array: of complex numbers; moved, and put back to the bit.
        direction: of the array's shape, real.

    Raises:
        ValueError: the function doesn't take complex numbers, or drops their imaginary part.
    """
    kept = array.copy()
    array[...] = kept + 1j * TINY * direction
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ComplexWarning)
            value = function()
    except (TypeError, ComplexWarning) as error:
        raise ValueError(
            f"complex_step: the forward doesn't take complex numbers ({error}); leave it out"
        ) from None
    finally:
        array[...] = kept
    return float(np.imag(value) / TINY)


def complex_of(dtype: DTypeLike) -> np.dtype:
    """The complex dtype whose parts are of this one.

    >>> complex_of(np.float32).name
    'complex64'
    """
    return np.result_type(dtype, np.complex64)
