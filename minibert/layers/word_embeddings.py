"""Embeddings of words alone: neither positions nor segments."""

from typing import NamedTuple

from minibert.functional import (
    DropoutMask,
    NormCache,
    dropout_backward,
    dropout_forward,
    embedding_backward,
    embedding_forward,
)
from minibert.layers.embeddings import WORDS
from minibert.layers.linear import LayerNorm
from minibert.parameters import Views
from minibert.specs import ParameterSpec, Spec, merged
from minibert.typing import Array, Rng


class WordEmbeddingsCache(NamedTuple):
    """What `WordEmbeddings.backward` needs: the ids (B, T), the norm's cache and the mask."""

    ids: Array
    norm: NormCache
    mask: DropoutMask | None


class WordEmbeddings:
    """x = dropout(layer_norm(word[id])).

    Args:
        vocab_size: V.
        width: D.
        padding: the id whose vector is initially 0.
        norm: of the vectors.
        rate: of the dropout.
    """

    def __init__(
        self, vocab_size: int, width: int, padding: int, norm: LayerNorm, rate: float = 0.0
    ):
        self.vocab_size, self.width, self.padding = vocab_size, width, padding
        self.norm, self.rate = norm, rate

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the table and of the norm."""
        words = ParameterSpec((self.vocab_size, self.width), zero_row=self.padding)
        return merged(self, {WORDS: words}, self.norm.specs())

    def constants(self) -> dict[str, Array]:
        """Return nothing: the table is trained."""
        return {}

    def forward(
        self, params: Views, ids: Array, types: Array, rng: Rng | None = None
    ) -> tuple[Array, WordEmbeddingsCache]:
        """Embed a batch of ids (B, T); their segments `types` (B, T) are ignored."""
        words, _ = embedding_forward(ids, params[WORDS])  # (B, T, D)
        x, norm_cache = self.norm.forward(params, words)
        x, mask = dropout_forward(x, self.rate, rng)
        return x, WordEmbeddingsCache(ids, norm_cache, mask)

    def backward(self, dx: Array, cache: WordEmbeddingsCache, params: Views, grads: Views) -> None:
        """Gradient of `forward`; adds into `grads`. Ids have no gradient."""
        dx = self.norm.backward(dropout_backward(dx, cache.mask), cache.norm, params, grads)
        embedding_backward(dx, cache.ids, grads.rows(WORDS, cache.ids))
