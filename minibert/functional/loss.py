"""Other losses: binary cross-entropy and squared error.

As in `cross_entropy`, each is a sum over the labels that count, divided by a denominator.
"""

from typing import NamedTuple

import numpy as np

from minibert.functional.cross_entropy import IGNORED
from minibert.typing import Array


class BinaryCrossEntropyCache(NamedTuple):
    """What `binary_cross_entropy_backward` needs: σ(s), y, where it counts, and n."""

    probabilities: Array
    targets: Array
    counted: Array
    denominator: float


def binary_cross_entropy_forward(
    logits: Array, labels: Array, denominator: float | None = None
) -> tuple[float, BinaryCrossEntropyCache]:
    """Cross-entropy of many yes-or-no questions, each with a logit of its own.

        loss = -(1/n) Σ_i y_i log σ(s_i) + (1 - y_i) log(1 - σ(s_i)),   σ(s) = 1 / (1 + exp(-s))

    It is computed as max(s, 0) - s·y + log(1 + exp(-|s|)), which is the same and can't overflow.

    Args:
        logits (...): s.
        labels (...): y, from 0 to 1, or -100 where nothing counts.
        denominator: n; None: the number of labels that count, at least 1.

    Returns:
        loss in nats, a float64 number, and the cache that `binary_cross_entropy_backward` needs.
    """
    counted = labels != IGNORED
    if denominator is None:
        denominator = max(int(counted.sum()), 1)
    targets = np.where(counted, labels, 0).astype(logits.dtype)
    decay = np.exp(-np.abs(logits))
    losses = np.maximum(logits, 0) - logits * targets + np.log1p(decay)
    # σ(s) = 1 / (1 + exp(-|s|)) on the right, and one minus that on the left.
    probabilities = np.where(logits >= 0, 1, decay) / (1 + decay)
    loss = float(losses.sum(where=counted, dtype=np.float64)) / denominator
    return loss, BinaryCrossEntropyCache(probabilities, targets, counted, denominator)


def binary_cross_entropy_backward(cache: BinaryCrossEntropyCache) -> Array:
    """Gradient of `binary_cross_entropy_forward`: (σ(s) - y) / n, zero where ignored."""
    probabilities, targets, counted, denominator = cache
    dlogits: Array = (probabilities - targets) * (counted / denominator).astype(targets.dtype)
    return dlogits


class SquaredErrorCache(NamedTuple):
    """What `squared_error_backward` needs: o - y, and n."""

    errors: Array
    denominator: float


def squared_error_forward(
    outputs: Array, targets: Array, denominator: float | None = None
) -> tuple[float, SquaredErrorCache]:
    """Sum the squares of the errors, and divide.

        loss = (1/n) Σ_i (o_i - y_i)²

    Args:
        outputs (...): o.
        targets (...): y.
        denominator: n; None: the number of targets.

    Returns:
        loss, a float64 number, and the cache that `squared_error_backward` needs.
    """
    if denominator is None:
        denominator = targets.size
    errors = outputs - targets.astype(outputs.dtype)
    squares = np.square(errors, dtype=np.float64)  # in float32 they overflow from 2e19 on
    return float(squares.sum()) / denominator, SquaredErrorCache(errors, denominator)


def squared_error_backward(cache: SquaredErrorCache) -> Array:
    """Gradient of `squared_error_forward`: 2 (o - y) / n."""
    errors, denominator = cache
    dlogits: Array = errors * errors.dtype.type(2 / denominator)
    return dlogits
