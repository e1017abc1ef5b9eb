"""The embeddings of BERT's relatives: words, and the tables that a family adds to them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minibert.functional.dropout import DropoutMask, dropout_backward, dropout_forward
from minibert.functional.embedding import embedding_backward, embedding_forward
from minibert.functional.normalization import NormCache
from minibert.layers.embeddings import WORDS
from minibert.layers.linear import LayerNorm, Linear
from minibert.parameters import Views
from minibert.specs import ParameterSpec, Spec, merged
from minibert.typing import Array, Rng


class AddedTable(NamedTuple):
    """A table whose rows are added to the words.

    Attributes:
        name: of the parameter.
        rows: the number of rows.
        numbers: the row of each token: a function of ids and segments (B, T) that returns (B, T),
            or (T,) if it is the same in every sequence.
        zero_row: the row that is initially 0; None: none.
    """

    name: str
    rows: int
    numbers: Callable[[Array, Array], Array]
    zero_row: int | None = None


def in_order(ids: Array, types: Array) -> Array:
    """Number the tokens of each sequence: 0 to T - 1, (T,)."""
    return np.arange(ids.shape[1])


def by_segment(ids: Array, types: Array) -> Array:
    """Return the segments (B, T)."""
    return types


def after_padding(padding: int, ids: Array, types: Array) -> Array:
    """Number the tokens that are not padding from padding + 1 on; padding has its own number.

        p_t = padding + m_t Σ_{s <= t} m_s,    m_t = [id_t is not padding]

    Ids decide, not the attention mask. Liu et al. (2019), in their code.

    >>> after_padding(1, np.array([[0, 7, 1, 8, 1]]), np.zeros((1, 5))).tolist()
    [[2, 3, 1, 4, 1]]
    """
    real = ids != padding
    numbers: Array = padding + np.cumsum(real, axis=1) * real  # (B, T)
    return numbers


class WordEmbeddingsCache(NamedTuple):
    """What `WordEmbeddings.backward` needs."""

    ids: Array  # (B, T)
    numbers: list[Array]  # of each added table, (B, T) or (T,)
    norm: NormCache
    mask: DropoutMask | None
    rows: Array | None  # (N, E), the input of the projection


class WordEmbeddings:
    """x = project(dropout(layer_norm(word[id] + Σ_k table_k[number_k]))).

    Args:
        vocab_size: V.
        width: E, of the words.
        padding: the id whose vector is initially 0.
        norm: of the sum.
        rate: of the dropout.
        added: the other tables; none in a ModernBERT.
        project: maps E to D; None: there is no such map, and E is D.
    """

    def __init__(
        self, vocab_size: int, width: int, padding: int, norm: LayerNorm, rate: float = 0.0,
        added: Sequence[AddedTable] = (), project: Linear | None = None,
    ):  # fmt: skip
        self.vocab_size, self.width, self.padding = vocab_size, width, padding
        self.norm, self.rate, self.added, self.project = norm, rate, list(added), project

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the tables, the norm and the projection."""
        words = ParameterSpec((self.vocab_size, self.width), zero_row=self.padding)
        tables = {
            t.name: ParameterSpec((t.rows, self.width), zero_row=t.zero_row) for t in self.added
        }
        last = {} if self.project is None else self.project.specs()
        return merged(self, {WORDS: words}, tables, self.norm.specs(), last)

    def constants(self) -> dict[str, Array]:
        """Return nothing: all tables are trained."""
        return {}

    def forward(
        self, params: Views, ids: Array, types: Array, rng: Rng | None = None
    ) -> tuple[Array, WordEmbeddingsCache]:
        """Embed a batch of ids (B, T) with segments `types` (B, T), which a table may number."""
        x, _ = embedding_forward(ids, params[WORDS])  # (B, T, E)
        numbers = [table.numbers(ids, types) for table in self.added]
        for table, own in zip(self.added, numbers, strict=True):
            x += embedding_forward(own, params[table.name])[0]  # (B, T, E) or (T, E)
        x, norm_cache = self.norm.forward(params, x)
        x, mask = dropout_forward(x, self.rate, rng)
        rows = None
        if self.project is not None:
            x, rows = self.project.forward(params, x)  # (B, T, E) -> (B, T, D)
        return x, WordEmbeddingsCache(ids, numbers, norm_cache, mask, rows)

    def backward(self, dx: Array, cache: WordEmbeddingsCache, params: Views, grads: Views) -> None:
        """Gradient of `forward`; adds into `grads`. Ids have no gradient."""
        if self.project is not None and cache.rows is not None:
            dx = self.project.backward(dx, cache.rows, params, grads)  # (B, T, D) -> (B, T, E)
        dx = self.norm.backward(dropout_backward(dx, cache.mask), cache.norm, params, grads)
        for table, own in zip(self.added, cache.numbers, strict=True):
            # A number that every sequence has gets the sum over the sequences.
            embedding_backward(dx if own.ndim > 1 else dx.sum(axis=0), own, grads[table.name])
        embedding_backward(dx, cache.ids, grads.rows(WORDS, cache.ids))
