"""What goes into a check and what comes back: inputs, outputs and gradients, by their names."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minibert.parameters import Parameters

DTYPES = (np.float32, np.float64, np.longdouble)


class GradientError(AssertionError):
    """A backward that doesn't agree with its forward."""


def converted(inputs: Mapping[str, Any], dtype: DTypeLike) -> dict[str, Any]:
    """Return the inputs with NumPy's floats and `Parameters` as copies in `dtype`.

    Raises:
        ValueError: they have no names, or two arrays have the same.
    """
    if not isinstance(inputs, Mapping):
        raise ValueError(f"inputs: expected values by name, got {type(inputs).__name__}")
    names = [own for name, value in inputs.items() for own in flat({name: value})]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"inputs: two arrays are called {name}, so one would not be checked")
    return {name: _converted(value, dtype) for name, value in inputs.items()}


def _converted(value, dtype):
    if isinstance(value, Parameters):
        return value.astype(dtype)
    if isinstance(value, np.ndarray | np.floating) and np.issubdtype(value.dtype, np.floating):
        return np.array(value, dtype)  # of a NumPy number, too: a copy that can be moved
    return value


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by name, a `Parameters`' arrays by their own names."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        named.update(value if isinstance(value, Parameters) else {name: value})
    return named


def floats(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of floats: what is checked."""
    return {name: value for name, value in flat(values).items() if is_float(value)}


def is_float(value: Any) -> bool:
    """Tell whether this is an array of floats."""
    return isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)


def kept(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return copies of all arrays, to see later that nobody wrote to them."""
    arrays = {n: v for n, v in flat(values).items() if isinstance(v, np.ndarray)}
    return {name: array.copy() for name, array in arrays.items() if array.dtype != object}


def must_be_as_kept(values: Mapping[str, Any], before: Mapping[str, np.ndarray], who: str) -> None:
    """Refuse that `who` wrote to an array."""
    now = flat(values)
    for name, array in before.items():
        if not same(now[name], array):
            raise GradientError(f"{name}: {who} wrote to it")


def same(one: Any, other: Any) -> bool:
    """Tell whether two arrays hold the same; what is not a number is like itself."""
    may_be_none = np.issubdtype(np.asarray(one).dtype, np.inexact)
    return np.array_equal(one, other, equal_nan=bool(may_be_none))


def called(forward: Callable[..., Any], inputs: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the output and the cache of a forward that returns both."""
    returned = forward(**inputs)
    if not (isinstance(returned, tuple) and len(returned) == 2):  # an array of two rows would do
        came = type(returned).__name__
        raise ValueError(f"forward: expected it to return a pair (out, cache), got {came}")
    for part in parts(returned[0]):
        number = isinstance(part, np.ndarray | np.generic | int | float)
        if not number or np.asarray(part).dtype.kind not in "biuf":
            came = part.dtype if isinstance(part, np.ndarray) else type(part).__name__
            raise ValueError(
                f"forward: expected out to be an array of real numbers, a number or a tuple of "
                f"them, got {came}"
            )
    return returned


def parts(out: Any) -> tuple[Any, ...]:
    """Return the outputs, of which there may be one."""
    return out if isinstance(out, tuple) else (out,)


def cotangents(dout: Any, out: Any, dtype: np.dtype, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the weights of each part of the output, as given or drawn."""
    if dout is None:
        return [np.asarray(rng.standard_normal(np.shape(part)), dtype) for part in parts(out)]
    given = [np.array(part, dtype) for part in parts(dout)]
    shapes, expected = [part.shape for part in given], [np.shape(part) for part in parts(out)]
    if shapes != expected:
        raise ValueError(f"dout: expected the output's shapes {expected}, got {shapes}")
    return given


def gradients(returned: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return gradients by name, whether they came so, in the inputs' order, or as one array."""
    if not isinstance(returned, Mapping):
        names = [name for name, value in inputs.items() if floats({name: value})]
        several = returned if isinstance(returned, tuple) else (returned,)
        names += [f"gradient {i + 1} of the backward" for i in range(len(names), len(several))]
        returned = dict(zip(names, several, strict=False))
    return flat(returned)


def gradient_of(name: str, array: np.ndarray, gradients: Mapping[str, Any]) -> np.ndarray:
    """Return an array's gradient, if there is one and it can be one."""
    given = gradients.get(name)
    gradient = np.asarray(given) if isinstance(given, np.ndarray | np.generic | float) else None
    if gradient is None or gradient.shape != array.shape:
        came = "none" if given is None else type(given).__name__
        came = came if gradient is None else f"one of the shape {gradient.shape}"
        raise GradientError(f"{name}: expected a gradient of the shape {array.shape}, got {came}")
    if not is_float(gradient):
        raise GradientError(f"{name}: expected a gradient of floats, got one of {gradient.dtype}")
    return gradient


def must_be_finite(name: str, array: np.ndarray) -> None:
    """Refuse to move what is infinite or no number."""
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(
            f"{name}: expected finite numbers, got {array[tuple(place)]} at {place}; what isn't to "
            "be moved can be filled into the forward or named in `still`"
        )


def real_dtype(dtype: DTypeLike) -> np.dtype:
    """Return the dtype to compute in, if it is one to compute in."""
    if np.dtype(dtype) not in DTYPES:
        raise ValueError(f"dtype: expected float32, float64 or longdouble, got {np.dtype(dtype)}")
    return np.dtype(dtype)


def names(argument: str, given: Iterable[str]) -> tuple[str, ...]:
    """Return several names, unless one came, which would be taken for as many as its letters."""
    if isinstance(given, str):
        raise ValueError(f"{argument}: expected several names, got the one string {given!r}")
    return tuple(given)
