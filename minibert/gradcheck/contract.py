"""The contract of a layer: its methods, its declaration, and no state on `self` between calls."""

import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from minibert.gradcheck.values import (
    GradientError,
    arrays_equal,
    call_forward,
    is_float_array,
)
from minibert.parameters import Parameters

METHODS = {
    "forward": "forward(params, **inputs)",
    "backward": "backward(dout, cache, params, grads)",
}
ATOMS = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)


def require_method(layer: Any, name: str) -> Callable[..., Any]:
    """Return the method of a layer (callable).

    Raises:
        ValueError: the layer has none of this name.
    """
    method = getattr(layer, name, None)
    if not callable(method):
        owner = type(layer).__name__
        raise ValueError(f"{owner}: expected a method {METHODS[name]}, found none")
    return method


def require_signature(layer: Any, name: str, args: Sequence[str], keywords: Iterable[str]) -> None:
    """Check that a method of a layer can be called with these arguments.

    Args:
        layer: has the method.
        name: the method's name.
        args: names of the positional arguments.
        keywords: names of the keyword arguments.

    Raises:
        ValueError: it has other parameters.
    """
    method = require_method(layer, name)
    try:
        signature = inspect.signature(method)
    except ValueError:  # of a builtin, which shows none
        return
    try:
        signature.bind(*args, **dict.fromkeys(keywords))
    except TypeError as error:
        given = ", ".join([*args, *keywords])
        raise ValueError(
            f"{type(layer).__name__}: expected a method {name}({given}), "
            f"got {name}{signature}; {error}"
        ) from None


def backward_method(layer: Any) -> Callable[..., Any]:
    """Return the backward of a layer (callable) with four arguments.

    A fifth argument, which must be called `dsite`, is filled in: None, which means that the tables
    of the site do not learn.

    Raises:
        ValueError: there is no backward, or it has other parameters.
    """
    method = require_method(layer, "backward")
    arguments = ["dout", "cache", "params", "grads"]
    if _has_parameter(method, "dsite"):
        require_signature(layer, "backward", arguments, ["dsite"])
        return partial(method, dsite=None)
    require_signature(layer, "backward", arguments, [])
    return method


def _has_parameter(method, name):
    try:
        return name in inspect.signature(method).parameters
    except ValueError:  # of a builtin, which shows none
        return False


def declared_parameters(layer: Any) -> dict[str, Any]:
    """Return what a layer declares (dict): a `ParameterSpec` or a shape for each parameter.

    Args:
        layer: has `specs()`, or `shapes()` as in version 1.

    Raises:
        ValueError: there is neither, or a declaration is repeated or malformed.
    """
    owner = type(layer).__name__
    method = getattr(layer, "specs", None) or getattr(layer, "shapes", None)
    if not callable(method):
        raise ValueError(f"{owner}: expected a method specs(), found none")
    declared = method()
    if not isinstance(declared, Mapping):
        _refuse_repeated(owner, declared)
        got = type(declared).__name__
        raise ValueError(f"{owner}: expected {method.__name__}() to return a mapping, got {got}")
    for name, spec in declared.items():
        shape = shape_of(spec)
        joined = hasattr(spec, "names")  # a view of several parameters, which has no shape
        if not joined and not _is_shape(shape):
            raise ValueError(f"{owner}: {name}: expected a shape of whole numbers, got {shape!r}")
    return dict(declared)


def _refuse_repeated(owner, declared):
    """Name the parameter that a sequence of pairs declares twice, if there is one."""
    pairs = list(declared) if isinstance(declared, list | tuple) else []
    names = [pair[0] for pair in pairs if isinstance(pair, tuple) and len(pair) == 2]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{owner}: {name}: expected one declaration, got {names.count(name)}")


def shape_of(spec: Any) -> Any:
    """Return the shape of a declaration: of a `ParameterSpec`, or the shape itself."""
    return getattr(spec, "shape", spec)


def _is_shape(shape):
    return isinstance(shape, tuple) and all(
        isinstance(size, int | np.integer) and size >= 0 for size in shape
    )


def require_parameters(layer: Any, params: Any) -> None:
    """Check that the parameters include those that the layer declares, if it declares any.

    Raises:
        ValueError: one is missing or has another shape.
    """
    owner = type(layer).__name__
    if not isinstance(params, Parameters):
        raise ValueError(f"{owner}: params: expected Parameters, got {type(params).__name__}")
    if not (hasattr(layer, "specs") or hasattr(layer, "shapes")):
        return
    for name, spec in declared_parameters(layer).items():
        if hasattr(spec, "names"):
            continue
        expected = shape_of(spec)
        got = params[name].shape if name in params else "none"
        if got != expected:
            raise ValueError(
                f"{owner}: {name}: expected a parameter of the shape {expected}, got {got}"
            )


