"""A trial of an objective before training: one line for a wrong type, shape or sum."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from minibert.objectives.base import Evaluation, Objective, quiet
from minibert.parameters import Parameters
from minibert.runtime.blas import one_blas_thread
from minibert.typing import Rng

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3  # relative; in float32


def try_objective(
    objective: Objective, params: Parameters, rng_of: Callable[[int], Rng], step: int
) -> None:
    """Run an objective on the shards of one step, and check its results.

    The gradient is computed for the first shard only, twice: with the denominator doubled, the loss
    must halve and its gradient must be added to the gradient before. Otherwise the training would
    depend on the number of shards.

    Args:
        objective: the objective to check.
        params: the parameters of the model.
        rng_of: returns the dropout generator of a shard.
        step: the step whose shards are used.

    Raises:
        TypeError, ValueError: a result of a wrong type, shape or value; the message names the
            class and the method.
    """
    name = type(objective).__name__
    shards = objective.shards(step)
    if not isinstance(shards, Sequence) or not shards:
        raise TypeError(f"{name}.shards: expected a sequence of at least one shard, "
                        f"got {_described(shards)}")  # fmt: skip
    counts = [_numbers(f"{name}.count", objective.count(shard)) for shard in shards]
    shapes = {count.shape for count in counts}
    if len(shapes) > 1:
        raise ValueError(f"{name}.count: expected one shape for all shards, "
                         f"got {' and '.join(map(str, sorted(shapes)))}")  # fmt: skip
    if min(count.min(initial=0) for count in counts) < 0:
        raise ValueError(f"{name}.count: expected 0 or more, "
                         f"got {min(count.min() for count in counts)}")  # fmt: skip
    tokens = objective.tokens(shards[0])
    if not isinstance(tokens, int | np.integer):
        raise TypeError(f"{name}.tokens: expected an integer, got {_described(tokens)}")
    total = sum(counts)
    with one_blas_thread(), quiet():
        extra = _exchange(objective, shards, rng_of)
        _try_sum(objective, shards[0], extra, rng_of, params, np.where(total > 0, total, 1))


def _exchange(objective: Objective, shards: Sequence[Any], rng_of: Callable[[int], Rng]) -> Any:
    """Run the first phase of an objective that has two, return the first shard's `extra`."""
    if not objective.two_phase:
        return None
    parts = [objective.first(shard, rng_of(i)) for i, shard in enumerate(shards)]
    extras = objective.between(parts)
    if not isinstance(extras, Sequence) or len(extras) != len(shards):
        raise TypeError(
            f"{type(objective).__name__}.between: expected a sequence of {len(shards)} parts, one "
            f"per shard, got {_described(extras)}"
        )
    return extras[0]


def _try_sum(
    objective: Objective,
    shard: Any,
    extra: Any,
    rng_of: Callable[[int], Rng],
    params: Parameters,
    denominator: Any,
) -> None:
    """Check that the loss is divided by the denominator, and that gradients are added."""
    name, grads = f"{type(objective).__name__}.loss_and_grads", params.zeros_like()
    losses, vectors = [], []
    for factor in (1, 2):
        loss = objective.loss_and_grads(shard, extra, rng_of(0), grads, factor * denominator)
        if not isinstance(loss, Real) and getattr(loss, "shape", None) != ():
            raise TypeError(f"{name}: expected the loss as a float, got {_described(loss)}")
        losses.append(float(_numbers(name, loss)))
        vectors.append(grads.vector.copy())
    whole, half = losses
    if np.isfinite(whole) and abs(half - whole / 2) > LOSS_TOLERANCE * abs(whole):
        raise ValueError(
            f"{name}: expected half the loss for twice the denominator, {whole / 2:.6g}, "
            f"got {half:.6g}; divide the sum over the shard by `denominator`"
        )
    once, twice = vectors
    error = np.linalg.norm(twice - 1.5 * once)
    if np.isfinite(error) and error > GRADIENT_TOLERANCE * np.linalg.norm(once):
        raise ValueError(
            f"{name}: expected a gradient that is divided by the denominator and added to `grads`, "
            f"got one that is off by {error / np.linalg.norm(once):.2g} of its norm"
        )


def checked_evaluation(objective: Objective, step: int) -> Evaluation | None:
    """Return the evaluation of an objective after a step.

    Raises:
        TypeError: it is not a line of text and numbers by name; the message names the class.
    """
    found: Any = objective.evaluate(step)
    if found is None:
        return None
    match found:
        case (str(), dict() as figures) if all(_is_figure(*item) for item in figures.items()):
            return found[0], figures
    raise TypeError(
        f"{type(objective).__name__}.evaluate: expected a line of text and a dictionary of "
        f"numbers, or None, got {_described(found)}"
    )


def _is_figure(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, int | float)


def _numbers(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.number):
        raise TypeError(f"{name}: expected a number, got {_described(value)}")
    return array


def _described(value: Any) -> str:
    """Return a short description of a value of any type."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} in {value.dtype}"
    length = f" of length {len(value)}" if isinstance(value, Sequence) else ""
    return f"{type(value).__name__}{length}"
