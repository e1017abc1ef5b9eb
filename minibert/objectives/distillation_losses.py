"""Losses of a student against its teacher, which is constant: predictions and hidden states.

As in `cross_entropy`, each is a sum over the rows that count, divided by a denominator.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minibert.functional import squared_error_backward, squared_error_forward
from minibert.functional.loss import SquaredErrorCache
from minibert.typing import Array

COSINE_EPS = 1e-12  # added to squared lengths, so that a vector of zeros has the cosine 0


class KLDivergenceCache(NamedTuple):
    """What `kl_divergence_backward` needs."""

    shares: Array  # (M, C), q = softmax(s / T)
    teacher: Array  # (M, C), p = softmax(t / T)
    scale: Array  # (M,), T / n of each row, 0 where it does not count
    shape: tuple[int, ...]  # of the logits


def kl_divergence_forward(
    logits: Array,
    teacher_logits: Array,
    temperature: float,
    counted: Array | None = None,
    denominator: float | None = None,
) -> tuple[float, KLDivergenceCache]:
    """Compare a student's predictions with its teacher's, both softened by a temperature.

        loss = (T²/n) Σ_i KL(p_i ‖ q_i) = (T²/n) Σ_i Σ_c p_ic (log p_ic - log q_ic),
        p = softmax(t / T),   q = softmax(s / T)

    It is the cross-entropy of soft targets minus their entropy, which no student changes, so its
    gradient is that of the cross-entropy, and it is 0 where both agree. Gradients shrink by T² as T
    grows, which the factor T² undoes. Hinton et al. (2015), section 2.

    Args:
        logits (..., C): s, of the student.
        teacher_logits (..., C): t.
        temperature: T, more than 0; 1 leaves the predictions as they are, more softens them.
        counted (...): whether a row counts; None: all do.
        denominator: n; None: the number of rows that count, at least 1.

    Returns:
        loss in nats, a float64 number, and the cache that `kl_divergence_backward` needs.
    """
    log_q, log_p = (
        _log_softmax(array.reshape(-1, array.shape[-1]) / temperature)  # (..., C) -> (M, C)
        for array in (logits, teacher_logits)
    )
    counts = np.ones(len(log_q), bool) if counted is None else counted.reshape(-1) != 0  # (M,)
    if denominator is None:
        denominator = max(int(counts.sum()), 1)
    scale = counts * (temperature / denominator)
    p = np.exp(log_p)
    losses = np.einsum("mc,mc->m", p, log_p - log_q)
    loss = float(losses.astype(np.float64) @ scale) * temperature
    return loss, KLDivergenceCache(np.exp(log_q), p, scale, logits.shape)


def kl_divergence_backward(cache: KLDivergenceCache) -> Array:
    """Gradient of `kl_divergence_forward` by the student's logits: (T/n) (q - p).

    The derivative of -log q_c by s_j is (q_j - [j = c]) / T. Weighted by p_c, of which the sum is
    1, and by T²/n, that is (T/n) (q_j - p_j). The cache is consumed.
    """
    dlogits, teacher, scale, shape = cache
    dlogits -= teacher
    dlogits *= scale[:, None].astype(dlogits.dtype)
    return dlogits.reshape(shape)  # (M, C) -> (..., C)


def binary_kl_divergence_forward(
    logits: Array,
    teacher_logits: Array,
    temperature: float,
    counted: Array | None = None,
    denominator: float | None = None,
) -> tuple[float, KLDivergenceCache]:
    """Compare predictions of many yes-or-no questions, each with a logit of its own.

        loss = (T²/n) Σ_i KL(p_i ‖ q_i),   p = σ(t / T),   q = σ(s / T)

    A question is a softmax over two classes with the logits s and 0, because e^s / (e^s + 1) is
    σ(s). So it is the binary cross-entropy of soft targets minus their entropy.

    Args:
        logits (...): s, of the student.
        teacher_logits (...): t.
        temperature, counted, denominator: as in `kl_divergence_forward`.

    Returns:
        loss in nats, a float64 number, and the cache that `binary_kl_divergence_backward` needs.
    """
    own, other = (
        np.stack([each, np.zeros_like(each)], axis=-1)  # (...) -> (..., 2)
        for each in (logits, teacher_logits)
    )
    return kl_divergence_forward(own, other, temperature, counted, denominator)


def binary_kl_divergence_backward(cache: KLDivergenceCache) -> Array:
    """Gradient of `binary_kl_divergence_forward` by the student's logits: (T/n) (q - p)."""
    return kl_divergence_backward(cache)[..., 0]  # (..., 2) -> (...); the other logit is constant


