"""Cross-entropy: a sum over the labels that count, divided by a denominator.

The denominator is an argument of every loss, so that parts of a batch, each divided by the whole
batch's count, add up to the batch's loss. Three labels as 2 + 1:
(l₁ + l₂) / 3 + l₃ / 3 = (l₁ + l₂ + l₃) / 3.
"""

from typing import NamedTuple

import numpy as np

from minibert.typing import Array

IGNORED = -100  # the label of a position that does not count


class CrossEntropyCache(NamedTuple):
    """What `cross_entropy_backward` needs."""

    exponentials: Array  # (M, C), exp(logit), or exp(logit - the row's largest)
    totals: Array  # (M,), their sums
    counted: Array  # the rows whose label counts
    labels: Array  # the labels of these
    scale: Array  # (M,), w[label] / n of each row, 0 where the label is ignored
    shape: tuple[int, ...]  # of the logits


def cross_entropy_forward(
    logits: Array, labels: Array, denominator: float | Array | None = None,
    weights: Array | None = None,
) -> tuple[float, CrossEntropyCache]:  # fmt: skip
    """Sum the negative log-probabilities of the labels, and divide.

        loss = -(1/n) Σ_i w[label_i] · log softmax(logits_i)[label_i],   over the i whose label is
        not -100

    Args:
        logits (..., C): any finite numbers, or -inf for a class that is impossible.
        labels (...): integers from 0 to C - 1, or -100 where nothing counts.
        denominator: n, a number or one for each label (M, 1); None: Σ w[label_i], or 1 if nothing
            counts.
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
    scale[counted] = own / np.broadcast_to(np.ravel(denominator), len(flat_labels))[counted]
    flat = logits.reshape(-1, logits.shape[-1])  # (..., C) -> (M, C)
    # Where the sum over- or underflows, the row's largest logit is subtracted before exp.
    largest = np.zeros(len(flat), flat.dtype)  # (M,)
    with np.errstate(over="ignore"):  # so far below the largest, -inf has the right share: 0
        exponentials = np.exp(flat)
        totals = exponentials.sum(axis=-1)  # (M,)
        shifted = np.flatnonzero(~((totals > 1e-20) & (totals < 1e20)))
        largest[shifted] = flat[shifted].max(axis=-1)
        exponentials[shifted] = np.exp(flat[shifted] - largest[shifted, None])
        totals[shifted] = exponentials[shifted].sum(axis=-1)
    picked = flat[counted, targets].astype(np.float64) - largest[counted]
    loss = float((np.log(totals[counted].astype(np.float64)) - picked) @ scale[counted])
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
