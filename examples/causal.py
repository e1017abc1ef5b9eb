"""Causal attention: a token reads itself and the tokens before it, as in a decoder.

Vaswani et al. (2017), section 3.2.3. `BertForMaskedLM(config, positions=causal)`.
"""

import numpy as np

from minibert.layers import Positions


class Causal(Positions):
    """Hides all keys that come after a query."""

    def prepare(self, params, keys, dtype):
        """Return the dtype of the scores."""
        return dtype

    def scores(self, site):
        """Return 0 where a query may read a key and -inf elsewhere: (T, T), or (B, 1, R, T)."""
        later = site.keys > site.queries[..., None]  # (T, T), or (B, R, T)
        hidden = np.where(later, -np.inf, 0).astype(site.tables)
        return hidden if hidden.ndim == 2 else hidden[:, None]


def causal(config):
    """Return the positions for a model's configuration."""
    return Causal()
