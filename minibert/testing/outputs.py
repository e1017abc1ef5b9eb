"""What the laws share: batches and outputs by name, other padding, and comparisons."""

import copy
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

import numpy as np

from minibert.gradcheck import BlindSpotWarning
from minibert.models.config import require_int
from minibert.typing import Array, Rng

Outputs: TypeAlias = dict[str, Array]  # by name; a single one is called "output"


def as_batch(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a batch (dict) with arrays instead of lists.

    Raises:
        ValueError: it has no names.
    """
    if not isinstance(batch, Mapping):
        raise ValueError(f"batch: expected values by name, got {type(batch).__name__}")
    return {name: np.array(v) if isinstance(v, list) else v for name, v in batch.items()}


def arrays_along(batch: Mapping[str, Any], axis: int, what: str) -> tuple[dict[str, Array], int]:
    """Return the arrays of a batch that have an axis (dict), and its length (int).

    Args:
        batch: values by name.
        axis: of the arrays.
        what: the word for what it counts.

    Raises:
        ValueError: there are none, they are empty, or the lengths differ.
    """
    require_int("axis", axis, at_least=0)
    arrays = {n: v for n, v in batch.items() if isinstance(v, np.ndarray) and v.ndim > axis}
    if not arrays or not all(map(np.size, arrays.values())):
        raise ValueError(f"batch: expected an array with {what} along axis {axis}, got none")
    first, count = next((name, array.shape[axis]) for name, array in arrays.items())
    for name, array in arrays.items():
        if array.shape[axis] != count:
            raise ValueError(
                f"{name}: expected {count} {what} along axis {axis}, as in {first}, got the shape "
                f"{array.shape}; bind other arguments to the function"
            )
    return arrays, count


def run(function: Callable[..., Any], batch: Mapping[str, Any]) -> Outputs:
    """Return the outputs of `function(**batch)` by name (dict of arrays); it gets copies.

    >>> run(lambda x: (x, {"sum": x.sum()}, None), {"x": np.array([1, 2])})
    {'output[0]': array([1, 2]), 'output[1].sum': array(3)}

    Raises:
        ValueError: it returns no array, or something else.
    """
    outputs = dict(_flat("output", function(**copy.deepcopy(dict(batch)))))
    if not outputs:
        raise ValueError("function: expected it to return an array, got none")
    return outputs


def _flat(name: str, value: Any) -> Iterator[tuple[str, Array]]:
    """Yield copies of the arrays in a function's result, with their names."""
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    elif hasattr(value, "_asdict"):  # a NamedTuple
        value = value._asdict()
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(str(key) if name == "output" else f"{name}.{key}", part)
    elif isinstance(value, tuple | list):
        for i, part in enumerate(value):
            yield from _flat(f"{name}[{i}]", part)
    elif value is not None:
        array = np.array(value)
        if array.dtype.kind not in "biufc":
            raise ValueError(f"{name}: expected an array of numbers, got {type(value).__name__}")
        yield name, array


def paired(expected: Outputs, got: Outputs) -> dict[str, tuple[Array, Array]]:
    """Return both outputs by name (dict).

    Raises:
        AssertionError: they have other names.
    """
    if expected.keys() != got.keys():
        raise AssertionError(f"outputs: expected {list(expected)} in each call, got {list(got)}")
    return {name: (one, got[name]) for name, one in expected.items()}


def with_padding(
    batch: Mapping[str, Any], real: Array, more: int, content: Mapping[str, Any], rng: Rng
) -> dict[str, Any]:
    """Return a batch with appended padding, and other content in all padding.

    Args:
        batch: values by name; arrays that begin with the axes of `real` are padded.
        real (..., T): False at padding.
        more: number of tokens to append.
        content: of padding by name; of other arrays it is random: other elements, or normally
            distributed numbers as large as the largest.
        rng: draws it.

    Raises:
        ValueError: `more` is below 0, or `content` has a name that the batch lacks.
    """
    require_int("more", more, at_least=0)
    for name in content:
        if name not in batch:
            raise ValueError(f"padding: expected names among {', '.join(batch)}, got {name}")
    axis, padded = real.ndim - 1, dict(batch)
    wide = np.concatenate([real, np.zeros((*real.shape[:-1], more), bool)], axis)
    for name, array in batch.items():
        if not isinstance(array, np.ndarray) or array.shape[: real.ndim] != real.shape:
            continue
        shape = (*wide.shape, *array.shape[real.ndim :])
        if name in content:
            new = np.full(shape, content[name])
        elif array.dtype.kind == "f":
            largest = np.abs(array[np.isfinite(array)]).max(initial=1)
            limit = np.finfo(array.dtype).max  # the content is finite in the array's dtype
            new = rng.normal(0, largest, shape).clip(-limit, limit)
        else:
            new = rng.choice(array.ravel(), shape)  # for example ids, which stay valid
        padded[name] = new.astype(array.dtype)
        padded[name][wide] = array[real]
    return padded


def global_state() -> dict[str, Any]:
    """Return the states of the global random generators (dict), to be compared."""
    state: Any = np.random.get_state()  # noqa: NPY002  watched, not used
    return {"random": random.getstate(), "np.random": (state[1].tobytes(), state[2:])}


def axes_of_tokens(
    name: str, expected: Array, got: Array, real: Array, more: int
) -> tuple[int, ...]:
    """Return the axes of an output that count tokens: those that are `more` longer.

    Args:
        name: the output's name.
        expected: the output.
        got: that with `more` appended tokens.
        real (..., T): False at padding.
        more: 0: the output is one of tokens if it begins with the axes of `real`.

    Raises:
        AssertionError: `got` has another shape.
    """
    leading = real.ndim - 1
    if not more:
        return (leading,) if expected.shape[: real.ndim] == real.shape else ()
    pairs = zip(expected.shape, got.shape, strict=False)
    longer = tuple(axis for axis, (size, new) in enumerate(pairs) if new == size + more)
    shape = tuple(size + more * (axis in longer) for axis, size in enumerate(expected.shape))
    if got.shape != shape or (longer and shape[:leading] != real.shape[:-1]):
        raise AssertionError(
            f"{name}: expected {expected.shape} with axes of tokens {more} longer, after "
            f"{real.shape[:-1]}, got {got.shape}"
        )
    return longer


def assert_real_close(
    name: str,
    expected: Array,
    got: Array,
    tolerance: float | None,
    what: str,
    real: Array,
    tokens: tuple[int, ...],
) -> None:
    """Compare outputs at real tokens, or of the sequences that have one.

    Args:
        name, expected, tolerance, what: as in `assert_close`.
        got: may be longer along the axes of tokens.
        real (..., T): False at padding.
        tokens: the axes that count tokens.

    Raises:
        AssertionError: they differ.
    """
    leading, counted = real.shape[:-1], np.ones(expected.shape, bool)
    is_led = expected.shape[: len(leading)] == leading
    rest = [1] * (expected.ndim - len(leading))
    for axis in tokens:  # real (B, T) -> (B, 1, ..., T, ..., 1)
        shape = [*leading, *rest]
        shape[axis] = real.shape[-1]
        counted &= real.reshape(shape)
    if tokens:
        got = got[tuple(map(slice, expected.shape))]
    elif is_led:  # a sequence without a real token has no result
        counted &= real.any(axis=-1).reshape((*leading, *rest))
    sequences = len(leading) if is_led else 0
    assert_close(
        name, expected, got, tolerance, what, counted=counted, sequences=sequences, tokens=tokens
    )


def assert_close(
    name: str,
    expected: Array,
    got: Array,
    tolerance: float | None,
    what: str,
    *,
    counted: Array | None = None,
    sequences: int = 1,
    tokens: tuple[int, ...] = (),
) -> None:
    """Compare two outputs, and name the place of the largest difference; NaN never passes.

    Args:
        name: the output's name.
        expected, got (any shape): the outputs.
        tolerance: the largest difference, relative to the largest expected number; None: eps^0.7
            of the dtype.
        what: how the second one was computed.
        counted: which numbers are compared (bool); None: all.
        sequences: the number of leading axes that count sequences.
        tokens: the axes that count tokens.

    Raises:
        AssertionError: they differ.
    """
    if expected.shape != got.shape:
        raise AssertionError(f"{name}: expected the shape {expected.shape}, got {got.shape} {what}")
    if tolerance is None:
        tolerance = float(np.finfo(got.dtype).eps) ** 0.7 if got.dtype.kind in "fc" else 0
    dtype = np.result_type(expected, got, np.float32)
    one, other = expected.astype(dtype), got.astype(dtype)
    with np.errstate(invalid="ignore"):  # inf - inf
        apart = np.abs(one - other)
    # Large integers that differ may be the same float: the difference is 1 at least.
    apart = np.where(apart == 0, 1, apart) if expected.dtype.kind in "biu" else apart
    apart = np.where(expected == got, 0, np.where(np.isnan(apart), np.inf, apart))
    if counted is not None:
        apart, one = np.where(counted, apart, 0), np.where(counted, one, 0)
    allowed = tolerance * float(np.abs(one[np.isfinite(one)]).max(initial=0))
    if not apart.size or apart.max() <= allowed:
        return
    index = tuple(map(int, np.unravel_index(apart.argmax(), apart.shape)))
    raise AssertionError(
        f"{name}: expected {one[index]:.10g}{_place(index, sequences, tokens)}, got "
        f"{other[index]:.10g} {what}; the difference is {apart[index]:.1e}, at most {allowed:.1e}"
    )


def _place(index, sequences, tokens):
    """Return the words for an index (str)."""
    first, places = index[:sequences], []
    if first:
        places.append(f"sequence {first[0] if sequences == 1 else list(first)}")
    places += [f"token {index[axis]}" for axis in tokens]
    rest = [i for axis, i in enumerate(index) if axis >= sequences and axis not in tokens]
    places += [str(rest)] if rest else []
    return f" at {', '.join(places)}" if places else ""


def warn(message: str) -> None:
    """Warn that a batch detects nothing."""
    warnings.warn(BlindSpotWarning(message), stacklevel=3)
