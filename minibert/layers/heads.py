"""The heads: logits for each token, for the whole sequence, or for the vocabulary.

A head reads tokens x (..., R, D) of the encoder's output. It uses its parameters' full names,
because those of one head are in several places.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

from minibert.functional import (
    DropoutMask,
    NormCache,
    activate_backward,
    activate_forward,
    dropout_backward,
    dropout_forward,
    layer_norm_backward,
    layer_norm_forward,
    linear_backward,
    linear_forward,
    tanh_backward,
    tanh_forward,
)
from minibert.layers.linear import LayerNorm, Linear
from minibert.parameters import ParameterSpec, Spec, Specs, Views, merged
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


class MaskedLMCache(NamedTuple):
    """What `MaskedLMHead.backward` needs.

    Attributes:
        rows (M, D): the tokens.
        slope (M, E): of the activation.
        norm: the norm's cache.
        h (M, E): the transformed tokens, which meet the table.
    """

    rows: Array
    slope: Array | None
    norm: NormCache
    h: Array


class MaskedLMHead:
    """Logits for each token of the vocabulary, (..., D) -> (..., V).

        logits = layer_norm(activation(linear(x))) Wᵀ + b,   W the word embeddings

    Devlin et al. (2019), section 3.1, and their code; tied as in Press and Wolf (2017).

    Args:
        vocab_size: V.
        width: D.
        activation: as in `FeedForward`.
        eps: of the norm.
        table_width: E, the width of the word embeddings; None: D.
    """

    table = "bert.embeddings.word_embeddings.weight"
    bias = "cls.predictions.bias"

    def __init__(
        self,
        vocab_size: int,
        width: int,
        activation: str,
        eps: float,
        table_width: int | None = None,
    ):
        inner = width if table_width is None else table_width
        self.vocab_size, self.activation = vocab_size, activation
        self.dense = Linear("cls.predictions.transform.dense", width, inner)
        self.norm = LayerNorm("cls.predictions.transform.LayerNorm", inner, eps)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the transform and of the bias; the table is the body's."""
        bias = ParameterSpec((self.vocab_size,), init="zeros", decay=False)
        return merged(self, self.dense.specs(), self.norm.specs(), {self.bias: bias})

    def forward(
        self, params: Views, x: Array, rng: Rng | None = None
    ) -> tuple[Array, MaskedLMCache]:
        """Return logits (..., V) for x (..., D), and the cache."""
        rows = x.reshape(-1, x.shape[-1])  # (..., D) -> (M, D)
        z, _ = linear_forward(rows, params[self.dense.weight], None)  # (M, E)
        active, slope = activate_forward(z, params[self.dense.bias], self.activation)
        norm = self.norm
        h, norm_cache = layer_norm_forward(
            active, params[norm.weight], params[norm.bias], norm.eps, normed=active
        )
        logits, _ = linear_forward(h, params[self.table], params[self.bias])  # (M, E) -> (M, V)
        cache = MaskedLMCache(rows, slope, norm_cache, h)
        return logits.reshape(*x.shape[:-1], self.vocab_size), cache  # (M, V) -> (..., V)

    def backward(self, dlogits: Array, cache: MaskedLMCache, params: Views, grads: Views) -> Array:
        """Gradient of `forward`: dx (..., D).

        The table gets a gradient here and another from the embeddings; they add. Frozen
        embeddings have none.
        """
        rows, slope, norm_cache, h = cache
        drows = dlogits.reshape(len(rows), self.vocab_size)  # (..., V) -> (M, V)
        dh = linear_backward(drows, h, params[self.table], grads.get(self.table), grads[self.bias])
        norm, dense = self.norm, self.dense
        dactive = layer_norm_backward(
            dh, norm_cache, params[norm.weight], grads[norm.weight], grads[norm.bias]
        )
        dz = activate_backward(dactive, slope)
        dx = linear_backward(dz, rows, params[dense.weight], grads[dense.weight], grads[dense.bias])
        return dx.reshape(*dlogits.shape[:-1], dense.inputs)  # (M, D) -> (..., D)
