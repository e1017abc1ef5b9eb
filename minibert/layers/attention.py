"""Multi-head self-attention: K small attentions side by side, each in its own subspace."""

import numpy as np

from minibert.functional import (
    attention_backward,
    attention_forward,
    dropout_backward,
    dropout_forward,
    linear_backward,
    linear_forward,
)
from minibert.layers.basic import Linear

QUERY = ("self.query.weight", "self.query.bias")
# Keys and values read the same rows; their weights adjoin, and one matmul makes both.
KEY_VALUE_WEIGHTS = ("self.key.weight", "self.value.weight")
KEY_VALUE_BIASES = ("self.key.bias", "self.value.bias")


class SelfAttention:
    """Queries from some rows, keys and values from all rows, K heads, and a linear map at the end.

        out = dropout(linear(concat_k attention(Q_k, K_k, V_k)))

    Vaswani et al. (2017), section 3.2.2.

    Args:
        config: the model's `BertConfig`.
    """

    def __init__(self, config):
        self.config = config
        self.output = Linear("output.dense", config.hidden_size, config.hidden_size)

    def shapes(self):
        """Return the shapes of the four maps; the three weights adjoin, and the three biases."""
        width = self.config.hidden_size
        return {
            **{f"self.{role}.weight": (width, width) for role in ("query", "key", "value")},
            **{f"self.{role}.bias": (width,) for role in ("query", "key", "value")},
            **self.output.shapes(),
        }

    def forward(self, params, asking, x, bias=None, rng=None):
        """Let each row of `asking` read the rows of x.

        Args:
            params: in this layer's scope.
            asking: (B, R, D), the rows to compute: x itself, or those of it that are needed.
            x: (B, T, D), the rows to read.
            bias: broadcasts against (B, K, R, T), -inf where nothing may be read; None: all may.
            rng: of the dropout on weights and output.

        Returns:
            out (B, R, D), and the cache.
        """
        config, (B, R, D), T = self.config, asking.shape, x.shape[1]
        K, H = config.num_attention_heads, config.head_width
        asking, x = asking.reshape(B * R, D), x.reshape(B * T, D)  # the rows, (N, D)
        query, _ = linear_forward(asking, *(params[name] for name in QUERY))
        key_value, _ = linear_forward(
            x, params.fused(*KEY_VALUE_WEIGHTS), params.fused(*KEY_VALUE_BIASES)
        )
        query = query.reshape(B, R, K, H).transpose(0, 2, 1, 3)  # (B·R, D) -> (B, K, R, H)
        # (B·T, 2D) -> (2, B, K, T, H)
        key, value = key_value.reshape(B, T, 2, K, H).transpose(2, 0, 3, 1, 4)
        heads, attention_cache = attention_forward(
            query, key, value, bias, config.attention_probs_dropout_prob, rng
        )
        merged = heads.transpose(0, 2, 1, 3).reshape(B, R, D)  # (B, K, R, H) -> (B, R, D)
        out, output_cache = self.output.forward(params, merged)
        out, mask = dropout_forward(out, config.hidden_dropout_prob, rng)
        return out, (attention_cache, asking, x, output_cache, mask)

    def backward(self, dout, cache, params, grads):
        """Gradient of `forward`: returns dasking (B, R, D) and dx (B, T, D)."""
        attention_cache, asking, x, output_cache, mask = cache
        B, R, D = dout.shape
        K, H = self.config.num_attention_heads, self.config.head_width
        dmerged = self.output.backward(dropout_backward(dout, mask), output_cache, params, grads)
        dheads = dmerged.reshape(B, R, K, H).transpose(0, 2, 1, 3)  # (B, R, D) -> (B, K, R, H)
        dquery, dkey, dvalue = attention_backward(dheads, attention_cache)
        T = dkey.shape[2]
        dkey_value = np.empty((B, T, 2, K, H), dout.dtype)
        dkey_value[:, :, 0] = dkey.transpose(0, 2, 1, 3)  # (B, K, T, H) -> (B, T, K, H)
        dkey_value[:, :, 1] = dvalue.transpose(0, 2, 1, 3)
        dx = linear_backward(
            dkey_value.reshape(B * T, 2 * D),
            x,
            params.fused(*KEY_VALUE_WEIGHTS),
            grads.fused(*KEY_VALUE_WEIGHTS),
            grads.fused(*KEY_VALUE_BIASES),
        )
        dquery = dquery.transpose(0, 2, 1, 3).reshape(B * R, D)  # (B, K, R, H) -> (B·R, D)
        dasking = linear_backward(
            dquery, asking, params[QUERY[0]], *(grads[name] for name in QUERY)
        )
        return dasking.reshape(B, R, D), dx.reshape(B, T, D)

    @staticmethod
    def weights(cache):
        """The attention weights (B, K, R, T) in the cache of `forward`, before dropout."""
        return cache[0][0]
