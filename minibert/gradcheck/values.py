"""Inputs, outputs and gradients of a check, by name."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minibert.parameters import Parameters

DTYPES = (np.float32, np.float64, np.longdouble)


class GradientError(AssertionError):
    """A backward that disagrees with its forward, or breaks the contract of a layer."""


class InconclusiveError(GradientError):
    """A gradient that finite differences can neither confirm nor reject, at this input."""


def convert_inputs(inputs: Mapping[str, Any], dtype: DTypeLike) -> dict[str, Any]:
    """Return copies of the inputs (dict), NumPy's floats and `Parameters` in `dtype`.

    Raises:
        ValueError: the inputs have no names, or two arrays have the same name.
    """
    if not isinstance(inputs, Mapping):
        raise ValueError(f"inputs: expected values by name, got {type(inputs).__name__}")
    names = [own for name, value in inputs.items() for own in flatten({name: value})]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"inputs: two arrays are called {name}, so one would not be checked")
    return {name: _convert(value, dtype) for name, value in inputs.items()}


def _convert(value, dtype):
    if isinstance(value, Parameters):
        return value.astype(dtype)
    if isinstance(value, np.ndarray | np.floating) and np.issubdtype(value.dtype, np.floating):
        return np.array(value, dtype)  # an array of a NumPy scalar, too: it can be moved in place
    return value.copy() if isinstance(value, np.ndarray) else value


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by name (dict), with the arrays of `Parameters` under their own names."""
    named: dict[str, Any] = {}
    for name, value in values.items():
        named.update(value if isinstance(value, Parameters) else {name: value})
    return named


def float_arrays_of(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of floats by name (dict), which are the ones that are checked."""
    return {name: value for name, value in flatten(values).items() if is_float_array(value)}


def is_float_array(value: Any) -> bool:
    """Return whether the value is an array of floats (bool)."""
    return isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating)


def snapshot(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return copies of all arrays by name (dict), for `assert_unchanged`."""
    arrays = {n: v for n, v in flatten(values).items() if isinstance(v, np.ndarray)}
    return {name: array.copy() for name, array in arrays.items() if array.dtype != object}


def assert_unchanged(values: Mapping[str, Any], before: Mapping[str, np.ndarray], who: str) -> None:
    """Compare arrays with their snapshot.

    Raises:
        GradientError: `who` wrote to one of them.
    """
    now = flatten(values)
    for name, array in before.items():
        if not arrays_equal(now[name], array):
            raise GradientError(
                f"{name}: expected {who} to leave it unchanged, got other values; compute in a copy"
            )


def arrays_equal(one: Any, other: Any) -> bool:
    """Return whether two arrays have equal values (bool); NaNs compare equal."""
    has_nan = np.issubdtype(np.asarray(one).dtype, np.inexact)
    return np.array_equal(one, other, equal_nan=bool(has_nan))


def call_forward(forward: Callable[..., Any], inputs: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the output and the cache of a forward (tuple).

    Raises:
        ValueError: it returned something else.
    """
    returned = forward(**inputs)
    if not (isinstance(returned, tuple) and len(returned) == 2):  # an array of two rows unpacks too
        got = type(returned).__name__
        raise ValueError(f"forward: expected it to return a pair (out, cache), got {got}")
    for part in as_tuple(returned[0]):
        is_number = isinstance(part, np.ndarray | np.generic | int | float)
        if not is_number or np.asarray(part).dtype.kind not in "biuf":
            got = part.dtype if isinstance(part, np.ndarray) else type(part).__name__
            raise ValueError(
                f"forward: expected out to be an array of real numbers, a number or a tuple of "
                f"them, got {got}"
            )
    return returned


def as_tuple(out: Any) -> tuple[Any, ...]:
    """Return the outputs (tuple); a single output becomes a tuple of one."""
    return out if isinstance(out, tuple) else (out,)


def make_cotangents(
    dout: Any, out: Any, dtype: np.dtype, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return the weights of each output (list of arrays), as given or random.

    Raises:
        ValueError: the given ones have other shapes than the outputs.
    """
    if dout is None:
        return [np.asarray(rng.standard_normal(np.shape(part)), dtype) for part in as_tuple(out)]
    given = [np.array(part, dtype) for part in as_tuple(dout)]
    shapes, expected = [part.shape for part in given], [np.shape(part) for part in as_tuple(out)]
    if shapes != expected:
        raise ValueError(f"dout: expected the output's shapes {expected}, got {shapes}")
    return given


def gradients_by_name(returned: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return gradients by name (dict).

    Args:
        returned: what the backward returned: a mapping by name, a tuple in the order of the inputs
            of floats (or of all arrays, if it is longer), or one array.
        inputs: the inputs by name.
    """
    if not isinstance(returned, Mapping):
        several = returned if isinstance(returned, tuple) else (returned,)
        names = [name for name, value in inputs.items() if float_arrays_of({name: value})]
        arrays = [name for name, value in inputs.items()
                  if name in names or isinstance(value, np.ndarray)]  # fmt: skip
        if len(several) > len(names):  # also of integers, which are not checked
            names = arrays[: len(several)]
        names += [f"gradient {i + 1} of the backward" for i in range(len(names), len(several))]
        returned = dict(zip(names, several, strict=False))
    return flatten(returned)


def get_gradient(name: str, array: np.ndarray, gradients: Mapping[str, Any]) -> np.ndarray:
    """Return the gradient of the array called `name` (array of the same shape).

    Raises:
        GradientError: it is missing, or has another shape or dtype; a Python number is of any.
    """
    given = gradients.get(name)
    gradient = np.asarray(given) if isinstance(given, np.ndarray | np.generic | float) else None
    if gradient is None or gradient.shape != array.shape:
        got = "none" if given is None else type(given).__name__
        got = got if gradient is None else f"one of the shape {gradient.shape}"
        raise GradientError(f"{name}: expected a gradient of the shape {array.shape}, got {got}")
    if not is_float_array(gradient):
        raise GradientError(f"{name}: expected a gradient of floats, got one of {gradient.dtype}")
    expected = array.real.dtype  # of floats, also where the array is moved along the imaginary axis
    if gradient.dtype != expected and type(given) is not float:
        raise GradientError(
            f"{name}: expected a gradient of {expected}, as the array's, got one of "
            f"{gradient.dtype}; compute in the dtype of the inputs"
        )
    return gradient


def assert_finite(name: str, array: np.ndarray) -> None:
    """Check that an array that will be moved is finite.

    Raises:
        ValueError: it contains an infinity or NaN.
    """
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(
            f"{name}: expected finite numbers, got {array[tuple(place)]} at {place}; pass an array "
            "that is not to be moved through a closure of the forward, or name it in `still`"
        )


def validate_dtype(dtype: DTypeLike) -> np.dtype:
    """Return the dtype to compute in (np.dtype).

    Raises:
        ValueError: it is not float32, float64 or longdouble.
    """
    if np.dtype(dtype) not in DTYPES:
        raise ValueError(f"dtype: expected float32, float64 or longdouble, got {np.dtype(dtype)}")
    return np.dtype(dtype)


def validate_names(argument: str, given: Iterable[str]) -> tuple[str, ...]:
    """Return names as a tuple.

    Raises:
        ValueError: it is one string, whose letters would be taken for names.
    """
    if isinstance(given, str):
        raise ValueError(f"{argument}: expected several names, got the one string {given!r}")
    return tuple(given)
