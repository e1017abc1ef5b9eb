"""The layers: `functional` with parameters' names.

Read `linear`, then `base` (what a layer is), `attention`, `feed_forward`, `block`, `encoder`,
`embeddings`, `heads`; and `positions` for what stands beside attention in BERT's relatives.
"""

from minibert.layers.attention import SelfAttention
from minibert.layers.base import (
    Frozen,
    Layer,
    Recomputed,
    Site,
    frozen,
    recomputed,
    site_of,
    unwrapped,
)
from minibert.layers.block import Block, Residual
from minibert.layers.embeddings import Embeddings, LearnedPositions, SinusoidalPositions
from minibert.layers.encoder import Encoder
from minibert.layers.feed_forward import FeedForward
from minibert.layers.heads import (
    ClassifierHead,
    Head,
    MaskedLMHead,
    PooledClassifierHead,
    Pooler,
)
from minibert.layers.linear import LayerNorm, Linear
from minibert.layers.positions import Positions

__all__ = [
    "Block",
    "ClassifierHead",
    "Embeddings",
    "Encoder",
    "FeedForward",
    "Frozen",
    "Head",
    "Layer",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "MaskedLMHead",
    "PooledClassifierHead",
    "Pooler",
    "Positions",
    "Recomputed",
    "Residual",
    "SelfAttention",
    "SinusoidalPositions",
    "Site",
    "frozen",
    "recomputed",
    "site_of",
    "unwrapped",
]
