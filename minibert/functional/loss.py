"""Cross-entropy: how surprised the model is by the right answer, in nats."""

import numpy as np

IGNORED = -100  # the label of a place that does not count


def cross_entropy_forward(logits, labels, denominator=None):
    """Sum the negative log-probabilities of the labels, and divide.

        loss = -(1/n) Σ_i log softmax(logits_i)[label_i],   over the i whose label is not -100

    The denominator n is an argument so that parts of a batch, each divided by the whole batch's
    count, add up to the batch's loss.

    Args:
        logits: (M, C).  labels: (M,) of integers from 0 to C - 1, or -100 where it doesn't count.
        denominator: n; None: the number of labels that count, at least 1.

    Returns:
        loss, a float64 number, and the cache that `cross_entropy_backward` needs.
    """
    counted = labels != IGNORED  # (M,)
    if denominator is None:
        denominator = max(int(counted.sum()), 1)
    rows = np.flatnonzero(counted)
    right = labels[rows]
    shifted = logits - logits.max(axis=-1, keepdims=True)  # (M, C); exp can't overflow
    picked = shifted[rows, right]
    probabilities = np.exp(shifted, out=shifted)
    total = probabilities.sum(axis=-1, keepdims=True)  # (M, 1)
    loss = (np.log(total[rows, 0]) - picked).sum(dtype=np.float64) / denominator
    probabilities /= total
    return loss, (probabilities, counted, rows, right, denominator)


def cross_entropy_backward(cache):
    """Gradient of `cross_entropy_forward`: (softmax - one-hot) / n, zero where ignored; (M, C)."""
    probabilities, counted, rows, right, denominator = cache
    dlogits = probabilities * (counted[:, None] / denominator).astype(probabilities.dtype)
    dlogits[rows, right] -= dlogits.dtype.type(1 / denominator)
    return dlogits
