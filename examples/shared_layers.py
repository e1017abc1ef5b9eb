"""Shared layers and a factorised embedding, as in ALBERT.

All blocks have the same parameters, and words have vectors of width E, which a linear map widens to
D. Lan et al. (2020), section 3.1. Because gradients are added, sharing is one scope for all blocks.
`BertForMaskedLM(config, encoder=shared, embeddings=factorised)`.
"""

from minibert.layers import Embeddings, Encoder, LearnedPositions, Linear
from minibert.models import bert_block
from minibert.specs import merged

TABLE_WIDTH = 8  # E


def shared(config):
    """Return an encoder whose blocks share their parameters."""
    count = config.num_hidden_layers
    return Encoder([bert_block(config)] * count, scopes=["layer.0."] * count)


class FactorisedEmbeddings:
    """Embeddings of width E, then a linear map to D."""

    def __init__(self, config, table_width=TABLE_WIDTH):
        positions = LearnedPositions(config.max_position_embeddings, table_width)
        self.inner = Embeddings(
            config.vocab_size, table_width, config.type_vocab_size, positions,
            config.pad_token_id, config.layer_norm_eps, config.hidden_dropout_prob,
        )  # fmt: skip
        self.widen = Linear("projection", table_width, config.hidden_size)

    def specs(self):
        """Return the declarations of the tables and of the map."""
        return merged(self, self.inner.specs(), self.widen.specs())

    def constants(self):
        """Return the tables that are not trained."""
        return self.inner.constants()

    def forward(self, params, ids, types, rng=None):
        """Embed ids (B, T) and segments (B, T): x (B, T, D), and the cache."""
        x, inner_cache = self.inner.forward(params, ids, types, rng)  # (B, T, E)
        x, rows = self.widen.forward(params, x)  # (B, T, E) -> (B, T, D)
        return x, (inner_cache, rows)

    def backward(self, dx, cache, params, grads):
        """Gradient of `forward`; adds into `grads`."""
        inner_cache, rows = cache
        dx = self.widen.backward(dx, rows, params, grads)  # (B, T, D) -> (B, T, E)
        self.inner.backward(dx, inner_cache, params, grads)


def factorised(config):
    """Return the embeddings for a model's configuration."""
    return FactorisedEmbeddings(config)
