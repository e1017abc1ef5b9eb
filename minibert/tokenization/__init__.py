"""Tokenization: text to ids and back, in three rooms.

Normalise: `characters`, `normalizer`. Match: `vocabulary`, `added`, `matching`, `fast`. Learn:
`trainer`. `wordpiece` is the front door, with `framing` and `saved` behind it.

The tokens of a text are those of Hugging Face's `tokenizers` 0.23 and of `transformers` 5: ids,
types, masks, offsets and word ids, under the same options. The parity tests try every code point
and arbitrary strings, and assert that nothing differs but this:

====================================  ==========================  ================================
what                                  there                       here, and why
====================================  ==========================  ================================
lone surrogates, U+D800 to U+DFFF     can't be given              dropped; letters, if the text is
                                                                  not cleaned
the text of a token that is added     the part of the text that   its own, so that decoding gives
(its id is the same)                  it took, normalised         back what was added
letters of Unicode 17 and later       no part of a word           part of a word, if `regex` knows
beside an added token, `single_word`                              them
windows with no room for a text       longer than `max_length`    an error
`encode(text, "")`                    `transformers`: one text    a pair, as in `tokenizers`
special tokens that no vocabulary     `transformers` adds them    an error: no model has learned
has                                                               them
====================================  ==========================  ================================

Between versions of Python, nothing differs but what a Unicode after 18 may bring, if that Python
knows it: capitals, and marks that decompose or move.
"""

from minibert.tokenization.added import AddedToken
from minibert.tokenization.framing import Encoding
from minibert.tokenization.normalizer import Normalizer
from minibert.tokenization.vocabulary import Vocabulary
from minibert.tokenization.wordpiece import WordPieceTokenizer

__all__ = ["AddedToken", "Encoding", "Normalizer", "Vocabulary", "WordPieceTokenizer"]
