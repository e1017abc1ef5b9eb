"""The result of calling a model."""

from dataclasses import dataclass
from typing import Any

from minibert.functional import AttentionCache
from minibert.typing import Array


@dataclass(frozen=True)
class ModelOutput:
    """The result of calling a model; fields that were not asked for are None.

    Attributes:
        loss: if labels were given.
        last_hidden_state (B, T, D): a vector for each token.
        pooler_output (B, D): a vector for each sequence.
        logits: before the softmax; their shape depends on the head.
        prediction_logits (B, T, V), seq_relationship_logits (B, 2), sop_logits (B, 2): of the heads
            of pre-training.
        start_logits (B, T), end_logits (B, T): of question answering.
        hidden_states: the embeddings and each block's output, L + 1 times (B, T, D).
        attentions: each block's attention weights, L times (B, K, T, T): row t has the share of
            each token's value in what the head adds to token t; `mean(axis=1)` averages the heads.
    """

    loss: float | None = None
    last_hidden_state: Array | None = None
    pooler_output: Array | None = None
    logits: Array | None = None
    prediction_logits: Array | None = None
    seq_relationship_logits: Array | None = None
    sop_logits: Array | None = None
    start_logits: Array | None = None
    end_logits: Array | None = None
    hidden_states: tuple[Array, ...] | None = None
    attentions: tuple[Array, ...] | None = None


def attention_weights(cache: Any) -> Array:
    """Return the attention weights (B, K, R, T) in a block's cache, before dropout.

    Raises:
        ValueError: there is no `AttentionCache` in it.
    """
    found = _attention_cache(cache)
    if found is None:
        raise ValueError(f"attentions: expected an AttentionCache in {type(cache).__name__}")
    return found.weights


def _attention_cache(cache: Any) -> AttentionCache | None:
    if isinstance(cache, AttentionCache):
        return cache
    parts = cache if isinstance(cache, tuple) else ()
    return next((found for part in parts if (found := _attention_cache(part))), None)
