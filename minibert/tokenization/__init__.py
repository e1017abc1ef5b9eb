"""Tokenization: text to ids and back, in three rooms.

Normalise: `characters`, `normalizer`. Match: `vocabulary`, `added`, `matching`, `fast`. Learn:
`trainer`. `wordpiece` is the front door, with `framing` and `saved` behind it.
"""

from minibert.tokenization.added import AddedToken
from minibert.tokenization.framing import Encoding
from minibert.tokenization.normalizer import Normalizer
from minibert.tokenization.vocabulary import Vocabulary
from minibert.tokenization.wordpiece import WordPieceTokenizer

__all__ = ["AddedToken", "Encoding", "Normalizer", "Vocabulary", "WordPieceTokenizer"]