def soft_squared_error_forward(
    outputs: Array,
    teacher_outputs: Array,
    temperature: float,
    counted: Array | None = None,
    denominator: float | None = None,
) -> tuple[float, SquaredErrorCache]:
    """Compare numbers with those of the teacher; a number has no temperature.

        loss = (1/n) Σ_i (o_i - t_i)²

    Args:
        outputs (...): o, of the student.
        teacher_outputs (...): t.
        temperature: not used.
        counted: None; all count.
        denominator: n; None: the number of outputs.
    """
    return squared_error_forward(outputs, teacher_outputs, denominator)


# By the problem of a classifier; that of a token is its only label.
SOFT_CRITERIA: dict[str, tuple[Callable[..., Any], Callable[..., Array]]] = {
    "single_label_classification": (kl_divergence_forward, kl_divergence_backward),
    "multi_label_classification": (binary_kl_divergence_forward, binary_kl_divergence_backward),
    "regression": (soft_squared_error_forward, squared_error_backward),
}


def _log_softmax(z: Array) -> Array:
    """Return z - log Σ exp(z) of each row (M, C); z is consumed."""
    z -= z.max(axis=-1, keepdims=True)
    z -= np.log(np.exp(z).sum(axis=-1, keepdims=True))
    return z


class CosineEmbeddingCache(NamedTuple):
    """What `cosine_embedding_backward` needs."""

    x: Array  # (N, D), of the student
    target: Array  # (N, D), of the teacher
    square: Array  # (N, 1), ‖x‖²
    lengths: Array  # (N, 1), ‖x‖ ‖y‖
    cosine: Array  # (N, 1)
    scale: Array  # (N, 1), 1 / n of each row, 0 where it does not count
    shape: tuple[int, ...]  # of x


def cosine_embedding_forward(
    x: Array, target: Array, counted: Array | None = None, denominator: float | None = None
) -> tuple[float, CosineEmbeddingCache]:
    """Compare the directions of vectors with those of their targets.

        loss = (1/n) Σ_i (1 - cos(x_i, y_i)),   cos(x, y) = x·y / (‖x‖ ‖y‖)

    Sanh et al. (2019), section 3, for the hidden states of student and teacher.

    Args:
        x (..., D): of the student.
        target (..., D): y, of the teacher.
        counted (...): whether a row counts; None: all do.
        denominator: n; None: the number of rows that count, at least 1.

    Returns:
        loss, a float64 number, and the cache that `cosine_embedding_backward` needs.
    """
    flat, y = (array.reshape(-1, array.shape[-1]) for array in (x, target))  # (N, D)
    counts = np.ones(len(flat), bool) if counted is None else counted.reshape(-1) != 0
    if denominator is None:
        denominator = max(int(counts.sum()), 1)
    squares = (np.einsum("nd,nd->n", array, array)[:, None] for array in (flat, y))
    square, target_square = (each + each.dtype.type(COSINE_EPS) for each in squares)
    lengths = np.sqrt(square * target_square)
    cosine = np.einsum("nd,nd->n", flat, y)[:, None] / lengths
    scale = (counts / denominator)[:, None]
    loss = float(((1 - cosine.astype(np.float64)) * scale).sum())
    return loss, CosineEmbeddingCache(flat, y, square, lengths, cosine, scale, x.shape)


def cosine_embedding_backward(cache: CosineEmbeddingCache) -> Array:
    """Gradient of `cosine_embedding_forward` by x: (cos · x / ‖x‖² - y / (‖x‖ ‖y‖)) / n.

    It is orthogonal to x, because the length of x does not change the loss.
    """
    x, target, square, lengths, cosine, scale, shape = cache
    dx: Array = x * (scale * cosine / square).astype(x.dtype)
    dx -= target * (scale / lengths).astype(x.dtype)
    return dx.reshape(shape)  # (N, D) -> (..., D)
