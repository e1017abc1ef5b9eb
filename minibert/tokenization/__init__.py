"""Tokenization: text to ids and back. Read `normalizer`, `wordpiece`, then `trainer`."""

from minibert.tokenization.normalizer import Normalizer
from minibert.tokenization.wordpiece import Encoding, WordPieceTokenizer

__all__ = ["Encoding", "Normalizer", "WordPieceTokenizer"]
