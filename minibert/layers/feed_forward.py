"""The feed-forward sublayer: each token's vector, widened, bent and narrowed again."""

from minibert.functional import ACTIVATIONS, dropout_backward, dropout_forward, slope_backward
from minibert.layers.basic import Linear


class FeedForward:
    """out = dropout(linear(activation(linear(x)))), D -> F -> D, every row by itself.

    Vaswani et al. (2017), section 3.3, with GELU as in Devlin et al. (2019), section A.2.

    Args:
        config: the model's `BertConfig`.
    """

    def __init__(self, config):
        self.rate = config.hidden_dropout_prob
        self.widen = Linear("intermediate.dense", config.hidden_size, config.intermediate_size)
        self.activation_forward = ACTIVATIONS[config.hidden_act]
        self.narrow = Linear("output.dense", config.intermediate_size, config.hidden_size)

    def shapes(self):
        """Return the shapes of both maps."""
        return {**self.widen.shapes(), **self.narrow.shapes()}

    def forward(self, params, x, rng=None):
        """Transform each row of x (..., D); returns out (..., D), and the cache."""
        wide, widen_cache = self.widen.forward(params, x)  # (..., D) -> (..., F)
        active, slope = self.activation_forward(wide)
        out, narrow_cache = self.narrow.forward(params, active)  # (..., F) -> (..., D)
        out, mask = dropout_forward(out, self.rate, rng)
        return out, (widen_cache, slope, narrow_cache, mask)

    def backward(self, dout, cache, params, grads):
        """Gradient of `forward`: returns dx (..., D)."""
        widen_cache, slope, narrow_cache, mask = cache
        dactive = self.narrow.backward(dropout_backward(dout, mask), narrow_cache, params, grads)
        dwide = slope_backward(dactive, slope)
        return self.widen.backward(dwide, widen_cache, params, grads)
