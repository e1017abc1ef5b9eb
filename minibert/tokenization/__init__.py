"""Tokenization: text to ids and back.

- Normalize: `characters`, `normalizer`.
- Match: `vocabulary`, `added`, `matching`, `fast`, `part_table`.
- Learn: `trainer`.
- `wordpiece` contains WordPiece's tokenizer, and `base` what all kinds share, which is made of
  `encoding`, `framing`, `truncation` and `saved`.
- `byte_level_bpe` contains the tokenizer of RoBERTa and GPT-2: `byte_alphabet`, `byte_chunks`,
  `byte_pairs`, `byte_matching`, `bpe_trainer`.
- `unigram` contains that of XLM-RoBERTa, CamemBERT, ALBERT, DeBERTa and multilingual models:
  `steps`, `unicode_forms`, `charsmap`, `metaspace`, `lattice`, `chunks`, `unigram_matching`,
  `sentencepiece`, `protobuf`, `combining`, `saved_albert`, `saved_deberta`.
- `auto` chooses the kind of tokenizer of a folder.

The tokens of a text are those of Hugging Face's `tokenizers` 0.23 and of `transformers` 5: ids,
types, masks, offsets and word ids, under the same options. The parity tests try every code point
and random strings, and assert that only the following differs:

====================================  ==========================  ================================
case                                  Hugging Face                minibert, and why
====================================  ==========================  ================================
lone surrogates, U+D800 to U+DFFF     not accepted                dropped; letters, if the text is
                                                                  not cleaned
the text of an added token (its id    the matched part of the     the token's content, so that
is the same)                          text, normalized            decoding returns it
letters of Unicode 17 and later       not part of a word          part of a word, if `regex` knows
next to a `single_word` added token                               them
windows with no room for a text       longer than `max_length`    an error
`encode(text, "")`                    `transformers`: one text    a pair, as in `tokenizers`
special tokens that are not in the    `transformers` adds them    an error, because no model has
vocabulary                                                        learned them
====================================  ==========================  ================================

Of byte-level BPE, the following differs:

====================================  ==========================  ================================
case                                  Hugging Face                minibert, and why
====================================  ==========================  ================================
lone surrogates                       not accepted                three bytes; decoded as U+FFFD
characters that Unicode 17 or later   no letters                  letters, if `regex` knows them
adds
the text of an added token            characters of bytes, when   its own text, so that decoding
                                      it is decoded               returns it
`add_prefix_space`, `trim_offsets`:   the space is part of it     only of the first token of the
the first token of further windows                                text
====================================  ==========================  ================================

Of Unigram, the following differs:

====================================  ==========================  ================================
case                                  Hugging Face                minibert, and why
====================================  ==========================  ================================
lone surrogates                       not accepted                unknown letters
the text of an unknown token (its id  the part of the text        the unknown token, as for
is the same)                                                      WordPiece
characters that the normalizer table  offsets after them are too  the offsets of the text; a
drops at the beginning of a text      small by their number       ▁ of `prepend_scheme` "first" is
                                                                  not added after them
special tokens spelled in a text,     pieces like all others      never pieces of a text, so that
with `encode_special_tokens` or only                              untrusted text cannot contain
after normalization (＜mask＞)                                    them
the second text of further windows    token type 1                type 0, as the template says
the mask of a folder with only a      `transformers` 5: the       includes it, as in the files of
SentencePiece model (XLM-RoBERTa)     space before it is a token  the published models
user-defined pieces of ALBERT's       `transformers` 5: what      pieces like all others, as in
`spiece.model`: ( ) , . - and others  follows begins a word       SentencePiece and the published
                                                                  `tokenizer.json`
====================================  ==========================  ================================

Results are equal on all versions of Python, except for capitals and for marks that decompose or are
reordered, if a Unicode after 18 adds them.
"""

from minibert.tokenization.added import AddedToken
from minibert.tokenization.auto import AutoTokenizer
from minibert.tokenization.base import PreTrainedTokenizer
from minibert.tokenization.byte_level_bpe import ByteLevelBPETokenizer
from minibert.tokenization.framing import Encoding, TokenArrays
from minibert.tokenization.normalizer import Normalizer
from minibert.tokenization.unigram import UnigramTokenizer
from minibert.tokenization.vocabulary import Vocabulary
from minibert.tokenization.wordpiece import WordPieceTokenizer

__all__ = [
    "AddedToken",
    "AutoTokenizer",
    "ByteLevelBPETokenizer",
    "Encoding",
    "Normalizer",
    "PreTrainedTokenizer",
    "TokenArrays",
    "UnigramTokenizer",
    "Vocabulary",
    "WordPieceTokenizer",
]