def require_distinct_names(layer: Any, params: Parameters, inputs: Mapping[str, Any]) -> None:
    """Check that no input is called like a parameter.

    Raises:
        ValueError: one is.
    """
    for name in inputs:
        if name in params:
            raise ValueError(
                f"{type(layer).__name__}: {name}: expected an input and a parameter of different "
                "names, got the same name"
            )


def state_of(value: Any, path: str = "self") -> dict[str, Any]:
    """Return the attributes of a layer and of its parts (dict): arrays copied, by their path.

    >>> class Gate:
    ...     def __init__(self):
    ...         self.width, self.parts = 4, [3.0]
    >>> state_of(Gate())
    {'self.width': 4, 'self.parts[0]': 3.0}
    """
    return dict(_walk(value, path, set()))


def _walk(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, np.ndarray):
        yield path, value.copy()
    elif isinstance(value, np.random.Generator):
        yield path, repr(value.bit_generator.state)
    elif isinstance(value, ATOMS):
        yield path, value
    elif isinstance(value, Mapping | list | tuple) or hasattr(value, "__dict__"):
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, Mapping):
            parts = [(f"{path}[{key!r}]", part) for key, part in value.items()]
        elif isinstance(value, list | tuple):
            parts = [(f"{path}[{i}]", part) for i, part in enumerate(value)]
        else:
            kind = type(value)
            parts = [
                (f"{path}.{name}", part)
                for name, part in vars(value).items()
                if not isinstance(inspect.getattr_static(kind, name, None), cached_property)
            ]
        for name, part in parts:
            yield from _walk(part, name, seen)
    else:
        yield path, value


def changed_path(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return the first path that is new, deleted or has another value (str); None: none is."""
    for path in [*before, *now]:
        if path not in now or path not in before or not _same(before[path], now[path]):
            return path
    return None


def assert_same_state(layer: Any, before: Mapping[str, Any], method: str) -> None:
    """Compare the attributes of a layer with those before a call of a method.

    Raises:
        GradientError: the method changed, added or deleted one.
    """
    now = state_of(layer)
    path = changed_path(before, now)
    if path is not None:
        change = "a new" if path not in before else "a deleted" if path not in now else "a changed"
        raise GradientError(
            f"expected {method} to leave self unchanged, got {change} {path}; "
            "return it in the cache"
        )


def _same(one, other):
    if one is other:
        return True
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and arrays_equal(one, other)
    if isinstance(one, bool | int | float | complex | str | bytes | np.generic):
        return type(one) is type(other) and bool(one == other or one != one)  # NaNs compare equal
    return False


def other_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return other valid inputs (dict): each array of floats rolled by one along its first axis.

    A batch of one is rolled through all its elements.
    """
    return {
        name: np.roll(value, 1, axis=0 if value.ndim and len(value) > 1 else None)
        if is_float_array(value)
        else value
        for name, value in inputs.items()
    }


def assert_independent_calls(
    forward: Callable[..., Any],
    backward: Callable[..., tuple[Any, Parameters]],
    params: Parameters,
    inputs: Mapping[str, Any],
) -> None:
    """Check that a backward depends on its own cache only, not on the latest forward.

    Args:
        forward: called as `forward(params=params, **inputs)`.
        backward: called as `backward(cache)`, returns the inputs' gradients by name and the
            parameters' gradients.
        params: the parameters.
        inputs: the inputs by name.

    Raises:
        GradientError: another forward between a forward and its backward changes a gradient.
    """
    others = other_inputs(inputs)
    alone, grads = backward(call_forward(forward, {"params": params, **inputs})[1])
    # Copies, because a layer may return its buffers.
    expected = {name: np.array(own) for name, own in {**alone, **grads}.items() if own is not None}
    cache = call_forward(forward, {"params": params, **inputs})[1]
    with np.errstate(all="ignore"):
        call_forward(forward, {"params": params, **others})
    interleaved, grads = backward(cache)
    got = {**interleaved, **grads}
    for name, gradient in expected.items():
        margin = np.sqrt(np.finfo(params.vector.dtype).eps) * np.abs(gradient).max(initial=0)
        if not np.allclose(got[name], gradient, rtol=0, atol=margin, equal_nan=True):
            raise GradientError(
                f"{name}: expected the gradient of the cache that backward was given, got another "
                "one after a second forward; return all that backward needs in the cache"
            )
