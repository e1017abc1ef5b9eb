"""The checks: of a function, a layer, a model."""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minibert.gradcheck import blind, values
from minibert.gradcheck.comparison import EPS, Row, compare, moves, must_be_analytic
from minibert.gradcheck.slopes import complex_of
from minibert.gradcheck.values import GradientError
from minibert.models.config import require_int
from minibert.parameters import Parameters

TOLERANCE, MODEL_TOLERANCE = 1e-7, 1e-6  # of the error that `Row` defines, in float64
ZERO = 1e-10  # a gradient that is provably zero stays below this, in float64


def check_pair(
    forward: Callable[..., tuple[Any, Any]],
    backward: Callable[..., Any],
    inputs: Mapping[str, Any],
    *,
    dout: Any = None,
    entries: int | None = None,
    directions: int = 1,
    complex_step: bool = False,
    dtype: DTypeLike = np.float64,
    zeros: Iterable[str] = (),
    still: Iterable[str] = (),
    tolerance: float | None = None,
    seed: int = 0,
) -> list[Row]:
    """Check a backward against its forward, each array element by element and along directions.

    The output is weighed with random numbers (a cotangent of ones lets wrong softmax and layer-norm
    gradients pass), and the slope of the weighed sum is found by centred differences on five
    points, or by the complex step.

    Args:
        forward: called as `forward(**inputs)`, returns `(out, cache)`; out is an array, a number or
            a tuple of them. What it draws at random it must draw the same at each call.
        backward: called as `backward(dout, cache, **inputs)`, returns the gradient of each input of
            floats: a mapping by name, a tuple in their order, or the one array there is.
        inputs: by name. NumPy's floats and `Parameters` are converted to `dtype` and checked;
            everything else, complex numbers too, is handed on as it is.
        dout: weights of the output; None: random ones, which is what sees most.
        entries: check this many elements of each array, drawn at random; None: all; 0: none.
        directions: check as many random directions through all of an array at once.
        complex_step: find slopes by f(x + ih), exact to rounding, where the forward is made of
            functions that complex numbers go through (not abs, max or a comparison).
        dtype: float64, float32 or longdouble: what to compute in.
        zeros: endings of the names of gradients that are provably zero; both sides must stay below
            1e-10, or what is like it in `dtype`.
        still: names of arrays that don't learn: their gradient must be 0 to the bit, whatever the
            slope; they have no row, and needn't be finite.
        tolerance: of the error that `Row` defines; None: 1e-7, or what is like it in `dtype`.
        seed: of the weights, the directions and the choice of elements.

    Returns:
        the worst disagreement in each array.

    Raises:
        ValueError: there is nothing to check or no way to, the forward returns something else or
            differs from call to call, or the complex step is no way to go through it.
        GradientError: an error above the tolerance, a gradient missing or of the wrong shape or
            dtype, or an input or dout that was written to.

    Warns:
        BlindSpotWarning: the check is run in a way that can't see a bug.
    """
    rng = np.random.default_rng(seed)
    dtype = values.real_dtype(dtype)
    coarser = float(np.finfo(dtype).eps) / EPS  # than float64
    tolerance = TOLERANCE * coarser**0.5 if tolerance is None else tolerance
    zeros, still = values.names("zeros", zeros), values.names("still", still)
    zero_tolerance = ZERO * coarser**0.8
    inputs = values.converted(inputs, dtype)
    arrays = values.floats(inputs)
    _look_at_how(arrays, entries, directions, still, tolerance)
    blind.look_at_inputs(inputs)

    before = values.kept(inputs)
    out, cache = values.called(forward, inputs)
    first = [np.array(part) for part in values.parts(out)]  # the forward may use its memory again
    values.must_be_as_kept(inputs, before, "the forward or the backward")
    again, _ = values.called(forward, inputs)
    if not all(map(values.same, first, values.parts(again))):
        raise ValueError(
            "forward: two calls with the same inputs gave different outputs; what it draws at "
            "random must be drawn the same at each call"
        )
    cotangents = values.cotangents(dout, out, dtype, rng)
    if dout is not None:
        blind.look_at_cotangents(cotangents)
    given = [cotangent.copy() for cotangent in cotangents]
    returned = backward(tuple(given) if isinstance(out, tuple) else given[0], cache, **inputs)
    values.must_be_as_kept(inputs, before, "the forward or the backward")
    if not all(map(values.same, given, cotangents)):
        raise GradientError("dout: the backward wrote to it")
    gradients = values.gradients(returned, inputs)
    blind.look_at_gradients(gradients, arrays)

    if complex_step:
        inputs = values.converted(inputs, complex_of(dtype))
        arrays = {name: values.flat(inputs)[name] for name in arrays}

    def weighed():
        moved = values.parts(forward(**inputs)[0])
        return sum(np.sum(c * p) for c, p in zip(cotangents, moved, strict=True))

    rows = []
    for name, array in arrays.items():
        gradient = values.gradient_of(name, array, gradients)
        if name in still:
            if gradient.any():
                raise GradientError(f"{name}: expected a gradient of 0, for it doesn't learn")
            continue
        zero = name.endswith(zeros)
        if complex_step:
            must_be_analytic(name, weighed, array, rng)
        tried = moves(array.shape, entries, directions, rng)
        allowed = zero_tolerance if zero else tolerance
        rows.append(compare(name, weighed, array, gradient, tried, allowed, zero))
    failed = [row for row in rows if not row.passed]
    if failed:
        coarse = {part.dtype for part in first if _coarser(part.dtype, dtype)}
        raise GradientError("\n".join([*map(str, failed), *(_rounds(d, dtype) for d in coarse)]))
    return rows


