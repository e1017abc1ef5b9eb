"""Gradient checks of a function and a model."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minibert.gradcheck import blind, values
from minibert.gradcheck.comparison import (
    EPS,
    Comparison,
    GradientResult,
    assert_analytic,
    sample_moves,
)
from minibert.gradcheck.slopes import complex_dtype
from minibert.gradcheck.values import GradientError, InconclusiveError
from minibert.models.config import require_int
from minibert.parameters import Parameters

TOLERANCE, MODEL_TOLERANCE = 1e-7, 1e-6  # of `GradientResult.error`, in float64
DELAY = 3  # seconds until a check shows its progress
DRAWS = 1  # the purpose of the random numbers, next to the seed
ZERO = 1e-10  # the largest absolute value of a provably zero gradient, in float64


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
    step: float | None = None,
    seed: int = 0,
) -> list[GradientResult]:
    """Check a backward against its forward, array by array.

    The output is weighted with random numbers (a cotangent of ones lets wrong softmax and
    layer-norm gradients pass), and the slope of the weighted sum is found by centred differences on
    five points, or by the complex step.

    Args:
        forward: called as `forward(**inputs)`, returns `(out, cache)`; out is an array, a number or
            a tuple of them. It must draw the same random numbers in each call.
        backward: called as `backward(dout, cache, **inputs)`, returns the gradient of each input of
            floats: a mapping by name, a tuple in their order, or one array.
        inputs: values by name. NumPy's floats and `Parameters` are converted to `dtype` and
            checked; everything else, including complex numbers, is passed on.
        dout: weights of the output; None: random ones, which detect most.
        entries: number of elements of each array to check, drawn at random; None: all; 0: none.
        directions: number of random directions through the whole of each array to check.
        complex_step: compute slopes as Im f(x + ih) / h, exact to rounding, where the forward is
            made of functions that take complex numbers (not abs, max or a comparison).
        dtype: float32, float64 or longdouble: the dtype to compute in.
        zeros: endings of the names of gradients that are provably zero; both sides must be below
            1e-10, or its equivalent in `dtype`.
        still: names of frozen arrays: their gradient must be exactly 0, whatever the slope; they
            have no result, and may contain infinities.
        tolerance: the largest `GradientResult.error` that passes; None: 1e-7, or its equivalent in
            `dtype`.
        step: the longest step, which is tried first; None: it follows the array's values. Where it
            fails, shorter steps are tried before the gradient is called wrong.
        seed: the random seed of the weights, the directions and the choice of elements.

    Returns:
        the largest disagreement in each array.

    Raises:
        ValueError: nothing can be checked, the forward returns something else or differs from call
            to call, or the complex step cannot pass through it.
        GradientError: an error above the tolerance, a gradient that is missing or has the wrong
            shape or dtype, or an input or dout that was written to.
        InconclusiveError: no gradient is wrong, but the slopes from several steps disagree too much
            to confirm one, or those of both sides of a kink do; a subclass of GradientError.

    Warns:
        BlindSpotWarning: the check is run in a way that cannot detect some bug.
    """
    # Not default_rng(seed): inputs that the caller has drawn from it would equal the cotangents.
    rng = np.random.default_rng([seed, DRAWS])
    dtype = values.validate_dtype(dtype)
    zeros, still = values.validate_names("zeros", zeros), values.validate_names("still", still)
    tolerance, zero_tolerance = _tolerances(tolerance, dtype)
    inputs = values.convert_inputs(inputs, dtype)
    arrays = values.float_arrays_of(inputs)
    _validate_options(arrays, entries, directions, still, tolerance)
    _validate_step(step, complex_step)
    blind.warn_about_inputs(inputs)

    out, cache, first = _run_forward(forward, inputs)
    cotangents = values.make_cotangents(dout, out, dtype, rng)
    if dout is not None:
        blind.warn_about_cotangents(cotangents)
    gradients = _run_backward(backward, cotangents, out, cache, inputs)
    blind.warn_about_gradients(gradients, arrays, inputs)
    blind.warn_about_ids(forward, inputs, first)

    if complex_step:
        inputs = values.convert_inputs(inputs, complex_dtype(dtype))
        arrays = {name: values.flatten(inputs)[name] for name in arrays}

    def weighted():
        with np.errstate(all="ignore"):  # a step may leave the forward's domain: NaN never passes
            moved = values.as_tuple(forward(**inputs)[0])
        pairs = zip(cotangents, moved, strict=True)
        return np.concatenate([np.ravel(cotangent * part) for cotangent, part in pairs])

    def compare(name, array, bar):
        is_zero = name.endswith(zeros)
        if complex_step:
            assert_analytic(name, weighted, array, rng)
        moves = _counted(sample_moves(array.shape, entries, directions, rng), bar)
        allowed = zero_tolerance if is_zero else tolerance
        comparison = Comparison(name, weighted, array, checked[name], allowed, is_zero, step)
        return comparison.worst(moves)

    checked = _checked_gradients(arrays, gradients, still)
    sizes = [arrays[name].size for name in checked]
    total = sum(size if entries is None else min(entries, size) for size in sizes)
    with progress_bar(total + directions * len(sizes)) as bar:
        results = [compare(name, arrays[name], bar) for name in checked]
    _refuse_failures(results, first, dtype)
    return results


def _tolerances(tolerance, dtype):
    """Return the tolerances of ordinary and of provably zero gradients in this dtype."""
    coarser = float(np.finfo(dtype).eps) / EPS  # relative to float64
    return TOLERANCE * coarser**0.5 if tolerance is None else tolerance, ZERO * coarser**0.8


def _run_forward(forward, inputs):
    """Return the output, the cache and a copy of the output of a forward that repeats."""
    before = values.snapshot(inputs)
    out, cache = values.call_forward(forward, inputs)
    first = [np.array(part) for part in values.as_tuple(out)]  # the forward may reuse its buffers
    values.assert_unchanged(inputs, before, "the forward")
    again, _ = values.call_forward(forward, inputs)
    if not all(map(values.arrays_equal, first, values.as_tuple(again))):
        raise ValueError(
            "forward: two calls with the same inputs gave different outputs; it must draw the same "
            "random numbers in each call"
        )
    return out, cache, first


def _run_backward(backward, cotangents, out, cache, inputs):
    """Return the gradients by name of a backward that writes neither to inputs nor to dout."""
    before = values.snapshot(inputs)
    given = [cotangent.copy() for cotangent in cotangents]
    returned = backward(tuple(given) if isinstance(out, tuple) else given[0], cache, **inputs)
    values.assert_unchanged(inputs, before, "the backward")
    if not all(map(values.arrays_equal, given, cotangents)):
        raise GradientError("dout: expected the backward to leave it unchanged, got other values")
    return values.gradients_by_name(returned, inputs)


def _checked_gradients(arrays, gradients, still):
    """Return the gradients to compare (dict), after checking that those of frozen arrays are 0."""
    checked = {}
    for name, array in arrays.items():
        gradient = values.get_gradient(name, array, gradients)
        if name not in still:
            checked[name] = gradient
        elif gradient.any():
            raise GradientError(f"{name}: expected a gradient of 0, because it is frozen")
    return checked


@contextmanager
def progress_bar(total: int) -> Iterator[Any]:
    """Show a bar on stderr, if the check takes longer than a few seconds."""
    from tqdm import tqdm  # imported here because the import is slow

    title = "gradcheck (a smaller entries= is faster)"
    with tqdm(total=total, desc=title, unit="slope", delay=DELAY, leave=False) as bar:
        yield bar


def _counted(moves, bar):
    for move in moves:
        yield move
        bar.update()


def _refuse_failures(results, first, dtype):
    """Raise an error with a line for each wrong result, or else for each inconclusive one."""
    failed = [result for result in results if not result.passed]
    wrong = [result for result in failed if not result.inconclusive]
    if failed:
        coarse = {part.dtype for part in first if _is_coarser(part.dtype, dtype)}
        lines = [*map(str, wrong or failed), *(_coarse_output(each, dtype) for each in coarse)]
        raise (GradientError if wrong else InconclusiveError)("\n".join(lines))


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
) -> list[GradientResult]:
    """Check every parameter of a model: `loss_and_grads` against `loss_forward`.

    Args:
        model: has `params` and the two methods, which return `(loss, grads)` and `(loss, cache)`
            and read the parameters from `self.params`: those of a shallow copy are moved.
        batch: the batch that both methods take.
        labels: the labels that both methods take.
        dropout_seed: turn dropout on, with the same generator in each call; None: off.
        denominator: of the loss, which both methods take.
        entries: as in `check_pair`.
        tolerance: as in `check_pair`.
        how: further options of `check_pair`.

    Returns, raises, warns: as `check_pair`.
    """
    blind.warn_about_batch(batch)
    batch, labels = copy.deepcopy((batch, labels))  # the caller's are left alone
    given = {**batch, **(labels if isinstance(labels, Mapping) else {"labels": labels})}
    before = values.snapshot(given)

    def run(params, method, seed=dropout_seed, **options):
        twin = copy.copy(model)
        twin.params = params
        rng = None if seed is None else np.random.default_rng(seed)
        return getattr(twin, method)(batch, labels, rng, denominator=denominator, **options)

    def forward(params):
        loss, _ = run(params, "loss_forward")
        values.assert_unchanged(given, before, "the model")
        return loss, loss

    def backward(dloss, loss, params):
        if dropout_seed is not None:
            blind.warn_about_dropout(loss, run(params, "loss_forward", seed=None)[0])
        (returned, _), grads = accumulated_gradients(
            params, lambda grads: run(params, "loss_and_grads", grads=grads)
        )
        values.assert_unchanged(given, before, "the model")
        if not np.isclose(returned, loss, equal_nan=True):
            raise GradientError(
                f"loss_and_grads: expected the loss of loss_forward, {loss}, got {returned}"
            )
        grads.vector[:] *= dloss
        return {"params": grads}

    return check_pair(
        forward,
        backward,
        {"params": model.params},
        entries=entries,
        tolerance=tolerance,
        **how,
    )


def accumulated_gradients(
    params: Parameters, backward: Callable[[Parameters], Any]
) -> tuple[Any, Parameters]:
    """Return what `backward(grads)` returns, and what it adds to non-zero gradients.

    Gradients accumulate, so the previous values must remain. They are as large as what is added, or
    rounding would lose one of the two; therefore `backward` runs twice, first to measure the size.

    Args:
        params: the layout of the gradients.
        backward: called as `backward(grads)`, adds to them.

    Raises:
        GradientError: the backward overwrites a gradient instead of adding to it.
    """
    grads, previous = params.zeros_like(), params.zeros_like()
    backward(grads)
    for name, gradient in grads.items():
        previous[name][...] = np.abs(gradient).max(initial=0) or 1
    first, grads.vector[:] = grads.vector.copy(), previous.vector
    dinputs = backward(grads)
    for name, gradient in grads.items():
        own = first[grads.slices[name]]
        if own.size and np.isfinite(own).all() and (gradient.ravel() == own).all():
            raise GradientError(
                f"{name}: expected the backward to add to its gradient (+=), got one that "
                "overwrites the values before (=)"
            )
    grads.vector[:] -= previous.vector
    return dinputs, grads


added = accumulated_gradients  # the name that minibert.testing.cases imports


def _validate_options(arrays, entries, directions, still, tolerance):
    """Refuse options that check nothing or do not fit the inputs."""
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
            values.assert_finite(name, array)


def _validate_step(step, complex_step):
    if step is None:
        return
    if complex_step:
        raise ValueError("step, complex_step: expected one of them, got both")
    if not (isinstance(step, int | float | np.number) and 0 < step < np.inf):
        raise ValueError(f"step: expected a positive number, got {step!r}")


def _is_coarser(one, other):
    return np.issubdtype(one, np.floating) and np.finfo(one).eps > np.finfo(other).eps


def _coarse_output(coarse, dtype):
    return (
        f"the forward's output is of {coarse}, its inputs are of {dtype}: compute in the inputs' "
        f"dtype, or check in that one"
    )
