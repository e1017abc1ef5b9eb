"""Heads with a layer between the encoder and the logits, for each token or for the sequence."""

from typing import Any, NamedTuple

import numpy as np

from minibert.functional.activation import activate_backward, activate_forward
from minibert.functional.dropout import DropoutMask, dropout_backward, dropout_forward
from minibert.functional.normalization import NormCache
from minibert.functional.tanh import tanh_backward, tanh_forward
from minibert.layers.linear import LayerNorm, Linear
from minibert.models.config import BertConfig
from minibert.parameters import Views
from minibert.specs import Spec, merged
from minibert.typing import Array, Rng


class TwoLayerCache(NamedTuple):
    """What `TwoLayerHead.backward` needs."""

    before: DropoutMask | None
    rows: Array  # (N, D), after the first dropout
    slope: Array | None  # (N, D), of the activation; of tanh, its output
    norm: NormCache | None
    after: DropoutMask | None
    active: Array  # (N, D), after the second dropout


class TwoLayerHead:
    """Logits for each token by itself: two linear maps, (..., D) -> (..., C).

        logits = linear(dropout(norm(activation(linear(dropout(x))))))

    Args:
        dense, out: the names of the two maps.
        width: D.
        classes: C.
        activation: `tanh`, or as in `FeedForward`.
        before, after: the rates of the two dropouts.
        norm: of the activations; None: there is none.
    """

    def __init__(
        self, dense: str, out: str, width: int, classes: int, activation: str,
        before: float = 0.0, after: float = 0.0, norm: LayerNorm | None = None,
    ):  # fmt: skip
        self.activation, self.before, self.after, self.norm = activation, before, after, norm
        self.dense, self.out = Linear(dense, width, width), Linear(out, width, classes)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of both maps and the norm."""
        norm = {} if self.norm is None else self.norm.specs()
        return merged(self, self.dense.specs(), norm, self.out.specs())

    def forward(self, params: Views, x: Array, rng: Rng | None = None) -> tuple[Array, Any]:
        """Return logits (..., C) for x (..., D), and the cache."""
        dropped, before = dropout_forward(x, self.before, rng)
        # (..., D) -> (N, D)
        z, rows = self.dense.forward(params, dropped.reshape(-1, x.shape[-1]))
        slope: Array | None
        if self.activation == "tanh":
            active, slope = tanh_forward(z)
        else:
            active, slope = activate_forward(z, None, self.activation)
        norm = None
        if self.norm is not None:
            active, norm = self.norm.forward(params, active)
        active, after = dropout_forward(active, self.after, rng)
        logits, _ = self.out.forward(params, active)  # (N, D) -> (N, C)
        cache = TwoLayerCache(before, rows, slope, norm, after, active)
        return logits.reshape(*x.shape[:-1], -1), cache  # (N, C) -> (..., C)

    def backward(self, dlogits: Array, cache: Any, params: Views, grads: Views) -> Array:
        """Gradient of `forward`: dx (..., D)."""
        drows = dlogits.reshape(len(cache.rows), -1)  # (..., C) -> (N, C)
        dactive = self.out.backward(drows, cache.active, params, grads)
        dactive = dropout_backward(dactive, cache.after)
        if self.norm is not None and cache.norm is not None:
            dactive = self.norm.backward(dactive, cache.norm, params, grads)
        undo = tanh_backward if self.activation == "tanh" else activate_backward
        dz = undo(dactive, cache.slope)
        dx = self.dense.backward(dz, cache.rows, params, grads)
        dx = dx.reshape(*dlogits.shape[:-1], self.dense.inputs)  # (N, D) -> (..., D)
        return dropout_backward(dx, cache.before)


class SummaryCache(NamedTuple):
    """The shape of x, and the cache of the head."""

    shape: tuple[int, ...]
    head: TwoLayerCache


class SummaryHead(TwoLayerHead):
    """Logits for the sequence from its first token, (..., R, D) -> (..., C); see `TwoLayerHead`.

    With tanh it computes what `PooledClassifierHead` does, with other names and rates.
    """

    def forward(self, params: Views, x: Array, rng: Rng | None = None) -> tuple[Array, Any]:
        """Return logits (..., C) from the first token of x (..., R, D), and the cache."""
        logits, cache = super().forward(params, x[..., 0, :], rng)
        return logits, SummaryCache(x.shape, cache)

    def backward(self, dlogits: Array, cache: Any, params: Views, grads: Views) -> Array:
        """Gradient of `forward`: dx (..., R, D), zero but for the first token."""
        dx = np.zeros(cache.shape, dlogits.dtype)
        dx[..., 0, :] = super().backward(dlogits, cache.head, params, grads)
        return dx


def classification_head(config: BertConfig, activation: str) -> SummaryHead:
    """Return a head with the names of RoBERTa's classifier, and dropout before both maps."""
    D, C, rate = config.hidden_size, config.num_labels, config.classifier_rate
    return SummaryHead("classifier.dense", "classifier.out_proj", D, C, activation, rate, rate)
