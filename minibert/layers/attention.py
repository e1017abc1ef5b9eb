"""Multi-head self-attention: K small attentions side by side, each in its own subspace."""

import numpy as np

from minibert.functional import (
    dropout_backward,
    dropout_forward,
    linear_backward,
    linear_forward,
)
from minibert.kernels import attention_backward, attention_forward
from minibert.layers.basic import Linear

ROLES = ("query", "key", "value")  # their weights adjoin, and so do their biases


def heads_forward(params, x, roles, count):
    """Map the rows for some of the roles, with one matmul, and cut the outcome into heads.

    Args:
        params: in the attention's scope.  x: (B, T, D).
        roles: neighbours in `ROLES`.  count: K.

    Returns:
        (roles, B, K, T, H).
    """
    B, T, D = x.shape
    weight, bias = (params.fused(*names) for names in _names(roles))
    out, _ = linear_forward(x.reshape(B * T, D), weight, bias)  # (B·T, roles·D)
    # (B·T, roles·D) -> (roles, B, K, T, H)
    return out.reshape(B, T, len(roles), count, D // count).transpose(2, 0, 3, 1, 4)


def heads_backward(dheads, x, roles, params, grads):
    """Gradient of `heads_forward`, given (B, K, T, H) for each role: returns dx (B, T, D)."""
    B, T, D = x.shape
    weights, biases = _names(roles)
    # (B, K, T, H) each -> (B, T, roles, K, H)
    dout = np.stack([dhead.transpose(0, 2, 1, 3) for dhead in dheads], axis=2)
    dx = linear_backward(
        dout.reshape(B * T, len(roles) * D),
        x.reshape(B * T, D),
        params.fused(*weights),
        grads.fused(*weights),
        grads.fused(*biases),
    )
    return dx.reshape(B, T, D)


def _names(roles):
    return [[f"self.{role}.{kind}" for role in roles] for kind in ("weight", "bias")]


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
            **{f"self.{role}.weight": (width, width) for role in ROLES},
            **{f"self.{role}.bias": (width,) for role in ROLES},
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
        config, (B, R, D) = self.config, asking.shape
        K = config.num_attention_heads
        if asking is x:
            query, key, value = heads_forward(params, x, ROLES, K)  # (B, K, T, H) each
        else:
            (query,) = heads_forward(params, asking, ROLES[:1], K)  # (B, K, R, H)
            key, value = heads_forward(params, x, ROLES[1:], K)
        heads, attention_cache = attention_forward(
            query, key, value, bias, config.attention_probs_dropout_prob, rng
        )
        merged = heads.transpose(0, 2, 1, 3).reshape(B, R, D)  # (B, K, R, H) -> (B, R, D)
        out, output_cache = self.output.forward(params, merged)
        out, mask = dropout_forward(out, config.hidden_dropout_prob, rng)
        return out, (attention_cache, asking, x, output_cache, mask)

    def backward(self, dout, cache, params, grads):
        """Gradient of `forward`: returns dasking (B, R, D) and dx (B, T, D).

        If x itself asked, dasking is None and dx has it all.
        """
        attention_cache, asking, x, output_cache, mask = cache
        B, R, _ = dout.shape
        K, H = self.config.num_attention_heads, self.config.head_width
        dmerged = self.output.backward(dropout_backward(dout, mask), output_cache, params, grads)
        dheads = dmerged.reshape(B, R, K, H).transpose(0, 2, 1, 3)  # (B, R, D) -> (B, K, R, H)
        dquery, dkey, dvalue = attention_backward(dheads, attention_cache)
        if asking is x:
            return None, heads_backward((dquery, dkey, dvalue), x, ROLES, params, grads)
        return (
            heads_backward((dquery,), asking, ROLES[:1], params, grads),
            heads_backward((dkey, dvalue), x, ROLES[1:], params, grads),
        )

    @staticmethod
    def weights(cache):
        """The attention weights (B, K, R, T) in the cache of `forward`, before dropout."""
        return cache[0][0]
