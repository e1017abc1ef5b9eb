"""The layers of DeBERTa: disentangled attention, and the embeddings of distances that it reads."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minibert.functional import (
    AttentionCache,
    DropoutMask,
    NormCache,
    attention_backward,
    attention_forward,
    dropout_backward,
    dropout_forward,
    embedding_backward,
    embedding_forward,
)
from minibert.functional.families.disentangled import (
    DisentangledCache,
    disentangled_backward,
    disentangled_forward,
    log_buckets,
)
from minibert.layers.attention import SelfAttention, SelfAttentionCache
from minibert.layers.base import Site
from minibert.layers.encoder import Encoder, EncoderCache
from minibert.layers.linear import LayerNorm, Linear
from minibert.layers.positions import Positions
from minibert.layers.without_bias import LinearWithoutBias
from minibert.parameters import Views
from minibert.specs import ParameterSpec, Spec, merged
from minibert.typing import Array, Rng

TERMS = CONTENT_TO_POSITION, POSITION_TO_CONTENT = "c2p", "p2c"


class Distances(NamedTuple):
    """What `RelativeEmbeddings` makes for a batch.

    Attributes:
        rows (U, D): the embeddings of the distances that occur.
        to_keys (2T,): the row of each distance from a query to a key, j - i, from 1 - T to T.
        to_queries (2T,): that of each distance from a key to a query.
        first: the number of row 0 in the table.
        norm: the cache of the norm; None: there is no norm.
    """

    rows: Array
    to_keys: Array
    to_queries: Array
    first: int
    norm: NormCache | None


class RelativeEmbeddings(Positions):
    """A vector for each distance of two tokens, which `DisentangledAttention` reads in all layers.

    He et al. (2021), section 3.1. The table has 2S rows, of which number S + b is that of the
    distance b = i - j of query and key, or of its bucket; beyond both ends, the last one counts.
    Attention of each layer maps the rows, so their gradient is the sum over the layers.

    Args:
        width: D.
        span: S, the largest distance or bucket in each direction.
        farthest: the distance of the last bucket; None: each distance has a row, without buckets.
        eps: of a norm over the rows; None: there is none.
    """

    adds_scores = True
    weight = "rel_embeddings.weight"

    def __init__(self, width: int, span: int, farthest: int | None, eps: float | None = None):
        self.width, self.span, self.farthest = width, span, farthest
        self.norm = None if eps is None else LayerNorm("LayerNorm", width, eps)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the table and the norm."""
        table = {self.weight: ParameterSpec((2 * self.span, self.width))}
        return merged(self, table, {} if self.norm is None else self.norm.specs())

    def numbers(self, length: int) -> tuple[Array, Array]:
        """Return the rows of the distances from queries to keys, and from keys to queries, (2T,).

        The first are in the order of j - i from 1 - T on, the others in that of i - j; the last of
        each is not read.
        """
        distances, S = np.minimum(np.arange(1 - length, length + 1), length - 1), self.span
        if self.farthest is not None:
            distances = log_buckets(distances, S, self.farthest)
        # The table has the rows of i - j.
        to_keys, to_queries = (np.clip(S + d, 0, 2 * S - 1) for d in (-distances, distances))
        return to_keys, to_queries

    def prepare(self, params: Views, keys: Array, dtype: np.dtype[Any]) -> Distances:
        """Return the rows that occur in a batch of T tokens, normalized."""
        to_keys, to_queries = self.numbers(len(keys))
        first, last = int(to_queries.min()), int(to_queries.max())
        rows, norm = params[self.weight][first : last + 1], None
        if self.norm is not None:
            rows, norm = self.norm.forward(params, rows)
        return Distances(rows, to_keys - first, to_queries - first, first, norm)

    def zeros(self, tables: Any) -> Array:
        """Return zeros for the gradient of the rows, (U, D)."""
        return np.zeros(tables.rows.shape, tables.rows.dtype)

    def backward(self, dtables: Any, tables: Any, params: Views, grads: Views) -> None:
        """Gradient of `prepare`, given (U, D); adds into the table's gradient (2S, D)."""
        if self.norm is not None:
            dtables = self.norm.backward(dtables, tables.norm, params, grads)
        grads[self.weight][tables.first : tables.first + len(dtables)] += dtables


class TermCache(NamedTuple):
    """What the backward of one of the two terms with positions needs."""

    rows: Array  # (U, D), the embeddings after dropout
    at: Array  # (2T,), the row of each distance
    mask: DropoutMask | None


