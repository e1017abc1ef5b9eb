"""A relative bias: each distance between two tokens adds a learned number to each head's score.

    score(t, s) = q_t · k_s / √H + b[head, clip(s - t, -W, W)]

Raffel et al. (2020), section 2.1, without their logarithmic buckets. The table is shared by all
layers, so its gradient is the sum over them. `BertForMaskedLM(config, positions=relative)`.
"""

import numpy as np

from minibert.layers import Positions
from minibert.specs import ParameterSpec

REACH = 8  # W: tokens further apart share a number
TABLE = "relative_attention_bias.weight"


class RelativeBias(Positions):
    """Adds a learned bias of distance and head to the scores; K heads."""

    def __init__(self, heads, reach=REACH):
        self.heads, self.reach = heads, reach

    def specs(self):
        """Return the declaration of the table (2W + 1, K)."""
        return {TABLE: ParameterSpec((2 * self.reach + 1, self.heads), decay=False)}

    def prepare(self, params, keys, dtype):
        """Return the table itself."""
        return params[TABLE]

    def scores(self, site):
        """Return the bias (K, T, T), or (B, K, R, T) at `site.rows`."""
        return np.moveaxis(site.tables[self._buckets(site)], -1, -3)  # (..., R, T, K)

    def scores_backward(self, dscores, site, dtables):
        """Gradient of `scores`; adds dscores (B, K, R, T) into the table's gradient."""
        rows = np.moveaxis(dscores, 1, -1)  # (B, K, R, T) -> (B, R, T, K)
        np.add.at(dtables, np.broadcast_to(self._buckets(site), rows.shape[:-1]), rows)

    def zeros(self, tables):
        """Return zeros for the table's gradient."""
        return np.zeros_like(tables)

    def backward(self, dtables, tables, params, grads):
        """Gradient of `prepare`; adds into `grads`."""
        grads[TABLE] += dtables

    def _buckets(self, site):
        """Return the table's row for each query and key: (T, T), or (B, R, T)."""
        distances = site.keys - site.queries[..., None]
        return np.clip(distances, -self.reach, self.reach) + self.reach


def relative(config):
    """Return the positions for a model's configuration."""
    return RelativeBias(config.num_attention_heads)
