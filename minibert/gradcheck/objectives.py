"""A check of an objective: its shards and its gradient."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minibert.gradcheck import contract
from minibert.gradcheck.checks import MODEL_TOLERANCE, accumulated_gradients, check_pair
from minibert.gradcheck.comparison import GradientResult
from minibert.gradcheck.values import GradientError
from minibert.parameters import Parameters

AGREEMENT = 1e-9  # relative difference between a whole batch and its shards, in float64
METHODS = ("count", "loss_and_grads")
TWO_PHASE_METHODS = ("first", "between")


def check_objective(
    objective: Any,
    params: Parameters,
    whole: Any,
    parts: Sequence[Any],
    *,
    dropout_seed: int | None = None,
    entries: int | None = 4,
    tolerance: float | None = MODEL_TOLERANCE,
    agreement: float = AGREEMENT,
    **how: Any,
) -> list[GradientResult]:
    """Check an objective: its loss is independent of the shards, and its gradient is right.

    The loss and the gradient of one shard must equal the sums over several shards of the same data,
    and the gradient must agree with finite differences of the loss, both for one shard and for
    several.

    Args:
        objective: has `count(shard)`, the shard's share of the denominator, and
            `loss_and_grads(shard, extra, rng, grads, denominator)`, which adds into `grads` and
            returns the loss, or a tuple that begins with it. If its `two_phase` is true, also
            `first(shard, rng)` and `between(parts)`: `between` takes the results of all `first`
            in shard order and returns the `extra` of each shard; otherwise `extra` is None.
            It reads the parameters from `params`, which is moved.
        params: the parameters, in float64, of the model that the objective trains.
        whole: the batch as one shard.
        parts: the same batch as two or more shards, preferably of different sizes.
        dropout_seed: draw dropout from this seed in the gradient check; None: rng is None. Masks
            differ between shards, so `whole` and `parts` are compared without dropout.
        entries: number of elements of each parameter to move; None: all.
        tolerance: the largest `GradientResult.error` that passes.
        agreement: the largest relative difference between `whole` and `parts`.
        how: further options of `check_pair`.

    Returns:
        the largest disagreement in each parameter, for `parts`.

    Raises:
        ValueError: a method is missing, or there are fewer than two parts.
        GradientError: the loss or a gradient depends on the shards or disagrees with finite
            differences. The message names the objective's class.
    """
    owner = type(objective).__name__
    _require_methods(objective, owner)
    if len(parts) < 2:
        raise ValueError(f"parts: expected two or more shards, got {len(parts)}")
    if params.vector.dtype != np.float64:
        raise ValueError(f"params: expected float64, got {params.vector.dtype}")
    before = params.vector.copy()
    shards_before = _shard_values(whole, parts)
    try:
        _compare_counts(objective, whole, parts)
        _compare_shards(objective, params, whole, parts, agreement)
        changed = contract.changed_path(shards_before, _shard_values(whole, parts))
        if changed is not None:
            raise GradientError(f"{changed}: expected it unchanged, got other values")
        for shards in ([whole], parts):
            results = _check_gradient(
                objective, params, shards, dropout_seed,
                entries=entries, tolerance=tolerance, **how,
            )  # fmt: skip
    except GradientError as error:
        lines = str(error).splitlines()
        raise type(error)("\n".join(f"{owner}: {line}" for line in lines)) from error
    finally:
        params.vector[:] = before
    return results


def _require_methods(objective, owner):
    needed = METHODS + (TWO_PHASE_METHODS if getattr(objective, "two_phase", False) else ())
    for name in needed:
        if not callable(getattr(objective, name, None)):
            raise ValueError(f"{owner}: expected a method {name}, found none")


def _shard_values(whole, parts):
    return {**contract.state_of(whole, "whole"), **contract.state_of(list(parts), "parts")}


def _compare_counts(objective, whole, parts):
    expected, got = _count(objective, [whole]), _count(objective, parts)
    if np.shape(expected) != np.shape(got) or not np.allclose(expected, got, rtol=AGREEMENT):
        raise GradientError(
            f"count: expected the counts of {len(parts)} shards to sum to that of the whole "
            f"batch, {expected}, got {got}"
        )


def _compare_shards(objective, params, whole, parts, agreement):
    """Compare the loss and each gradient of the whole batch with the sums over its shards."""
    (loss, _), grads = accumulated_gradients(
        params, lambda grads: _run(objective, params, [whole], None, grads)
    )
    part_loss, part_grads = _run(objective, params, parts, None)
    if not abs(part_loss - loss) <= agreement * abs(loss):
        raise GradientError(
            f"loss: expected {loss:.10g} for any number of shards, got {part_loss:.10g} with "
            f"{len(parts)}; divide by the given denominator, not by the shard's own count"
        )
    largest = np.abs(grads.vector).max(initial=0)
    for name, gradient in grads.items():
        difference = np.abs(part_grads[name] - gradient)
        scale = max(np.abs(gradient).max(initial=0), 1e-3 * largest)
        if difference.size and not difference.max() <= agreement * scale:
            place = np.unravel_index(int(np.argmax(np.nan_to_num(difference, nan=np.inf))),
                                     difference.shape)  # fmt: skip
            raise GradientError(
                f"{name}: expected the gradient {gradient[place]:.10g} at "
                f"{[int(i) for i in place]} for any number of shards, got "
                f"{part_grads[name][place]:.10g} with {len(parts)}"
            )


def _check_gradient(objective, params, shards, dropout_seed, **how):
    """Compare the gradient of these shards with finite differences of their loss."""

    def moved_to(moved):
        params.vector[:] = moved.vector

    def forward(params):
        moved_to(params)
        loss, _ = _run(objective, params, shards, dropout_seed)
        return loss, None

    def backward(dloss, _, params):
        moved_to(params)
        _, grads = accumulated_gradients(
            params,
            lambda grads: _run(objective, params, shards, dropout_seed, grads),
        )
        grads.vector[:] *= dloss
        return {"params": grads}

    return check_pair(forward, backward, {"params": params}, **how)


def _count(objective, shards):
    return sum(np.asarray(objective.count(shard), dtype=np.float64) for shard in shards)


def _run(
    objective: Any,
    params: Parameters,
    shards: Sequence[Any],
    dropout_seed: int | None,
    grads: Parameters | None = None,
) -> tuple[float, Parameters]:
    """Return the loss and the gradients of a step, computed as the engine computes them."""
    grads = params.zeros_like() if grads is None else grads
    counts: ArrayLike = _count(objective, shards)
    denominator = np.where(np.asarray(counts) > 0, counts, 1)
    extras: Sequence[Any] = [None] * len(shards)
    if getattr(objective, "two_phase", False):
        extras = objective.between(
            [objective.first(s, _generator(dropout_seed, i)) for i, s in enumerate(shards)]
        )
        if not isinstance(extras, list | tuple) or len(extras) != len(shards):
            got = len(extras) if isinstance(extras, list | tuple) else type(extras).__name__
            raise GradientError(
                f"between: expected a list with an extra for each of {len(shards)} shards, got "
                f"{got}"
            )
    total = 0.0
    for i, (shard, extra) in enumerate(zip(shards, extras, strict=True)):
        # The generator of `first`, because both phases must draw the same dropout.
        rng = _generator(dropout_seed, i)
        returned = objective.loss_and_grads(shard, extra, rng, grads, denominator)
        total += float(returned[0] if isinstance(returned, tuple) else returned)
    return total, grads


def _generator(seed, shard):
    return None if seed is None else np.random.default_rng([seed, shard])
