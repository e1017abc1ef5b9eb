"""BERT's own parts: its embeddings and its block, composed of layers for a configuration."""

from minibert.layers import (
    Block,
    Embeddings,
    FeedForward,
    LayerNorm,
    LearnedPositions,
    Residual,
    SelfAttention,
    SinusoidalPositions,
)
from minibert.models.config import BertConfig


def bert_embeddings(config: BertConfig) -> Embeddings:
    """Return the embeddings of a BERT: words, learned or sinusoidal positions, segments."""
    sinusoidal = config.position_embedding_type == "sinusoidal"
    table = SinusoidalPositions if sinusoidal else LearnedPositions
    return Embeddings(
        config.vocab_size,
        config.hidden_size,
        config.type_vocab_size,
        table(config.max_position_embeddings, config.hidden_size),
        config.pad_token_id,
        config.layer_norm_eps,
        config.hidden_dropout_prob,
    )


def bert_block(config: BertConfig) -> Block:
    """Return a block of a BERT: attention and feed-forward, both with post-norm."""
    width, eps, rate = config.hidden_size, config.layer_norm_eps, config.hidden_dropout_prob
    attention = SelfAttention(
        "attention", width, config.num_attention_heads, config.attention_probs_dropout_prob
    )
    feed_forward = FeedForward(width, config.intermediate_size, config.hidden_act)
    return Block(
        Residual(attention, LayerNorm("attention.output.LayerNorm", width, eps), rate),
        Residual(feed_forward, LayerNorm("output.LayerNorm", width, eps), rate),
    )
