"""Rotary positions: queries and keys turn by an angle that grows with their position.

    (x₁, x₂) -> (x₁ cos tθ - x₂ sin tθ, x₁ sin tθ + x₂ cos tθ)   for each pair, θ = 10000^(-2i/H)

Su et al. (2021), section 3.2; as in GPT-NeoX the pair of x_i is x_(i + H/2). Scores depend on the
distance of two tokens only. `BertForMaskedLM(config, positions=rotary, embeddings=no_positions)`.
"""

import numpy as np

from minibert.layers import Embeddings, Positions


class Rotary(Positions):
    """Rotates queries and keys; H is a head's width, even."""

    def __init__(self, head_width):
        self.frequencies = 10000 ** (-np.arange(0, head_width, 2) / head_width)  # (H/2,)

    def prepare(self, params, keys, dtype):
        """Return cosine and sine of the angle of each position, (T, H/2) each."""
        angles = keys[:, None] * self.frequencies
        return np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)

    def turn(self, heads, at, tables):
        """Rotate heads (B, K, R, H) by the angles of their positions, (T,) or (B, R)."""
        return self._rotated(heads, at, tables, 1)

    def turn_backward(self, dheads, at, tables):
        """Gradient of `turn`: a rotation's transpose is the rotation back."""
        return self._rotated(dheads, at, tables, -1)

    @staticmethod
    def _rotated(heads, at, tables, sign):
        cos, sin = (table[at] for table in tables)  # (T, H/2), or (B, R, H/2)
        if at.ndim == 2:
            cos, sin = cos[:, None], sin[:, None]  # (B, R, H/2) -> (B, 1, R, H/2)
        one, two = np.split(heads, 2, axis=-1)  # (B, K, R, H/2) each
        sin = sign * sin
        return np.concatenate([one * cos - two * sin, one * sin + two * cos], axis=-1)


def rotary(config):
    """Return the positions for a model's configuration."""
    return Rotary(config.head_width)


def no_positions(config):
    """Return embeddings of words and segments alone."""
    return Embeddings(
        config.vocab_size, config.hidden_size, config.type_vocab_size, None, config.pad_token_id,
        config.layer_norm_eps, config.hidden_dropout_prob,
    )  # fmt: skip
