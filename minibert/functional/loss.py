"""The losses: each a sum over the labels that count, divided by a denominator.

The denominator is an argument, so that parts of a batch, each divided by the whole batch's count,
add up to the batch's loss. Three labels as 2 + 1: (l₁ + l₂) / 3 + l₃ / 3 = (l₁ + l₂ + l₃) / 3.
"""

from typing import NamedTuple

import numpy as np

from minibert.typing import Array

IGNORED = -100  # the label of a position that does not count


class CrossEntropyCache(NamedTuple):
    """What `cross_entropy_backward` needs.

    Attributes:
        exponentials (M, C): exp(logit - the row's largest).
        totals (M,): their sums.
        counted: the rows whose label counts.
        labels: the labels of these.
        scale (M,): w[label] / n of each row, 0 where the label is ignored.
        shape: of the logits.
    """

    exponentials: Array
    totals: Array
    counted: Array
    labels: Array
    scale: Array
    shape: tuple[int, ...]


def cross_entropy_forward(
    logits: Array,
    labels: Array,
    denominator: float | None = None,
    weights: Array | None = None,
) -> tuple[float, CrossEntropyCache]:
    """Sum the negative log-probabilities of the labels, and divide.

        loss = -(1/n) Σ_i w[label_i] · log softmax(logits_i)[label_i],   over the i whose label is
        not -100

    Args:
        logits (..., C): any finite numbers, or -inf for a class that is impossible.
        labels (...): integers from 0 to C - 1, or -100 where nothing counts.
        denominator: n; None: Σ w[label_i], or 1 if nothing counts.
        weights (C,): w, how much each class counts; None: ones.

    Returns:
        loss in nats, a float64 number, and the cache that `cross_entropy_backward` needs.
    """
    flat_labels = labels.reshape(-1)  # (M,)
    counted = np.flatnonzero(flat_labels != IGNORED)
    targets = flat_labels[counted]
    own = np.ones(len(counted)) if weights is None else np.asarray(weights, np.float64)[targets]
    if denominator is None:
        denominator = float(own.sum()) or 1.0
    scale = np.zeros(len(flat_labels))
    scale[counted] = own / denominator
    flat = logits.reshape(-1, logits.shape[-1])  # (..., C) -> (M, C)
    largest = flat.max(axis=-1, keepdims=True)  # (M, 1); subtracted, so that exp can't overflow
    with np.errstate(over="ignore"):  # so far below the largest, -inf has the right share: 0
        exponentials = flat - largest
    picked = flat[counted, targets].astype(np.float64) - largest[counted, 0]
    np.exp(exponentials, out=exponentials)
    totals = exponentials.sum(axis=-1)  # (M,)
    loss = float((np.log(totals[counted]) - picked) @ scale[counted])
    return loss, CrossEntropyCache(exponentials, totals, counted, targets, scale, logits.shape)


def cross_entropy_backward(cache: CrossEntropyCache) -> Array:
    """Gradient of `cross_entropy_forward`: w · (softmax - one-hot) / n, zero where ignored.

    log softmax(s)[y] = s_y - log Σ exp(s), whose derivative by s_j is [j = y] - softmax(s)_j. The
    cache is consumed: its exponentials become the gradient, shaped like the logits.
    """
    dlogits, totals, counted, labels, scale, shape = cache
    dlogits *= (scale / totals)[:, None].astype(dlogits.dtype)
    dlogits[counted, labels] -= scale[counted].astype(dlogits.dtype)
    return dlogits.reshape(shape)  # (M, C) -> (..., C)


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
