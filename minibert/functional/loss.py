"""Other losses: binary cross-entropy and squared error.

As in `cross_entropy`, each is a sum over the labels that count, divided by a denominator; or by one
for each row.
"""

from typing import NamedTuple

import numpy as np

from minibert.functional.cross_entropy import IGNORED
from minibert.typing import Array


class BinaryCrossEntropyCache(NamedTuple):
    """What `binary_cross_entropy_backward` needs."""

    probabilities: Array  # σ(s)
    targets: Array  # y
    scale: Array  # 1 / n, 0 where the label is ignored
    excess: Array | None  # (w - 1) y


def binary_cross_entropy_forward(
    logits: Array,
    labels: Array,
    denominator: float | Array | None = None,
    weights: Array | None = None,
) -> tuple[float, BinaryCrossEntropyCache]:
    """Cross-entropy of many yes-or-no questions, each with a logit of its own.

        loss = -(1/n) Σ_i w y_i log σ(s_i) + (1 - y_i) log(1 - σ(s_i)),   σ(s) = 1 / (1 + exp(-s))

    For w = 1 it is computed as max(s, 0) - s·y + log(1 + exp(-|s|)), which is the same and can't
    overflow; the rest is (w - 1) y (max(-s, 0) + log(1 + exp(-|s|))).

    Args:
        logits (..., C): s.
        labels (..., C): y, from 0 to 1, or -100 where nothing counts.
        denominator: n, a number or one for each row (B,); None: the number of labels that count, at
            least 1.
        weights (C,): w, how much each label counts where it is 1; None: ones.

    Returns:
        loss in nats, a float64 number, and the cache that `binary_cross_entropy_backward` needs.
    """
    counted = labels != IGNORED
    if denominator is None:
        denominator = max(int(counted.sum()), 1)
    targets = np.where(counted, labels, 0).astype(logits.dtype)
    decay = np.exp(-np.abs(logits))
    losses = np.maximum(logits, 0) - logits * targets + np.log1p(decay)
    excess = None
    if weights is not None:
        excess = (np.asarray(weights, logits.dtype) - 1) * targets
        losses += excess * (np.maximum(-logits, 0) + np.log1p(decay))
    # σ(s) = 1 / (1 + exp(-|s|)) on the right, and one minus that on the left.
    probabilities = np.where(logits >= 0, 1, decay) / (1 + decay)
    by_row = _by_row(denominator, logits.ndim)
    loss = float((losses / by_row).sum(where=counted, dtype=np.float64))
    return loss, BinaryCrossEntropyCache(probabilities, targets, counted / by_row, excess)


def binary_cross_entropy_backward(cache: BinaryCrossEntropyCache) -> Array:
    """Gradient of `binary_cross_entropy_forward`: zero where ignored.

    Elsewhere (σ(s) - y + (w - 1) y (σ(s) - 1)) / n: the derivative of -log σ(s) is σ(s) - 1, and
    that of -log(1 - σ(s)) is σ(s).
    """
    probabilities, targets, scale, excess = cache
    dlogits: Array = probabilities - targets
    if excess is not None:
        dlogits += excess * (probabilities - 1)
    dlogits *= scale.astype(targets.dtype)
    return dlogits


def _by_row(denominator: float | Array, axes: int) -> Array:
    """Return a denominator, or one for each row (B,), to divide an array of `axes` axes by."""
    by_row: Array = np.reshape(denominator, (-1, *(1,) * (axes - 1)))  # -> (B, 1, ...)
    return by_row


class SquaredErrorCache(NamedTuple):
    """What `squared_error_backward` needs: o - y, and n."""

    errors: Array
    denominator: Array


def squared_error_forward(
    outputs: Array, targets: Array, denominator: float | Array | None = None
) -> tuple[float, SquaredErrorCache]:
    """Sum the squares of the errors, and divide.

        loss = (1/n) Σ_i (o_i - y_i)²

    Args:
        outputs (...): o.
        targets (...): y.
        denominator: n, a number or one for each row (B,); None: the number of targets.

    Returns:
        loss, a float64 number, and the cache that `squared_error_backward` needs.
    """
    if denominator is None:
        denominator = targets.size
    errors = outputs - targets.astype(outputs.dtype)
    squares = np.square(errors, dtype=np.float64)  # in float32 they overflow from 2e19 on
    by_row = _by_row(denominator, outputs.ndim)
    return float((squares / by_row).sum()), SquaredErrorCache(errors, by_row)


def squared_error_backward(cache: SquaredErrorCache) -> Array:
    """Gradient of `squared_error_forward`: 2 (o - y) / n."""
    errors, denominator = cache
    dlogits: Array = errors * (2 / denominator).astype(errors.dtype)
    return dlogits
