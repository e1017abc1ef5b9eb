"""Pooling with its backward: the vectors of a sequence's tokens become one vector.

Reimers and Gurevych (2019), section 3, compare [CLS], the mean and the maximum over the tokens; the
mean was best. A vector of length 1 has its cosine with another one as a dot product.
"""

from typing import NamedTuple

import numpy as np

from minibert.typing import Array

MIN_LENGTH = 1e-12  # a shorter vector has no direction; that of torch.nn.functional.normalize


def mean_pooling_forward(x: Array, mask: Array) -> tuple[Array, Array]:
    """Return the mean of each sequence's tokens, padding left out, and the cache.

        out_b = Σ_t w_bt x_bt,   w_bt = m_bt / max(Σ_t m_bt, 1)

    Args:
        x (B, T, D): the vectors of the tokens.
        mask (B, T): m, 1 for a token, 0 for padding; or other weights of 0 and more. A sequence of
            padding alone has the mean 0.

    Returns:
        out (B, D), and the weights w (B, T), which `mean_pooling_backward` needs.
    """
    total = np.maximum(mask.sum(axis=1, keepdims=True), 1)  # (B, 1)
    weights = (mask / total).astype(x.dtype)
    return (weights[:, None, :] @ x)[:, 0], weights  # (B, 1, T) @ (B, T, D) -> (B, 1, D) -> (B, D)


def mean_pooling_backward(dout: Array, weights: Array) -> Array:
    """Gradient of `mean_pooling_forward`: dx_bt = w_bt dout_b, (B, T, D)."""
    dx: Array = weights[..., None] * dout[:, None, :]  # (B, T, 1) * (B, 1, D) -> (B, T, D)
    return dx


def first_token(mask: Array) -> Array:
    """Return the position of each sequence's first token, [CLS]: (B, T) -> (B, 1)."""
    first: Array = mask.argmax(axis=1)[:, None]  # (B,) -> (B, 1)
    return first


def cls_pooling_forward(x: Array) -> Array:
    """Return the vectors of [CLS], the only token that the last block computed.

    Args:
        x (B, 1, D): the vectors at `first_token`.
    """
    return x[:, 0]  # (B, 1, D) -> (B, D)


def cls_pooling_backward(dout: Array) -> Array:
    """Gradient of `cls_pooling_forward`: (B, D) -> (B, 1, D)."""
    return dout[:, None]


class NormalizeCache(NamedTuple):
    """What `normalize_backward` needs."""

    unit: Array  # (N, D), u = x / ‖x‖
    lengths: Array  # (N, 1), ‖x‖


def normalize_forward(x: Array) -> tuple[Array, NormalizeCache]:
    """Scale each vector to length 1, and return the cache.

        u = x / max(‖x‖, 1e-12)

    >>> normalize_forward(np.array([[3.0, 4.0], [0.0, 0.0]]))[0].tolist()
    [[0.6, 0.8], [0.0, 0.0]]

    Args:
        x (N, D): the vectors. One of zeros stays as it is.

    Returns:
        u (N, D), and the cache that `normalize_backward` needs.
    """
    # In float64, because the squares of large float32 numbers overflow.
    lengths = np.linalg.norm(x.astype(np.float64), axis=-1, keepdims=True)  # (N, 1)
    unit = (x / np.maximum(lengths, MIN_LENGTH)).astype(x.dtype)
    return unit, NormalizeCache(unit, lengths)


def normalize_backward(dout: Array, cache: NormalizeCache) -> Array:
    """Gradient of `normalize_forward`: dx = (dout - u (u · dout)) / ‖x‖.

    It is orthogonal to x, whose length changes nothing. For a vector shorter than 1e-12 it is
    defined as 0: torch.nn.functional.normalize has dout · 1e12 there, which would be the only
    gradient that is left after clipping.
    """
    unit, lengths = cache
    along = np.einsum("nd,nd->n", unit, dout)[:, None]  # (N, 1), u · dout
    has_direction = lengths > MIN_LENGTH
    scale = np.where(has_direction, 1 / np.where(has_direction, lengths, 1), 0)
    dx: Array = (dout - unit * along) * scale.astype(dout.dtype)
    return dx
