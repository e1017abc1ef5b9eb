"""A pre-norm block: the norm before the sublayer instead of after the sum.

    out = x + dropout(sublayer(layer_norm(x)))

Xiong et al. (2020), section 3. Give it to any model: `BertForMaskedLM(config, block=pre_norm)`.
"""

from minibert.functional import dropout_backward, dropout_forward, gather_backward, gather_forward
from minibert.layers import Block, FeedForward, LayerNorm, SelfAttention
from minibert.specs import merged


class PreNorm:
    """A sublayer that reads its normalized input, and whose output is added to the input."""

    def __init__(self, sublayer, norm, rate):
        self.sublayer, self.norm, self.rate = sublayer, norm, rate

    def specs(self):
        """Return the declarations of norm and sublayer."""
        return merged(self, self.norm.specs(), self.sublayer.specs())

    def forward(self, params, x, site, rng=None, keep=True):
        """Transform the tokens at `site.rows`."""
        normed, norm_cache = self.norm.forward(params, x)  # (B, T, D)
        y, sublayer_cache = self.sublayer.forward(params, normed, site, rng, keep)  # (B, R, D)
        y, mask = dropout_forward(y, self.rate, rng)
        residual = x if site.rows is None else gather_forward(x, site.rows)  # (B, R, D)
        return residual + y, (norm_cache, sublayer_cache, mask, site)

    def backward(self, dout, cache, params, grads, dsite):
        """Gradient of `forward`: x reaches the sum as it is and through norm and sublayer."""
        norm_cache, sublayer_cache, mask, site = cache
        dy = dropout_backward(dout, mask)
        dnormed = self.sublayer.backward(dy, sublayer_cache, params, grads, dsite)
        dx = self.norm.backward(dnormed, norm_cache, params, grads)
        if site.rows is None:
            dx += dout
        else:
            gather_backward(dout, site.rows, dx)
        return dx


def pre_norm(config):
    """Return a pre-norm block for a model's configuration."""
    width, eps, rate = config.hidden_size, config.layer_norm_eps, config.hidden_dropout_prob
    attention = SelfAttention(
        "attention", width, config.num_attention_heads, config.attention_probs_dropout_prob
    )
    feed_forward = FeedForward(width, config.intermediate_size, config.hidden_act)
    return Block(
        PreNorm(attention, LayerNorm("attention.LayerNorm", width, eps), rate),
        PreNorm(feed_forward, LayerNorm("LayerNorm", width, eps), rate),
    )
