"""From ids to vectors: what the token is, where it stands, and in which segment."""

from minibert.functional import (
    dropout_backward,
    dropout_forward,
    embedding_backward,
    embedding_forward,
    sinusoidal_positions,
)
from minibert.layers.basic import LayerNorm


class Embeddings:
    """x = dropout(layer_norm(word[id] + position[t] + segment[type])).

    Devlin et al. (2019), figure 2. Sinusoidal positions are a fixed table and no parameter.

    Args:
        config: the model's `BertConfig`.
    """

    def __init__(self, config):
        self.config = config
        self.norm = LayerNorm("LayerNorm", config.hidden_size, config.layer_norm_eps)
        self.sinusoids = (
            sinusoidal_positions(config.max_position_embeddings, config.hidden_size)
            if config.position_embedding_type == "sinusoidal"
            else None
        )

    def shapes(self):
        """Return the shapes of the tables and of the layer norm."""
        config, width = self.config, self.config.hidden_size
        positions = {"position_embeddings.weight": (config.max_position_embeddings, width)}
        return {
            "word_embeddings.weight": (config.vocab_size, width),
            **(positions if self.sinusoids is None else {}),
            "token_type_embeddings.weight": (config.type_vocab_size, width),
            **self.norm.shapes(),
        }

    def forward(self, params, ids, types, rng=None):
        """Embed a batch.

        Args:
            params: in this layer's scope.  ids, types: (B, T).  rng: of the dropout.

        Returns:
            x (B, T, D), and the cache.
        """
        x, _ = embedding_forward(ids, params["word_embeddings.weight"])  # (B, T, D)
        x += self.position_rows(params, ids.shape[1], x.dtype)  # (T, D), for every sequence
        x += embedding_forward(types, params["token_type_embeddings.weight"])[0]
        x, norm_cache = self.norm.forward(params, x)
        x, mask = dropout_forward(x, self.config.hidden_dropout_prob, rng)
        return x, (ids, types, norm_cache, mask)

    def backward(self, dx, cache, params, grads):
        """Gradient of `forward`: the road ends here, so nothing is returned."""
        ids, types, norm_cache, mask = cache
        dx = dropout_backward(dx, mask)
        dx = self.norm.backward(dx, norm_cache, params, grads)
        embedding_backward(dx, types, grads["token_type_embeddings.weight"])
        if self.sinusoids is None:
            grads["position_embeddings.weight"][: dx.shape[1]] += dx.sum(axis=0)
        embedding_backward(dx, ids, grads["word_embeddings.weight"])

    def position_rows(self, params, length, dtype):
        """Return the vectors of the first `length` positions: (T, D)."""
        if self.sinusoids is None:
            return params["position_embeddings.weight"][:length]
        return self.sinusoids[:length].astype(dtype)
