"""An encoder block for predicting: what `EncoderBlock` computes, with nothing kept to go back."""

from minibert.functional import linear_forward
from minibert.kernels import add_and_activate, add_and_normalise, attend
from minibert.layers.attention import KEY_VALUE_BIASES, KEY_VALUE_WEIGHTS, QUERY
from minibert.layers.encoder import take_rows


class LeanBlock:
    """`EncoderBlock` without dropout and without a backward pass, on `kernels`.

    Args:
        config: the model's `BertConfig`.
    """

    def __init__(self, config):
        self.config = config

    def forward(self, params, x, bias=None, rng=None, rows=None):
        """Transform a batch; with `rows`, only those rows of it.

        Args:
            params, x, bias, rows: as `EncoderBlock.forward` takes them.
            rng: None, for there is no dropout.

        Returns:
            out (B, R, D), and the attention weights (B, K, R, T).
        """
        config, (B, T, D) = self.config, x.shape
        K, H = config.num_attention_heads, config.head_width
        attention = params.scope("attention.")
        asking = x if rows is None else take_rows(x, rows)
        R = asking.shape[1]
        asking, x = asking.reshape(B * R, D), x.reshape(B * T, D)
        query, _ = linear_forward(asking, *(attention[name] for name in QUERY))
        key_value, _ = linear_forward(
            x, attention.fused(*KEY_VALUE_WEIGHTS), attention.fused(*KEY_VALUE_BIASES)
        )
        query = query.reshape(B, R, K, H).transpose(0, 2, 1, 3)  # (B·R, D) -> (B, K, R, H)
        # (B·T, 2D) -> (2, B, K, T, H)
        key, value = key_value.reshape(B, T, 2, K, H).transpose(2, 0, 3, 1, 4)
        merged, weights = attend(query, key, value, bias)
        h = self._added(merged.reshape(B * R, D), asking, attention)
        wide = h @ params["intermediate.dense.weight"].T  # (N, D) @ (D, F) -> (N, F)
        add_and_activate(wide, params["intermediate.dense.bias"], config.hidden_act)
        return self._added(wide, h, params).reshape(B, R, D), weights

    def _added(self, x, residual, params):
        """layer_norm(linear(x) + residual): how both sublayers end."""
        params = params.scope("output.")
        return add_and_normalise(
            x @ params["dense.weight"].T,  # (N, I) @ (I, D) -> (N, D)
            params["dense.bias"],
            residual,
            params["LayerNorm.weight"],
            params["LayerNorm.bias"],
            self.config.layer_norm_eps,
        )

    @staticmethod
    def attention_weights(cache):
        """The attention weights (B, K, R, T) that `forward` returns."""
        return cache
