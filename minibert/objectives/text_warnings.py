"""Warnings about texts from which a model learns little."""

import logging

from minibert.tokenization import PreTrainedTokenizer

log = logging.getLogger("minibert")

MAX_EPOCHS = 100  # passes through the text
MAX_REPEATED = 0.2  # share of repeated lines
MIN_TOKENS_PER_PIECE = 20  # tokens of the text for each piece of the vocabulary


def warn_of_text(
    repeated: float, tokens: int, tokenizer: PreTrainedTokenizer | None, epochs: float
) -> None:
    """Log a warning for each reason why a text teaches little.

    Args:
        repeated: the share of lines that occurred before.
        tokens: number of tokens in the text.
        tokenizer: its vocabulary may be too large for the text; None: that of a trained model.
        epochs: number of passes through the text.
    """
    if epochs > MAX_EPOCHS:
        log.warning("warning: %.0f times through the text; fewer steps or more text would do more",
                    epochs)  # fmt: skip
    if repeated > MAX_REPEATED:
        log.warning("warning: %.0f%% of the lines occurred in the text before; a model memorizes "
                    "such lines, so its held-out loss is too low", 100 * repeated)  # fmt: skip
    if tokenizer is not None and tokens < MIN_TOKENS_PER_PIECE * len(tokenizer):
        log.warning(
            "warning: %s tokens are few for a vocabulary of %s pieces, many of which hardly occur; "
            "a smaller one learns more", f"{tokens:,}", f"{len(tokenizer):,}",
        )  # fmt: skip
