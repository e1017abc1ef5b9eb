"""Positions in attention: an object beside it that relates query and key positions.

BERT's positions are in the embeddings, so `Positions` does nothing. Its subclasses turn queries and
keys (rotary positions) or add to the scores (a relative bias, a causal mask). The encoder owns one
and puts it into the batch's `Site`, where every attention layer finds it.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from minibert.parameters import Specs, Views
from minibert.typing import Array

if TYPE_CHECKING:
    from minibert.layers.base import Site


class Positions:
    """No relation between positions: all of the methods do nothing."""

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

    def scores(self, site: "Site") -> Array | None:
        """Return what is added to the scores, broadcast against (B, K, R, T); None: nothing."""
        return None

    def scores_backward(self, dscores: Array, site: "Site", dtables: Any) -> None:
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
