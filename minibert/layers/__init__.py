"""The layers: `functional` with parameters' names.

Read `linear`, then `base` (what a layer is), `attention`, `feed_forward`, `block`, `encoder`,
`embeddings`, `masked_lm`, `heads`; and for BERT's relatives `word_embeddings`, `summary`,
`positions`, `relative`, `rotary`, `pre_norm`, `gated` and `without_bias`.
"""

from minibert.layers.attention import SelfAttention
from minibert.layers.base import Layer, Site
from minibert.layers.block import Block, Residual
from minibert.layers.embeddings import Embeddings, LearnedPositions
from minibert.layers.encoder import Encoder
from minibert.layers.feed_forward import FeedForward
from minibert.layers.gated import GatedFeedForward
from minibert.layers.heads import (
    ClassifierHead,
    Head,
    PooledClassifierHead,
    Pooler,
)
from minibert.layers.linear import LayerNorm, Linear
from minibert.layers.masked_lm import MaskedLMHead
from minibert.layers.positions import Positions
from minibert.layers.pre_norm import PreNormEncoder, PreNormResidual
from minibert.layers.relative import RelativeBias
from minibert.layers.rotary import RotaryPositions
from minibert.layers.sinusoidal import SinusoidalPositions
from minibert.layers.without_bias import (
    LayerNormWithoutBias,
    LinearWithoutBias,
    SelfAttentionWithoutBias,
)
from minibert.layers.word_embeddings import AddedTable, WordEmbeddings
from minibert.layers.wrappers import Frozen, Recomputed, frozen, recomputed, unwrapped

__all__ = [
    "AddedTable",
    "Block",
    "ClassifierHead",
    "Embeddings",
    "Encoder",
    "FeedForward",
    "Frozen",
    "GatedFeedForward",
    "Head",
    "Layer",
    "LayerNorm",
    "LayerNormWithoutBias",
    "LearnedPositions",
    "Linear",
    "LinearWithoutBias",
    "MaskedLMHead",
    "PooledClassifierHead",
    "Pooler",
    "Positions",
    "PreNormEncoder",
    "PreNormResidual",
    "Recomputed",
    "RelativeBias",
    "Residual",
    "RotaryPositions",
    "SelfAttention",
    "SelfAttentionWithoutBias",
    "SinusoidalPositions",
    "Site",
    "WordEmbeddings",
    "frozen",
    "recomputed",
    "unwrapped",
]
