"""Chapter 14: pad sequences of different lengths to a batch with a mask."""

import numpy as np  # noqa: F401 (for your code)


def pad_batch(sequences, pad_id):
    """Put sequences into one array, padded on the right to the longest.

    Args:
        sequences: lists of token ids, at least one id each; an id may be equal to pad_id.
        pad_id: the id of [PAD].

    Returns:
        ids (B, T): the sequences, then pad_id.
        mask (B, T): 1 for a token, 0 for padding.
    """
    raise NotImplementedError