def check_layer(
    layer: Any,
    inputs: Mapping[str, Any],
    params: Parameters | None = None,
    *,
    forward: Callable[..., tuple[Any, Any]] | None = None,
    **how: Any,
) -> list[Row]:
    """Check a layer: every parameter and every input.

    Args:
        layer: has `shapes()`, `forward(params, **inputs) -> (out, cache)` and
            `backward(dout, cache, params, grads)`, which adds into `grads` and returns the gradient
            of each input of floats: one array, or a tuple in their order.
        inputs: by name, as `forward` takes them.
        params: float64; None: random ones away from where parameters start.
        forward: instead of the layer's own, with more arguments filled in, say; called as
            `forward(params=params, **inputs)`.
        how: as in `check_pair`.

    Returns, raises, warns: as `check_pair`.
    """
    if params is None:
        params = blind.away_from_initial(Parameters(layer.shapes()))

    forward = forward or layer.forward

    def backward(dout, cache, params, **inputs):
        def run(grads):
            _, cache = forward(params=params, **inputs)  # each time anew: it may be used up
            return layer.backward(dout, cache, params, grads)

        dinputs, grads = added(params, run)
        return {**values.gradients(dinputs, inputs), "params": grads}

    return check_pair(forward, backward, {"params": params, **inputs}, **how)


def check_model(
    model: Any,
    batch: Mapping[str, Any],
    labels: Any,
    *,
    dropout_seed: int | None = None,
    denominator: ArrayLike | None = None,
    entries: int | None = 4,
    tolerance: float | None = MODEL_TOLERANCE,
    **how: Any,
) -> list[Row]:
    """Check every parameter of a model, each by itself: `loss_and_grads` against `loss_forward`.

    Args:
        model: has `params` and the two methods, which return `(loss, grads)` and `(loss, cache)`,
            and computes with the `params` that it has at the time: those of a shallow copy are
            moved.
        batch, labels, denominator: as `loss_and_grads` takes them.
        dropout_seed: turn dropout on, replaying this generator at each call; None: off.
        entries, tolerance, how: as in `check_pair`.

    Returns, raises, warns: as `check_pair`.
    """
    blind.look_at_batch(batch)
    given = {**batch, **(labels if isinstance(labels, Mapping) else {"labels": labels})}
    before = values.kept(given)

    def run(params, method, seed=dropout_seed, **options):
        twin = copy.copy(model)
        twin.params = params
        rng = None if seed is None else np.random.default_rng(seed)
        return getattr(twin, method)(batch, labels, rng, denominator=denominator, **options)

    def forward(params):
        loss, _ = run(params, "loss_forward")
        values.must_be_as_kept(given, before, "the model")
        return loss, loss

    def backward(dloss, loss, params):
        if dropout_seed is not None:
            blind.look_at_dropout(loss, run(params, "loss_forward", seed=None)[0])
        (returned, _), grads = added(
            params, lambda grads: run(params, "loss_and_grads", grads=grads)
        )
        values.must_be_as_kept(given, before, "the model")
        if not np.isclose(returned, loss, equal_nan=True):
            raise GradientError(
                f"loss_and_grads: expected the loss of loss_forward, {loss}, got {returned}"
            )
        return {"params": Parameters(grads.shapes, grads.vector * dloss)}

    return check_pair(
        forward,
        backward,
        {"params": model.params},
        entries=entries,
        tolerance=tolerance,
        **how,
    )


def added(params: Parameters, backward: Callable[[Parameters], Any]) -> tuple[Any, Parameters]:
    """Return what `backward(grads)` does, and what it adds to gradients that aren't zero before.

    What was there before must stay: gradients add up. It is as large as what is added, or one of
    them would be lost in rounding; so `backward` runs twice, at first to see how large that is.
    """
    grads, before = params.zeros_like(), params.zeros_like()
    backward(grads)
    for name, gradient in grads.items():
        before[name][...] = np.abs(gradient).max(initial=0) or 1
    grads.vector[:] = before.vector
    dinputs = backward(grads)
    grads.vector[:] -= before.vector
    return dinputs, grads


def _look_at_how(arrays, entries, directions, still, tolerance):
    """Refuse a check that can't be done, or that would check nothing."""
    if not arrays:
        raise ValueError("inputs: expected at least one NumPy array of floats, or Parameters")
    if entries is not None:
        require_int("entries", entries, at_least=0)
    require_int("directions", directions, at_least=0)
    if not directions and entries == 0:
        raise ValueError("entries, directions: both are 0, so nothing would be checked")
    if not tolerance >= 0:
        raise ValueError(f"tolerance: expected a number of at least 0, got {tolerance}")
    for name in still:
        if name not in arrays:
            raise ValueError(f"still: expected names among {', '.join(arrays)}, got {name}")
    for name, array in arrays.items():
        if name not in still:
            values.must_be_finite(name, array)


def _coarser(one, other):
    return np.issubdtype(one, np.floating) and np.finfo(one).eps > np.finfo(other).eps


def _rounds(coarse, dtype):
    return (
        f"the forward's output is of {coarse}, its inputs are of {dtype}: compute in the inputs' "
        f"dtype, or check in that one"
    )
