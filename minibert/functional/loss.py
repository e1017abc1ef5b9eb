"""The losses: how surprised the model is by the right answer, or how far from it."""

import numpy as np

IGNORED = -100  # the label of a place that does not count


def cross_entropy_forward(logits, labels, denominator=None, weights=None):
    """Sum the negative log-probabilities of the labels, and divide.

        loss = -(1/n) Σ_i w[label_i] · log softmax(logits_i)[label_i],   over the i whose label is
        not -100

    The denominator n is an argument so that parts of a batch, each divided by the whole batch's
    count, add up to the batch's loss.

    Args:
        logits: (..., C).
        labels: (...) of integers from 0 to C - 1, or -100 where it doesn't count.
        denominator: n; None: Σ w[label_i], or 1 if nothing counts.
        weights: w, (C,), how much each class counts; None: each counts 1.

    Returns:
        loss in nats, a float64 number, and the cache that `cross_entropy_backward` needs.
    """
    flat_labels = labels.reshape(-1)  # (M,)
    rows = np.flatnonzero(flat_labels != IGNORED)
    right = flat_labels[rows]
    share = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)[right]
    if denominator is None:
        denominator = share.sum() or 1
    scale = np.zeros(len(flat_labels))
    scale[rows] = share / denominator
    flat = logits.reshape(-1, logits.shape[-1])  # (..., C) -> (M, C)
    largest = flat.max(axis=-1, keepdims=True)  # (M, 1)
    with np.errstate(over="ignore"):  # so far below the largest, -inf has the share they get: 0
        shifted = flat - largest  # exp can't overflow
    picked = flat[rows, right].astype(np.float64) - largest[rows, 0]
    # From here on it becomes the gradient, w · (softmax - one-hot) / n: nearly all of that is done.
    dlogits = np.exp(shifted, out=shifted)
    total = dlogits.sum(axis=-1)  # (M,)
    loss = float((np.log(total[rows]) - picked) @ scale[rows])
    dlogits *= (scale / total)[:, None].astype(dlogits.dtype)
    dlogits[rows, right] -= scale[rows].astype(dlogits.dtype)
    return loss, dlogits.reshape(logits.shape)


def cross_entropy_backward(dlogits):
    """Gradient of `cross_entropy_forward`: w · (softmax - one-hot) / n, zero where ignored."""
    return dlogits


def binary_cross_entropy_forward(logits, labels, denominator=None):
    """Cross-entropy of many yes-or-no questions, each with a logit of its own.

        loss = -(1/n) Σ_i y_i log σ(s_i) + (1 - y_i) log(1 - σ(s_i)),   σ(s) = 1 / (1 + exp(-s))

    It is computed as max(s, 0) - s·y + log(1 + exp(-|s|)), which is the same and can't overflow.

    Args:
        logits: s, any shape.
        labels: y, the same shape; from 0 to 1, or -100 where it doesn't count.
        denominator: n; None: the number of labels that count, at least 1.

    Returns:
        loss in nats, a float64 number, and the cache that `binary_cross_entropy_backward` needs.
    """
    counted = labels != IGNORED
    if denominator is None:
        denominator = max(int(counted.sum()), 1)
    truth = np.where(counted, labels, 0).astype(logits.dtype)
    decay = np.exp(-np.abs(logits))
    losses = np.maximum(logits, 0) - logits * truth + np.log1p(decay)
    # σ(s) = 1 / (1 + exp(-|s|)) on the right, and one minus that on the left.
    probabilities = np.where(logits >= 0, 1, decay) / (1 + decay)
    loss = losses.sum(where=counted, dtype=np.float64) / denominator
    return loss, (probabilities, truth, counted, denominator)


def binary_cross_entropy_backward(cache):
    """Gradient of `binary_cross_entropy_forward`: (σ(s) - y) / n, zero where ignored."""
    probabilities, truth, counted, denominator = cache
    return (probabilities - truth) * (counted / denominator).astype(truth.dtype)


def squared_error_forward(outputs, targets, denominator=None):
    """Sum the squares of the errors, and divide.

        loss = (1/n) Σ_i (o_i - y_i)²

    Args:
        outputs: o, any shape.  targets: y, the same shape.
        denominator: n; None: the number of targets.

    Returns:
        loss, a float64 number, and the cache that `squared_error_backward` needs.
    """
    if denominator is None:
        denominator = targets.size
    errors = outputs - targets.astype(outputs.dtype)
    squares = np.square(errors, dtype=np.float64)  # in float32 they overflow from 2e19 on
    return squares.sum() / denominator, (errors, denominator)


def squared_error_backward(cache):
    """Gradient of `squared_error_forward`: 2 (o - y) / n."""
    errors, denominator = cache
    return errors * errors.dtype.type(2 / denominator)
