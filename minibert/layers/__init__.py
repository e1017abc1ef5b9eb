"""The layers: `functional` with parameters' names.

Read `linear`, then `base` (what a layer is), `attention`, `feed_forward`, `block`, `encoder`,
`embeddings`, `masked_lm`, `heads`; and `positions` for the positions of BERT's relatives.
"""

from minibert.layers.attention import SelfAttention
from minibert.layers.base import Layer, Site
from minibert.layers.block import Block, Residual
from minibert.layers.embeddings import Embeddings, LearnedPositions
from minibert.layers.encoder import Encoder
from minibert.layers.feed_forward import FeedForward
from minibert.layers.heads import (
    ClassifierHead,
    Head,
    PooledClassifierHead,
    Pooler,
)
from minibert.layers.linear import LayerNorm, Linear
from minibert.layers.masked_lm import MaskedLMHead
from minibert.layers.positions import Positions
from minibert.layers.sinusoidal import SinusoidalPositions
from minibert.layers.wrappers import Frozen, Recomputed, frozen, recomputed, unwrapped

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
    "unwrapped",
]
