"""The most probable tokens at a position."""

import numpy as np

from minibert.functional import softmax_forward
from minibert.tokenization import PreTrainedTokenizer
from minibert.typing import Array


def probable_tokens(
    tokenizer: PreTrainedTokenizer, logits: Array, top: int
) -> list[tuple[str, float]]:
    """Return the most probable tokens with their probabilities, the first one first.

    They are named by `describe_tokens`. A model may have more ids than its tokenizer, for a round
    number; such an id is left out.

    Args:
        tokenizer: names the tokens.
        logits (V,): of one position.
        top: number of tokens.
    """
    probabilities, _ = softmax_forward(logits.copy())  # (V,)
    best = np.argsort(-probabilities[: len(tokenizer)], kind="stable")[:top].tolist()
    names = tokenizer.describe_tokens(best)
    return [(name, float(probabilities[i])) for name, i in zip(names, best, strict=True)]
