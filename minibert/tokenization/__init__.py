"""Tokenization: text to ids and back.

Read `normalizer`, `vocabulary`, `wordpiece` with `framing` and `saved`, then `trainer`.
"""

from minibert.tokenization.framing import Encoding
from minibert.tokenization.normalizer import Normalizer
from minibert.tokenization.vocabulary import Vocabulary
from minibert.tokenization.wordpiece import WordPieceTokenizer

__all__ = ["Encoding", "Normalizer", "Vocabulary", "WordPieceTokenizer"]
