"""WordPiece: text to pieces of words to ids, and back."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import regex

from minibert.tokenization import saved
from minibert.tokenization.framing import Encoding, frame, pad, with_pairs
from minibert.tokenization.normalizer import Normalizer, chunks
from minibert.tokenization.trainer import learn_vocabulary
from minibert.tokenization.vocabulary import CONTINUES, Remembered, Vocabulary

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
# Joins that written text doesn't have, for `decode(clean_up=True)`: Hugging Face's list.
CLEAN_UP = [(f" {mark}", mark) for mark in [".", "?", "!", ","]]
CLEAN_UP += [(" ' ", "'"), *((f" {end}", end) for end in ["n't", "'m", "'s", "'ve", "'re"])]


class WordPieceTokenizer:
    """Cuts words into the longest pieces that the vocabulary has, and numbers them.

    Schuster and Nakajima (2012), section 3.1; Wu et al. (2016), section 4.1; Devlin et al. (2019),
    section 3. Special tokens' ids are looked up in the vocabulary and never assumed.

    >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "!"]
    >>> tokenizer = WordPieceTokenizer(pieces)
    >>> tokenizer.tokenize("Unaffable!")
    ['un', '##aff', '##able', '!']
    >>> tokenizer.encode("Unaffable!").input_ids
    [2, 5, 6, 7, 8, 3]

    Args:
        vocabulary: the pieces in the order of their ids, or each piece's id; `##` begins a piece
            that continues a word.
        do_lower_case, strip_accents, tokenize_chinese_chars: see `Normalizer`.
        max_input_chars_per_word: a longer word becomes the unknown token.
        unk_token, sep_token, pad_token, cls_token, mask_token: the special tokens, which are pieces
            of the vocabulary.
        model_max_length: the most tokens that the model takes, kept for those who ask and saved;
            nothing is cut that isn't asked for.

    Raises:
        ValueError: a piece occurs twice or can't be a line of a file, ids leave a gap, or a special
            token is not among the pieces.
    """

    def __init__(
        self,
        vocabulary: Sequence[str] | Mapping[str, int],
        *,
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        max_input_chars_per_word: int = 100,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        model_max_length: int | None = None,
    ):
        self.vocabulary = Vocabulary(vocabulary)
        self.vocab = self.vocabulary.ids
        self.normalizer = Normalizer(do_lower_case, strip_accents, tokenize_chinese_chars)
        self.max_input_chars_per_word = max_input_chars_per_word
        self.model_max_length = model_max_length
        self.unk_token, self.unk_token_id = unk_token, self._special_id("unk_token", unk_token)
        self.sep_token, self.sep_token_id = sep_token, self._special_id("sep_token", sep_token)
        self.pad_token, self.pad_token_id = pad_token, self._special_id("pad_token", pad_token)
        self.cls_token, self.cls_token_id = cls_token, self._special_id("cls_token", cls_token)
        self.mask_token, self.mask_token_id = mask_token, self._special_id("mask_token", mask_token)
        specials = dict.fromkeys([unk_token, sep_token, pad_token, cls_token, mask_token])
        self.all_special_tokens = list(specials)
        self.all_special_ids = self.convert_tokens_to_ids(specials)
        # The longest first: one special token may begin another.
        alternatives = sorted(map(regex.escape, specials), key=len, reverse=True)
        self._special = regex.compile(f"({'|'.join(alternatives)})")
        # Text repeats its chunks, and those that differ in punctuation repeat their words: 6 MB of
        # English take 3.9 s without these, 1.2 with the first and 0.8 with both, on one core.
        self._chunk_ids = Remembered(self._ids_of_chunk)
        self._word_ids = Remembered(self._ids_of_word)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        *,
        min_frequency: int = 2,
        limit_alphabet: int = 1000,
        progress: bool = False,
        **options: Any,
    ) -> Self:
        """Learn a vocabulary from texts; see `trainer.learn_vocabulary`.

        Args:
            texts: any number of them, gone through once, in whatever order.
            vocab_size: V, the number of pieces, special tokens included.
            min_frequency: the rarest pair of pieces to join.
            limit_alphabet: the most letters to know.
            progress: show bars.
            options: the tokenizer's own, as for `WordPieceTokenizer`.

        Raises:
            TypeError: a text is not a string, or an option is unknown.
            ValueError: the texts can't give so many pieces; it says how many they can.
        """
        special = [options.get(name, token) for name, token in SPECIAL.items()]
        untrained = cls(list(dict.fromkeys(special)), **options)  # finds a bad option at once
        longest = untrained.max_input_chars_per_word
        pieces = learn_vocabulary(
            texts,
            vocab_size,
            # Words that are too long to be cut would only teach pieces that are never used.
            words_of=lambda chunk: (
                word for word in untrained.normalizer.words(chunk) if len(word) <= longest
            ),
            special_tokens=special,
            min_frequency=min_frequency,
            limit_alphabet=limit_alphabet,
            progress=progress,
        )
        return cls(pieces, **options)

    @property
    def vocab_size(self) -> int:
        """V, the number of pieces."""
        return len(self.vocabulary)

    def __len__(self) -> int:
        """V, the number of pieces."""
        return len(self.vocabulary)

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Return the pieces' ids, the unknown token's for what is not in the vocabulary."""
        if isinstance(tokens, str):
            raise TypeError(f"tokens: expected several, got one string; pass [{tokens!r}]")
        return [self.vocab.get(token, self.unk_token_id) for token in tokens]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the ids' pieces.

        Raises:
            TypeError: an id is not an integer.
            ValueError: an id is not in the vocabulary.
        """
        return self.vocabulary.pieces_of(ids)

    def tokenize(self, text: str) -> list[str]:
        """Cut a text into pieces."""
        return self.convert_ids_to_tokens(self.ids_of(text))

    def ids_of(self, text: str, *, split_special_tokens: bool = False) -> np.ndarray:
        """Return the ids of a text's pieces, without [CLS] and [SEP]: (T,) in int32.

        Args:
            text: the text. A special token's text in it, such as "[MASK]", is that token.
            split_special_tokens: it is text like any other; for text that can't be trusted.
        """
        if not isinstance(text, str):
            raise TypeError(f"text: expected a string, got {type(text).__name__}")
        parts = [text] if split_special_tokens else self._special.split(text)
        ids: list[bytes] = []
        for i, part in enumerate(parts):
            if i % 2:  # what the pattern caught lies between what it didn't
                ids.append(_as_bytes([self.vocab[part]]))
            else:
                ids.extend(map(self._chunk_ids.__getitem__, chunks(part)))
        return np.frombuffer(bytearray().join(ids), np.int32)

    def encode(
        self, text: str, pair: str | None = None, *, max_length: int | None = None
    ) -> Encoding:
        """Encode a text as `[CLS] text [SEP]`, or two as `[CLS] text [SEP] pair [SEP]`.

        The pair's tokens are segment 1, the others segment 0.

        Args:
            text, pair: the texts.
            max_length: the most tokens, special ones included; they are cut from the end of the
                longer text until all fit, and then from both in turn. None: nothing is cut.

        Raises:
            TypeError: a text is not a string.
            ValueError: `max_length` leaves no room for the special tokens.
        """
        first = self.ids_of(text).tolist()
        second = None if pair is None else self.ids_of(pair).tolist()
        return frame(first, second, self.cls_token_id, self.sep_token_id, max_length)

    def encode_batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Encode texts, or pairs of texts, padded to the longest: a model's batch.

        Args:
            texts: B texts.  pairs: a second one for each; None: there are none.
            max_length: as in `encode`; `count_truncated` tells how many are cut.

        Returns:
            `input_ids`, `token_type_ids` and `attention_mask`, (B, T) each, in int64.

        Raises:
            TypeError: a text is not a string.
            ValueError: there are no texts, or not as many pairs as texts.
        """
        encodings = [
            self.encode(text, pair, max_length=max_length)
            for text, pair in with_pairs(texts, pairs)
        ]
        return pad(encodings, self.pad_token_id)

    def count_truncated(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int
    ) -> int:
        """Return how many of the texts, or pairs of texts, `encode_batch` cuts."""
        return sum(
            len(self.encode(text, pair).input_ids) > max_length
            for text, pair in with_pairs(texts, pairs)
        )

    def decode(
        self, ids: Iterable[int], *, skip_special_tokens: bool = True, clean_up: bool = False
    ) -> str:
        """Join pieces to words, and words by single spaces.

        Args:
            ids: of one text.
            skip_special_tokens: leave out [CLS], [SEP], [PAD] and their like.
            clean_up: no space before full stops, commas and English contractions.
        """
        tokens = self.convert_ids_to_tokens(ids)
        if skip_special_tokens:
            tokens = [token for token in tokens if token not in self.all_special_tokens]
        text = " ".join(tokens).replace(f" {CONTINUES}", "")
        for spaced, written in CLEAN_UP if clean_up else ():
            text = text.replace(spaced, written)
        return text

    def decode_batch(
        self,
        rows: Iterable[Iterable[int]],
        *,
        skip_special_tokens: bool = True,
        clean_up: bool = False,
    ) -> list[str]:
        """Decode several rows of ids; see `decode`."""
        return [
            self.decode(ids, skip_special_tokens=skip_special_tokens, clean_up=clean_up)
            for ids in rows
        ]

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write `vocab.txt` and `tokenizer_config.json`, which `transformers` opens too."""
        known = {**vars(self), **vars(self.normalizer)}
        saved.write(folder, self.vocabulary.pieces, {name: known[name] for name in saved.OPTIONS})

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> Self:
        """Read `vocab.txt`, and `tokenizer_config.json` if it is there.

        Raises:
            OSError: `vocab.txt` is missing or can't be read.
            ValueError: a file is broken, or they don't fit each other; it says which and how.
        """
        pieces, options = saved.read(folder)
        try:
            return cls(pieces, **options)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    def _special_id(self, name, token):
        if not token or token not in self.vocab:
            raise ValueError(f"{name}: expected a piece of the vocabulary, got {token!r}")
        return self.vocab[token]

    def _ids_of_chunk(self, chunk):
        return b"".join(map(self._word_ids.__getitem__, self.normalizer.words(chunk)))

    def _ids_of_word(self, word):
        known = self.vocabulary.cut(word) if len(word) <= self.max_input_chars_per_word else None
        return _as_bytes([self.unk_token_id] if known is None else known)


def _as_bytes(ids):
    return np.array(ids, np.int32).tobytes()
