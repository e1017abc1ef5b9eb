"""An encoder block for predicting: what `EncoderBlock` computes, with nothing kept to go back."""

from minibert.kernels import add_and_activate, add_and_normalise, attention_forward
from minibert.layers.attention import ROLES, heads_forward
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
        config, (B, _, D) = self.config, x.shape
        K = config.num_attention_heads
        attention = params.scope("attention.")
        asking = x if rows is None else take_rows(x, rows)
        R = asking.shape[1]
        if rows is None:
            query, key, value = heads_forward(attention, x, ROLES, K)  # (B, K, T, H) each
        else:
            (query,) = heads_forward(attention, asking, ROLES[:1], K)  # (B, K, R, H)
            key, value = heads_forward(attention, x, ROLES[1:], K)
        heads, (weights, *_) = attention_forward(query, key, value, bias)
        merged = heads.transpose(0, 2, 1, 3).reshape(B * R, D)  # (B, K, R, H) -> (B·R, D)
        h = self._added(merged, asking.reshape(B * R, D), attention)
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
