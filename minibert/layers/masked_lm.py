"""The masked-LM head: logits for each token of the vocabulary."""

from typing import NamedTuple

from minibert.functional import (
    NormCache,
    activate_backward,
    activate_forward,
    layer_norm_forward,
    linear_backward,
    linear_forward,
)
from minibert.layers.linear import LayerNorm, Linear
from minibert.parameters import Views
from minibert.specs import ParameterSpec, Spec, merged
from minibert.typing import Array, Rng


class MaskedLMCache(NamedTuple):
    """What `MaskedLMHead.backward` needs."""

    rows: Array  # (M, D), the tokens
    slope: Array | None  # (M, E), of the activation
    norm: NormCache
    h: Array  # (M, E), the transformed tokens, which meet the table


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
        active, slope = activate_forward(z, self.dense.of(params)[1], self.activation)
        h, norm_cache = layer_norm_forward(
            active, *self.norm.of(params), self.norm.eps, normed=active
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
        dtable = grads.unwritten(self.table) if self.table in grads else None
        dh = linear_backward(drows, h, params[self.table], dtable, grads[self.bias])
        dactive = self.norm.backward(dh, norm_cache, params, grads)
        dz = activate_backward(dactive, slope)
        dx = self.dense.backward(dz, rows, params, grads)
        return dx.reshape(*dlogits.shape[:-1], self.dense.inputs)  # (M, D) -> (..., D)
