"""A gated feed-forward layer (GEGLU): one half of the up-projection gates the other.

    out = linear(gelu(x Uᵀ + a) · (x Gᵀ + b))

Shazeer (2020), eq. 6. `BertForMaskedLM(config, block=gated)`.
"""

from minibert.functional import activate_backward, activate_forward
from minibert.layers import Block, LayerNorm, Linear, Residual, SelfAttention
from minibert.specs import merged


class GatedFeedForward:
    """Feed-forward layer with a gate; D -> F twice, then F -> D."""

    def __init__(self, width, inner):
        self.up, self.gate = (Linear(f"{name}.dense", width, inner) for name in ("up", "gate"))
        self.down = Linear("output.dense", inner, width)

    def specs(self):
        """Return the declarations of the three maps."""
        return merged(self, self.up.specs(), self.gate.specs(), self.down.specs())

    def forward(self, params, x, site, rng=None, keep=True):
        """Transform each token of x (..., D)."""
        z, rows = self.up.forward(params, x.reshape(-1, x.shape[-1]))  # (N, F)
        active, slope = activate_forward(z, None, "gelu")
        gate, _ = self.gate.forward(params, rows)  # (N, F)
        product = active * gate
        out, _ = self.down.forward(params, product)  # (N, F) -> (N, D)
        return out.reshape(x.shape), (rows, active, slope, gate, product)

    def backward(self, dout, cache, params, grads, dsite):
        """Gradient of `forward`: the rows reach the product through both factors."""
        rows, active, slope, gate, product = cache
        dproduct = self.down.backward(dout.reshape(len(rows), -1), product, params, grads)
        dz = activate_backward(dproduct * gate, slope)
        dx = self.up.backward(dz, rows, params, grads)
        dx += self.gate.backward(dproduct * active, rows, params, grads)
        return dx.reshape(dout.shape)  # (N, D) -> (..., D)


def gated(config):
    """Return a block with a gated feed-forward layer for a model's configuration."""
    width, eps, rate = config.hidden_size, config.layer_norm_eps, config.hidden_dropout_prob
    attention = SelfAttention(
        "attention", width, config.num_attention_heads, config.attention_probs_dropout_prob
    )
    feed_forward = GatedFeedForward(width, config.intermediate_size)
    return Block(
        Residual(attention, LayerNorm("attention.output.LayerNorm", width, eps), rate),
        Residual(feed_forward, LayerNorm("output.LayerNorm", width, eps), rate),
    )
