"""The layers: `functional` with parameters' names. Read `basic`, then the way of the data."""

from minibert.layers.attention import SelfAttention
from minibert.layers.basic import LayerNorm, Linear
from minibert.layers.embeddings import Embeddings
from minibert.layers.encoder import Encoder, EncoderBlock, RecomputedBlock
from minibert.layers.feed_forward import FeedForward
from minibert.layers.heads import PooledScores, Pooler, Scores, VocabularyScores
from minibert.layers.lean import LeanBlock

__all__ = [
    "Embeddings",
    "Encoder",
    "EncoderBlock",
    "FeedForward",
    "LayerNorm",
    "LeanBlock",
    "Linear",
    "PooledScores",
    "Pooler",
    "RecomputedBlock",
    "Scores",
    "SelfAttention",
    "VocabularyScores",
]
