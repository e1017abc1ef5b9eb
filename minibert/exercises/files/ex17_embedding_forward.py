"""Chapter 8: look up the embeddings of tokens and add those of their positions."""

import numpy as np  # noqa: F401 (for your code)


def embedding_forward(ids, words, positions):
    """Return the embedding of each token plus that of its position.

        out[b, t] = words[ids[b, t]] + positions[t]

    Args:
        ids (B, T): integers from 0 to V - 1.
        words (V, D): an embedding for each entry of the vocabulary.
        positions (P, D): an embedding for each position; P is at least T.

    Returns:
        out (B, T, D).
    """
    raise NotImplementedError
