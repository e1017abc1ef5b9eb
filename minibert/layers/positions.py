"""Positions: vectors added to the embeddings, or an object beside attention.

BERT's positions are in the embeddings, so it has none of these. A subclass of `Positions` turns
queries and keys (rotary positions) or adds to the scores (a relative bias, a causal mask). The
encoder owns it and puts it into the batch's `Site`, where every attention layer finds it.
"""

from typing import Any, Protocol

import numpy as np

from minibert.layers.base import Site
from minibert.parameters import Views
from minibert.specs import Spec, Specs
from minibert.typing import Array


class Positions:
    """The base class, whose methods do nothing: a subclass overrides what it needs.

    Attributes:
        adds_scores: whether `scores` returns an array, which belongs to the pairs of one batch.
    """

    adds_scores = False

    def specs(self) -> Specs:
        """Return the parameters' declarations, in the encoder's scope."""
        return {}

    def prepare(self, params: Views, keys: Array, dtype: np.dtype[Any]) -> Any:
        """Return the tables of a batch: what every block needs, computed once.

        Args:
            params: in the encoder's scope.
            keys (T,): the positions of the tokens.
            dtype: of the hidden states.
        """
        return None

    def turn(self, heads: Array, at: Array, tables: Any) -> Array:
        """Return queries or keys as their positions change them.

        Args:
            heads (B, K, R, H): not written to.
            at: their positions, (T,) or (B, R).
            tables: made by `prepare`.
        """
        return heads

    def turn_backward(self, dheads: Array, at: Array, tables: Any) -> Array:
        """Gradient of `turn` with respect to the heads."""
        return dheads

    def scores(self, site: Site) -> Array | None:
        """Return what is added to the scores, broadcast against (B, K, R, T); None: nothing."""
        return None

    def scores_backward(self, dscores: Array, site: Site, dtables: Any) -> None:
        """Gradient of `scores`; adds into `dtables`.

        Args:
            dscores (B, K, R, T): the gradient of the scores.
            site: as in the forward.
            dtables: the gradient of `site.tables`, summed over the layers.
        """

    def zeros(self, tables: Any) -> Any:
        """Return zeros for the gradient of the tables; None: the tables do not learn."""
        return None

    def backward(self, dtables: Any, tables: Any, params: Views, grads: Views) -> None:
        """Gradient of `prepare`; adds into `grads`, in the encoder's scope."""


class PositionTable(Protocol):
    """A vector for each position, added to the tokens'."""

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the parameters."""

    def constants(self) -> dict[str, Array]:
        """Return the tables that are not trained, which a checkpoint has all the same."""

    def forward(self, params: Views, length: int, dtype: Any) -> Array:
        """Return the vectors of the first `length` positions, (T, D)."""

    def backward(self, dx: Array, grads: Views) -> None:
        """Gradient of `forward`, given dx (B, T, D); adds into `grads`."""
