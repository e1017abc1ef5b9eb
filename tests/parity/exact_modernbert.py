"""ModernBERT of `transformers` in the dtype of its weights.

It computes rotary positions and the softmax of its eager attention in float32 whatever the dtype
is; and a row of the softmax without a token to attend to is then NaN, which reaches all tokens.
"""


def compute_exactly(monkeypatch):
    """Let rotary positions and eager attention have the dtype of the hidden states."""
    import torch
    from transformers.models.modernbert import modeling_modernbert as modeling

    def tables(self, x, position_ids, layer_type):
        theta, H = self.config.rope_parameters[layer_type]["rope_theta"], self.config.hidden_size
        H //= self.config.num_attention_heads
        frequencies = theta ** (-torch.arange(0, H, 2, dtype=torch.float64) / H)
        angles = position_ids[..., None].double() * frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)

    def rotate(q, k, cos, sin, unsqueeze_dim=1):
        cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
        return tuple(x * cos + modeling.rotate_half(x) * sin for x in (q, k))

    def attend(module, query, key, value, attention_mask, scaling, dropout=0.0, **options):
        scores = query @ key.transpose(2, 3) * scaling
        if attention_mask is not None:
            scores = scores + attention_mask
        weights = torch.softmax(scores, dim=-1)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    monkeypatch.setattr(modeling.ModernBertRotaryEmbedding, "forward", tables)
    monkeypatch.setattr(modeling, "apply_rotary_pos_emb", rotate)
    monkeypatch.setattr(modeling, "eager_attention_forward", attend)
