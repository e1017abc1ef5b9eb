"""Prove a backward against its forward, by differences of the forward itself.

A hand-written gradient is right if moving any input a little changes the output as the gradient
says. `check_pair` tries that for a function, `check_model` for a model. A user's own pair:

>>> def square_forward(x):
...     return x * x, x
>>> def square_backward(dout, cache, x):
...     return {"x": 2 * cache * dout}
>>> rows = check_pair(square_forward, square_backward, {"x": np.linspace(-1, 2, 6).reshape(2, 3)})
>>> rows[0].name, rows[0].error < 1e-7
('x', True)

Leave out the 2, and `check_pair` raises a `GradientError` that names the worst element.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.parameters import Parameters

# The five-point stencil errs by about STEP⁴ for cutting off the series and eps / STEP for rounding:
# 1e-12 and 2e-13 here, where the usual (f(x+h) - f(x-h)) / 2h can't do better than 1e-10.
STEP = 1e-3
STENCIL = ((1, 8), (-1, -8), (2, -1), (-2, 1))  # f'(x) ≈ Σ w · f(x + k·h) / 12h
ZERO = 1e-10  # a gradient that is provably zero stays below this


class GradientError(AssertionError):
    """A backward that doesn't agree with its forward."""


@dataclass(frozen=True)
class Row:
    """The worst disagreement found in one array.

    Attributes:
        name: of the array.
        index: of the element; None where a random direction through the whole array was worst.
        analytic: what the backward says.
        numeric: what the forward's differences say.
        error: |a - n| / max(|a|, |n|, 1e-3 · the array's largest |gradient|), or for a gradient
            that is provably zero max(|a|, |n|) itself.
        tolerance: the largest error that passes.
    """

    name: str
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; one that is not a number is not."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        """Name the array, the element, both values and the error."""
        where = "a random direction" if self.index is None else list(self.index)
        return (
            f"{self.name} at {where}: analytic {self.analytic:.10g}, numeric {self.numeric:.10g}, "
            f"error {self.error:.2e} (at most {self.tolerance:.0e})"
        )


def check_pair(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[..., Mapping[str, Any]],
    inputs: Mapping[str, Any],
    *,
    entries: int | None = None,
    zeros: Iterable[str] = (),
    tolerance: float = 1e-7,
    seed: int = 0,
) -> list[Row]:
    """Check a backward against centred differences of its forward, in float64.

    The output is weighed with random numbers (a cotangent of ones lets wrong softmax and layer-norm
    gradients pass). Each array is tried element by element, and along one random direction through
    all of it at once.

    Args:
        forward: called as `forward(**inputs)`, returns `(out, cache)`; out is an array, a number or
            a tuple of them. What it draws at random it must draw the same at each call.
        backward: called as `backward(dout, cache, **inputs)`, returns a mapping with the gradient
            of each floating-point input, by its name.
        inputs: by name. Arrays of floats and `Parameters` are converted to float64 and checked;
            everything else is handed on as it is.
        entries: check this many elements of each array, drawn at random; None: all.
        zeros: endings of the names of gradients that are provably zero; both sides must stay below
            1e-10.
        tolerance: of the error that `Row` defines.
        seed: of the weights, the directions and the choice of elements.

    Returns:
        the worst disagreement in each array.

    Raises:
        ValueError: there is nothing to check.
        GradientError: an error above the tolerance, or a gradient missing or of the wrong shape.
    """
    rng = np.random.default_rng(seed)
    inputs = {name: _to_float64(value) for name, value in inputs.items()}
    arrays = _named_arrays(inputs)
    if not arrays:
        raise ValueError("inputs: expected at least one NumPy array of floats, or Parameters")
    out, cache = forward(**inputs)
    cotangents = [rng.standard_normal(np.shape(part)) for part in _parts(out)]
    dout = tuple(cotangents) if isinstance(out, tuple) else cotangents[0]
    gradients = _named_arrays(backward(dout, cache, **inputs))

    def weighed():
        parts = _parts(forward(**inputs)[0])
        return sum(float(np.sum(c * p)) for c, p in zip(cotangents, parts, strict=True))

    rows = []
    for name, array in arrays.items():
        gradient = gradients.get(name)
        if gradient is None or gradient.shape != array.shape:
            came = "none" if gradient is None else f"one of the shape {gradient.shape}"
            raise GradientError(
                f"{name}: expected a gradient of the shape {array.shape}, got {came}"
            )
        zero = any(name.endswith(ending) for ending in zeros)
        found = _worst(
            name, weighed, array, gradient, entries, rng, ZERO if zero else tolerance, zero
        )
        rows.append(found)
    failed = [row for row in rows if not row.passed]
    if failed:
        raise GradientError("\n".join(map(str, failed)))
    return rows


def check_model(
    model: Any,
    batch: Mapping[str, Any],
    labels: Any,
    *,
    dropout_seed: int | None = None,
    entries: int | None = 4,
    zeros: Iterable[str] = (),
    tolerance: float = 1e-6,
    seed: int = 0,
) -> list[Row]:
    """Check every parameter of a model, each by itself: `loss_and_grads` against `loss_forward`.

    Args:
        model: has `config` and `params`, is built from them, and has the two methods.
        batch, labels: as `loss_and_grads` takes them.
        dropout_seed: turn dropout on, replaying this generator at each call; None: off.
        entries, zeros, tolerance, seed: as in `check_pair`.

    Returns:
        the worst disagreement in each parameter.

    Raises:
        GradientError: an error above the tolerance.
    """

    def replayed():
        return None if dropout_seed is None else np.random.default_rng(dropout_seed)

    def forward(params):
        return type(model)(model.config, params=params).loss_forward(batch, labels, replayed())

    def backward(dloss, cache, params):
        twin = type(model)(model.config, params=params)
        grads = params.zeros_like()
        grads.vector[:] = 1  # what was there before must stay: gradients add up
        twin.loss_and_grads(batch, labels, replayed(), grads=grads)
        return {"params": Parameters(grads.shapes, (grads.vector - 1) * dloss)}

    inputs = {"params": model.params}
    return check_pair(
        forward,
        backward,
        inputs,
        entries=entries,
        zeros=zeros,
        tolerance=tolerance,
        seed=seed,
    )


def _worst(name, function, array, gradient, entries, rng, tolerance, zero):
    """Try elements of `array` and one direction through it; return the row of the worst."""
    largest = np.abs(gradient).max(initial=0)
    chosen = np.arange(array.size)
    if entries is not None and entries < array.size:
        chosen = rng.choice(array.size, entries, replace=False)
    indices = [tuple(int(i) for i in np.unravel_index(flat, array.shape)) for flat in chosen]
    rows = []
    for index in [*indices, None]:
        if index is None:
            direction = rng.standard_normal(array.shape)
            direction /= np.linalg.norm(direction)
        else:
            direction = np.zeros(array.shape)
            direction[index] = 1
        analytic = float(np.sum(gradient * direction))
        numeric = _slope(function, array, direction)
        scale = 1 if zero else max(abs(analytic), abs(numeric), 1e-3 * largest)
        wrong = max(abs(analytic), abs(numeric)) if zero else abs(analytic - numeric)
        error = float(wrong / scale) if scale else 0.0
        rows.append(Row(name, index, analytic, numeric, error, tolerance))
    return max(rows, key=lambda row: np.inf if np.isnan(row.error) else row.error)


def _slope(function, array, direction):
    """The derivative of `function()` as `array` moves along `direction`."""
    kept = array.copy()
    total = 0.0
    for steps, weight in STENCIL:
        array[...] = kept + steps * STEP * direction
        total += weight * function()
    array[...] = kept
    return total / (12 * STEP)


def _to_float64(value):
    if isinstance(value, Parameters):
        return value.astype(np.float64)
    if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating):
        return value.astype(np.float64)
    return value


def _named_arrays(values):
    """The arrays of floats in `values`, those of a `Parameters` by their own names."""
    arrays: dict[str, np.ndarray] = {}
    for name, value in values.items():
        if isinstance(value, Parameters):
            arrays.update(value)
        elif isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating):
            arrays[name] = value
    return arrays


def _parts(out):
    return out if isinstance(out, tuple) else (out,)
