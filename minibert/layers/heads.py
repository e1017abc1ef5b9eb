"""The heads: logits for each token, or for the whole sequence.

A head reads tokens x (..., R, D) of the encoder's output. It uses its parameters' full names,
because those of one head are in several places.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from minibert.functional.dropout import DropoutMask, dropout_backward, dropout_forward
from minibert.functional.tanh import tanh_backward, tanh_forward
from minibert.layers.linear import Linear
from minibert.parameters import Views
from minibert.specs import Spec, Specs, merged
from minibert.typing import Array, Rng


class Head(Protocol):
    """Tokens to logits."""

    def specs(self) -> Specs:
        """Return the declarations of the parameters by their full names."""

    def forward(self, params: Views, x: Array, rng: Rng | None = None) -> tuple[Array, Any]:
        """Return logits for x (..., R, D), and the cache."""

    def backward(self, dlogits: Array, cache: Any, params: Views, grads: Views) -> Array:
        """Return dx (..., R, D); adds into `grads`, from which frozen parameters may be absent."""


class PoolerCache(NamedTuple):
    """What `Pooler.backward` needs: x's shape, its first tokens, and the output."""

    shape: tuple[int, ...]
    first: Array
    out: Array


class Pooler:
    """The whole sequence as one vector: tanh(linear(x[:, 0])), made from [CLS].

    Devlin et al. (2019), section 3.1, and their code.

    Args:
        name: of the linear map.
        width: D.
    """

    def __init__(self, name: str, width: int):
        self.dense = Linear(name, width, width)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the linear map."""
        return self.dense.specs()

    def forward(self, params: Views, x: Array) -> tuple[Array, PoolerCache]:
        """Pool x (..., R, D) into (..., D), from the first token."""
        dense, first = self.dense.forward(params, x[..., 0, :])
        out, _ = tanh_forward(dense)
        return out, PoolerCache(x.shape, first, out)

    def backward(self, dout: Array, cache: PoolerCache, params: Views, grads: Views) -> Array:
        """Gradient of `forward`: dx (..., R, D), zero but for the first token."""
        dx = np.zeros(cache.shape, dout.dtype)
        dx[..., 0, :] = self.dense.backward(
            tanh_backward(dout, cache.out), cache.first, params, grads
        )
        return dx


class ClassifierCache(NamedTuple):
    """What `ClassifierHead.backward` needs: the mask, and the linear map's cache."""

    mask: DropoutMask | None
    rows: Array


class ClassifierHead:
    """Logits for each token by itself: linear(dropout(x)), (..., D) -> (..., C).

    Args:
        name: of the linear map.
        width: D.
        classes: C.
        rate: of the dropout.
    """

    def __init__(self, name: str, width: int, classes: int, rate: float = 0.0):
        self.rate = rate
        self.linear = Linear(name, width, classes)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the linear map."""
        return self.linear.specs()

    def forward(
        self, params: Views, x: Array, rng: Rng | None = None
    ) -> tuple[Array, ClassifierCache]:
        """Return logits (..., C) for x (..., D), and the cache."""
        dropped, mask = dropout_forward(x, self.rate, rng)
        logits, rows = self.linear.forward(params, dropped)
        return logits, ClassifierCache(mask, rows)

    def backward(
        self, dlogits: Array, cache: ClassifierCache, params: Views, grads: Views
    ) -> Array:
        """Gradient of `forward`: dx (..., D)."""
        dx = self.linear.backward(dlogits, cache.rows, params, grads)
        return dropout_backward(dx, cache.mask)


class PooledClassifierCache(NamedTuple):
    """The caches of pooler and classifier."""

    pooler: PoolerCache
    classifier: ClassifierCache


class PooledClassifierHead:
    """Logits for the whole sequence: linear(dropout(pooler(x))), (..., R, D) -> (..., C).

    Args:
        name: of the classifier's linear map.
        width: D.
        classes: C.
        rate: of the dropout.
    """

    def __init__(self, name: str, width: int, classes: int, rate: float = 0.0):
        self.pooler = Pooler("bert.pooler.dense", width)
        self.classifier = ClassifierHead(name, width, classes, rate)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the pooler and of the classifier."""
        return merged(self, self.pooler.specs(), self.classifier.specs())

    def forward(
        self, params: Views, x: Array, rng: Rng | None = None
    ) -> tuple[Array, PooledClassifierCache]:
        """Return logits (..., C) from the first token of x (..., R, D), and the cache."""
        pooled, pooler_cache = self.pooler.forward(params, x)
        logits, classifier_cache = self.classifier.forward(params, pooled, rng)
        return logits, PooledClassifierCache(pooler_cache, classifier_cache)

    def backward(
        self, dlogits: Array, cache: PooledClassifierCache, params: Views, grads: Views
    ) -> Array:
        """Gradient of `forward`: dx (..., R, D), zero but for the first token."""
        dpooled = self.classifier.backward(dlogits, cache.classifier, params, grads)
        return self.pooler.backward(dpooled, cache.pooler, params, grads)
