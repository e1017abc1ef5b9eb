"""Chapter 6: write the forward of attention with a padding mask."""

import numpy as np  # noqa: F401 (for your code)


def attention_forward(query, key, value, mask):
    """Average the values by how well each query matches the keys.

        out = softmax(Q Kᵀ / √H + bias) V

    where bias is 0 for a token and -inf for padding: no query reads a padded position. Every
    sequence contains a token.

    Args:
        query, key, value (B, K, T, H): of K heads.
        mask (B, T): 1 for a token, 0 for padding.

    Returns:
        out (B, K, T, H).
    """
    raise NotImplementedError