class DisentangledHeads(NamedTuple):
    """The cache of `DisentangledAttention`'s heads."""

    attention: AttentionCache
    real: Array | None  # (B, 1, R, 1), whether a query is not padding; None: all are
    scores: DisentangledCache | None
    terms: dict[str, TermCache]


class DisentangledAttention(SelfAttention):
    """Self-attention whose scores have terms of content with position, and the other way round.

        s_ij = (q_i · k_j + q_i · kʳ_{i-j} + k_j · qʳ_{i-j}) / √(f H),    kʳ = K r,  qʳ = Q r

    He et al. (2021), eq. 4, with i - j in both terms as in their code, where the paper has j - i in
    the last one; f is the number of terms, r the row of a distance in the site's `Distances`, and K
    and Q are the maps of keys and queries, or maps of their own. A query that is padding attends to
    all tokens equally, as in their code.

    Args:
        name, width, heads, rate: as in `SelfAttention`.
        terms: those with positions that are added: "c2p", "p2c".
        factor: f; it may count terms that are not added.
        shared: whether K and Q are those of keys and queries.
        row_rate: of the dropout on r.
    """

    def __init__(
        self, name: str, width: int, heads: int, rate: float = 0.0, *, terms: Sequence[str],
        factor: int, shared: bool, row_rate: float = 0.0,
    ):  # fmt: skip
        super().__init__(name, width, heads, rate)
        self.shared, self.row_rate = shared, row_rate
        self.scale = 1 / math.sqrt(factor * width // heads)
        self.content_scale = 1 / math.sqrt(factor)  # before attention's own 1 / √H
        roles = {CONTENT_TO_POSITION: "key", POSITION_TO_CONTENT: "query"}
        front = "" if shared else "relative_"
        self.maps = {t: Linear(f"{name}.self.{front}{roles[t]}", width, width) for t in terms}

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the four maps, and of those of positions if not shared."""
        own = [] if self.shared else [linear.specs() for linear in self.maps.values()]
        return merged(self, super().specs(), *own)

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, Any]:
        """Let each token at `site.rows` attend to every token of x; see `layers.Layer`."""
        own = site._replace(positions=None, attend=partial(self._attend, site, params))
        return super().forward(params, x, own, rng, keep)

    def _attend(
        self, site: Site, params: Views, query: Array, key: Array, value: Array,
        mask: Array | None, bias: None, rate: float = 0.0, rng: Rng | None = None,
        keep: bool = True,
    ) -> tuple[Array, DisentangledHeads | None]:  # fmt: skip
        """Attend with the terms of the distances at a site, in the parameters' scope."""
        mask, real = _visible(site)
        relative: Array | None = None
        own: DisentangledCache | None = None
        terms: dict[str, TermCache] = {}
        if site.positions is not None:
            at, terms = self._positions(params, site.tables, rng)
            relative, own = disentangled_forward(query, key, at[0], at[1], site.rows)
        content = query * query.dtype.type(self.content_scale)
        if real is not None:
            content *= real
            if relative is not None:
                relative *= real
        attend = site.attend or attention_forward
        heads, cache = attend(content, key, value, mask, relative, rate, rng, keep)
        return heads, None if cache is None else DisentangledHeads(cache, real, own, terms)

    def backward(
        self, dout: Array, cache: SelfAttentionCache, params: Views, grads: Views, dsite: Any,
        attend: Any = None,
    ) -> Array:  # fmt: skip
        """Gradient of `forward`: dx (B, T, D)."""
        attend = partial(self._attend_backward, params, grads, dsite)
        return super().backward(dout, cache, params, grads, None, attend)

    def _attend_backward(
        self, params: Views, grads: Views, dsite: Any, dheads: Array, cache: DisentangledHeads,
        dscores: None, droles: Sequence[Array],
    ) -> None:  # fmt: skip
        """Gradient of `_attend`; writes into `droles`, adds into `grads` and `dsite`."""
        dquery, dkey, _ = droles
        own = None if cache.scores is None else np.empty_like(cache.attention.weights)
        attention_backward(dheads, cache.attention, own, droles)
        dquery *= dquery.dtype.type(self.content_scale)
        if cache.real is not None:
            dquery *= cache.real
        if own is not None and cache.scores is not None:
            if cache.real is not None:
                own *= cache.real
            dquery_too, dkey_too, *dat = disentangled_backward(own, cache.scores)
            dquery += dquery_too
            dkey += dkey_too
            self._positions_backward(dat, cache.terms, params, grads, dsite)

    def _positions(
        self, params: Views, tables: Distances, rng: Rng | None
    ) -> tuple[list[Array | None], dict[str, TermCache]]:
        """Return kʳ and qʳ of all distances, (K, 2T, H) divided by √(f H) each, and the caches."""
        K, D = self.count, self.width
        rows, mask = dropout_forward(tables.rows, self.row_rate, rng)
        at: list[Array | None] = []
        caches = {}
        columns = {CONTENT_TO_POSITION: tables.to_keys, POSITION_TO_CONTENT: tables.to_queries}
        for term, numbers in columns.items():
            if term not in self.maps:
                at.append(None)
                continue
            mapped, _ = self.maps[term].forward(params, rows)  # (U, D)
            mapped *= mapped.dtype.type(self.scale)
            vectors, _ = embedding_forward(numbers, mapped)  # (2T, D)
            # (2T, D) -> (2T, K, H) -> (K, 2T, H)
            at.append(vectors.reshape(-1, K, D // K).swapaxes(0, 1))
            caches[term] = TermCache(rows, numbers, mask)
        return at, caches

    def _positions_backward(
        self, dat: Sequence[Array | None], caches: dict[str, TermCache], params: Views,
        grads: Views, drows: Array | None,
    ) -> None:  # fmt: skip
        """Gradient of `_positions`; adds into `grads` and into `drows` (U, D) if it is not None."""
        for term, dvectors in zip(TERMS, dat, strict=True):
            if dvectors is None:
                continue
            rows, numbers, mask = caches[term]
            dmapped = np.zeros_like(rows)
            # (K, 2T, H) -> (2T, K, H) -> (2T, D)
            embedding_backward(
                dvectors.swapaxes(0, 1).reshape(len(numbers), self.width), numbers, dmapped
            )
            dmapped *= dmapped.dtype.type(self.scale)
            drow = self.maps[term].backward(dmapped, rows, params, grads)
            if drows is not None:
                drows += dropout_backward(drow, mask)


def _visible(site: Site) -> tuple[Array | None, Array | None]:
    """Return the mask (B, 1, R, T), and which queries are not padding (B, 1, R, 1).

    A query that is padding reads all tokens, the padding too.
    """
    if site.mask is None:
        return None, None
    real = site.mask == 0  # (B, 1, 1, T)
    if site.rows is not None:
        real = np.take_along_axis(real, site.rows[:, None, None, :], axis=-1)  # (B, 1, 1, R)
    real = real.swapaxes(-1, -2)  # (B, 1, 1, R) -> (B, 1, R, 1)
    return np.where(real, site.mask, site.mask.dtype.type(0)), real


class DisentangledEncoder(Encoder):
    """An encoder whose input is zero where it is padding, as in the code of DeBERTa.

    Nothing else reads it; see `Encoder`.
    """

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True,
        states: dict[int, Array] | None = None,
    ) -> tuple[Array, EncoderCache]:  # fmt: skip
        """Run the blocks; see `Encoder.forward`."""
        if site.mask is not None:
            x = x * _tokens(site.mask)
        return super().forward(params, x, site, rng, keep, states)

    def backward(self, dx: Array, cache: EncoderCache, params: Views, grads: Views) -> Array | None:
        """Gradient of `forward`: dx (B, T, D), or None if the lowest block is frozen."""
        dbelow = super().backward(dx, cache, params, grads)
        if dbelow is not None and cache.site.mask is not None:
            dbelow *= _tokens(cache.site.mask)
        return dbelow


def _tokens(mask: Array) -> Array:
    """Return which tokens are not padding, (B, 1, 1, T) -> (B, T, 1)."""
    tokens: Array = mask[:, 0, 0, :, None] == 0
    return tokens


class ProjectedNormCache(NamedTuple):
    """The input of the projection, and the cache of the norm."""

    rows: Array
    norm: NormCache


class ProjectedNorm(LayerNorm):
    """A linear map without a bias, and the norm of its output: (..., E) -> (..., D).

    Args:
        name, width, eps: as in `LayerNorm`, of the output.
        project: the name of the map.
        inputs: E.
    """

    def __init__(self, name: str, width: int, eps: float, project: str, inputs: int):
        super().__init__(name, width, eps)
        self.project = LinearWithoutBias(project, inputs, width)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of both."""
        return merged(self, self.project.specs(), super().specs())

    def forward(self, params: Views, x: Array) -> tuple[Array, Any]:
        """Map and normalize the last axis of x."""
        x, rows = self.project.forward(params, x)
        out, norm = super().forward(params, x)
        return out, ProjectedNormCache(rows, norm)

    def backward(self, dout: Array, cache: Any, params: Views, grads: Views) -> Array:
        """Gradient of `forward`: dx (..., E)."""
        dx = super().backward(dout, cache.norm, params, grads)
        return self.project.backward(dx, cache.rows, params, grads)
