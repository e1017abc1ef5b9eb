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
    excess: Array  # (w - 1) y


def binary_cross_entropy_forward(
    logits: Array, labels: Array, denominator: float | Array | None = None,
    weights: Array | None = None,
) -> tuple[float, BinaryCrossEntropyCache]:  # fmt: skip
    """Cross-entropy of many yes-or-no questions, each with a logit of its own.

        loss = -(1/n) Σ_i w y_i log σ(s_i) + (1 - y_i) log(1 - σ(s_i)),   σ(s) = 1 / (1 + exp(-s))

    For w = 1 it is computed as max(s, 0) - s·y + log(1 + exp(-|s|)), which is the same and can't
    overflow; the rest is (w - 1) y (max(-s, 0) + log(1 + exp(-|s|))).

    Args:
        logits (..., C): s.
        labels (..., C): y, from 0 to 1, or -100 where nothing counts.
        denominator: n, a number or one for each row (B, 1); None: the number of labels that count,
            at least 1.
        weights (C,): w, how much each label counts where it is 1; None: ones.

    Returns:
        loss in nats, a float64 number, and the cache that `binary_cross_entropy_backward` needs.
    """
    counted = labels != IGNORED
    n = np.asarray(max(int(counted.sum()), 1) if denominator is None else denominator, np.float64)
    targets = np.where(counted, labels, 0).astype(logits.dtype)
    decay = np.exp(-np.abs(logits))
    losses = np.maximum(logits, 0) - logits * targets + np.log1p(decay)
    excess = (np.asarray(1 if weights is None else weights, logits.dtype) - 1) * targets
    losses += excess * (np.maximum(-logits, 0) + np.log1p(decay))
    # σ(s) = 1 / (1 + exp(-|s|)) on the right, and one minus that on the left.
    probabilities = np.where(logits >= 0, 1, decay) / (1 + decay)
    loss = float((losses / n).sum(where=counted))
    return loss, BinaryCrossEntropyCache(probabilities, targets, counted / n, excess)


def binary_cross_entropy_backward(cache: BinaryCrossEntropyCache) -> Array:
    """Gradient of `binary_cross_entropy_forward`: zero where ignored.

    Elsewhere (σ(s) - y + (w - 1) y (σ(s) - 1)) / n: the derivative of -log σ(s) is σ(s) - 1, and
    that of -log(1 - σ(s)) is σ(s).
    """
    probabilities, targets, scale, excess = cache
    dlogits: Array = probabilities - targets
    dlogits += excess * (probabilities - 1)
    dlogits *= scale.astype(targets.dtype)
    return dlogits


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
        denominator: n, a number or one for each row (B, 1); None: the number of targets, at
            least 1.

    Returns:
        loss, a float64 number, and the cache that `squared_error_backward` needs.
    """
    n = np.asarray(max(targets.size, 1) if denominator is None else denominator)
    errors = outputs - targets.astype(outputs.dtype)
    squares = np.square(errors, dtype=np.float64)  # in float32 they overflow from 2e19 on
    return float((squares / n).sum()), SquaredErrorCache(errors, n)


def squared_error_backward(cache: SquaredErrorCache) -> Array:
    """Gradient of `squared_error_forward`: 2 (o - y) / n."""
    errors, denominator = cache
    dlogits: Array = errors * (2 / denominator).astype(errors.dtype)
    return dlogits
