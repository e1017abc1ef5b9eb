"""A relative attention bias beside attention."""

from typing import Any

import numpy as np

from minibert.functional import embedding_backward, relative_bias_backward, relative_bias_forward
from minibert.functional.relative import BUCKETS, relative_buckets
from minibert.layers.base import Site
from minibert.layers.positions import Positions
from minibert.parameters import Views
from minibert.specs import ParameterSpec, Spec
from minibert.typing import Array


class RelativeBias(Positions):
    """Add a learned number to each score: table[bucket of the distance][head].

        scores = Q Kᵀ / √H + bias[j - i]

    Raffel et al. (2020), section 2.1. All layers share the table, so the bias is made once for a
    batch, and its gradient is summed over layers and sequences before it reaches the table.

    Args:
        heads: K.
    """

    adds_scores = True
    weight = "relative_attention_bias.weight"

    def __init__(self, heads: int):
        self.heads = heads

    def specs(self) -> dict[str, Spec]:
        """Return the declaration of the table."""
        return {self.weight: ParameterSpec((BUCKETS, self.heads))}

    def prepare(self, params: Views, keys: Array, dtype: np.dtype[Any]) -> Array:
        """Return the bias of all pairs of positions, (T, K, T), the query positions first."""
        buckets = relative_buckets(int(keys.max()) + 1)
        return relative_bias_forward(params[self.weight], buckets)[0]

    def scores(self, site: Site) -> Array:
        """Return the bias of the tokens to compute, (1, K, T, T) or (B, K, R, T)."""
        bias: Array = site.tables if site.rows is None else site.tables[site.rows]
        # (T, K, T) -> (1, K, T, T), or (B, R, K, T) -> (B, K, R, T)
        return bias.swapaxes(0, 1)[None] if site.rows is None else bias.swapaxes(1, 2)

    def scores_backward(self, dscores: Array, site: Site, dtables: Any) -> None:
        """Gradient of `scores`; adds into `dtables` (T, K, T)."""
        if site.rows is None:
            dtables += dscores.sum(axis=0).swapaxes(0, 1)  # (B, K, T, T) -> (T, K, T)
        else:  # a position may occur several times
            T, K, _ = dtables.shape
            # (B, K, R, T) -> (B, R, K·T)
            dbias = dscores.swapaxes(1, 2).reshape(*site.rows.shape, K * T)
            embedding_backward(dbias, site.rows, dtables.reshape(T, K * T))

    def zeros(self, tables: Any) -> Array:
        """Return zeros for the gradient of the bias, (T, K, T)."""
        return np.zeros(tables.shape, tables.dtype)

    def backward(self, dtables: Any, tables: Any, params: Views, grads: Views) -> None:
        """Gradient of `prepare`; adds into the table's gradient (32, K)."""
        relative_bias_backward(dtables, relative_buckets(len(tables)), grads[self.weight])
