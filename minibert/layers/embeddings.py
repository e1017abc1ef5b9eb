"""From ids to vectors: which token, at which position, in which segment."""

from typing import Any, NamedTuple

from minibert.functional.dropout import DropoutMask, dropout_backward, dropout_forward
from minibert.functional.embedding import embedding_backward, embedding_forward
from minibert.functional.normalization import NormCache
from minibert.layers.linear import LayerNorm
from minibert.layers.positions import PositionTable
from minibert.parameters import Views
from minibert.specs import ParameterSpec, Spec, merged
from minibert.typing import Array, Rng

WORDS, POSITIONS, SEGMENTS = (
    f"{kind}_embeddings.weight" for kind in ("word", "position", "token_type")
)


class LearnedPositions:
    """A trained vector for each position.

    Args:
        length: the number of positions.
        width: D.
    """

    def __init__(self, length: int, width: int):
        self.shape = (length, width)

    def specs(self) -> dict[str, Spec]:
        """Return the declaration of the table."""
        return {POSITIONS: ParameterSpec(self.shape)}

    def constants(self) -> dict[str, Array]:
        """Return nothing: the table is trained."""
        return {}

    def forward(self, params: Views, length: int, dtype: Any) -> Array:
        """Return the first rows of the table, (T, D)."""
        return params[POSITIONS][:length]

    def backward(self, dx: Array, grads: Views) -> None:
        """Gradient of `forward`: each position occurs once in every sequence."""
        grads[POSITIONS][: dx.shape[1]] += dx.sum(axis=0)  # (B, T, D) -> (T, D)


class EmbeddingsCache(NamedTuple):
    """What `Embeddings.backward` needs: ids and segments (B, T), the norm's cache and the mask."""

    ids: Array
    types: Array
    norm: NormCache
    mask: DropoutMask | None


class Embeddings:
    """x = dropout(layer_norm(word[id] + position[t] + segment[type])).

    Devlin et al. (2019), figure 2.

    Args:
        vocab_size: V.
        width: D.
        segments: the number of segments.
        positions: a vector for each position; None: no positions here.
        padding: the id whose vector is initially 0.
        eps: of the norm.
        rate: of the dropout.
    """

    def __init__(
        self, vocab_size: int, width: int, segments: int, positions: PositionTable | None,
        padding: int, eps: float, rate: float = 0.0,
    ):  # fmt: skip
        self.vocab_size, self.width, self.segments = vocab_size, width, segments
        self.positions, self.padding, self.rate = positions, padding, rate
        self.norm = LayerNorm("LayerNorm", width, eps)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the tables and of the norm."""
        words = ParameterSpec((self.vocab_size, self.width), zero_row=self.padding)
        positions = {} if self.positions is None else self.positions.specs()
        segments = {SEGMENTS: ParameterSpec((self.segments, self.width))}
        return merged(self, {WORDS: words}, positions, segments, self.norm.specs())

    def constants(self) -> dict[str, Array]:
        """Return the tables that are not trained."""
        return {} if self.positions is None else self.positions.constants()

    def forward(
        self, params: Views, ids: Array, types: Array, rng: Rng | None = None
    ) -> tuple[Array, EmbeddingsCache]:
        """Embed a batch.

        Args:
            params: in this layer's scope.
            ids (B, T): the tokens.
            types (B, T): their segments.
            rng: of the dropout; None: no dropout.

        Returns:
            x (B, T, D), and the cache.
        """
        x, _ = embedding_forward(ids, params[WORDS])  # (B, T, D)
        if self.positions is not None:
            x += self.positions.forward(params, ids.shape[1], x.dtype)  # (T, D), in every sequence
        x += embedding_forward(types, params[SEGMENTS])[0]
        x, norm_cache = self.norm.forward(params, x)
        x, mask = dropout_forward(x, self.rate, rng)
        return x, EmbeddingsCache(ids, types, norm_cache, mask)

    def backward(self, dx: Array, cache: EmbeddingsCache, params: Views, grads: Views) -> None:
        """Gradient of `forward`; adds into `grads`. Ids have no gradient."""
        dx = dropout_backward(dx, cache.mask)
        dx = self.norm.backward(dx, cache.norm, params, grads)
        embedding_backward(dx, cache.types, grads[SEGMENTS])
        if self.positions is not None:
            self.positions.backward(dx, grads)
        embedding_backward(dx, cache.ids, grads.rows(WORDS, cache.ids))
