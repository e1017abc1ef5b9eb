"""WordPiece: text to pieces of words to ids, and back."""

import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import regex

from minibert.tokenization import saved
from minibert.tokenization.normalizer import Normalizer, chunks
from minibert.tokenization.trainer import CONTINUES, learn_vocabulary

CACHED_CHUNKS = 1 << 18  # chunks whose ids are remembered: about 50 MB when full
CACHED_LENGTH = 64  # longer chunks hardly ever come twice
# Joins that written text doesn't have, for `decode(clean_up=True)`: Hugging Face's list.
CLEAN_UP = [(f" {mark}", mark) for mark in [".", "?", "!", ","]]
CLEAN_UP += [(" ' ", "'"), *((f" {end}", end) for end in ["n't", "'m", "'s", "'ve", "'re"])]


@dataclass(frozen=True)
class Encoding:
    """A text as a model reads it: ids, segments (0 or 1), and a mask that is 1 everywhere."""

    input_ids: list[int]
    token_type_ids: list[int]
    attention_mask: list[int]


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
        self.pieces = _in_order(vocabulary)
        self.vocab = {piece: i for i, piece in enumerate(self.pieces)}
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
        self.all_special_ids = [self.vocab[token] for token in specials]
        # The longest first: one special token may begin another.
        alternatives = sorted(map(regex.escape, specials), key=len, reverse=True)
        self._special = regex.compile(f"({'|'.join(alternatives)})")
        self._longest_piece = max(map(len, self.pieces))
        self._chunk_ids = _Remembered(self._ids_of_chunk)

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
        names = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"]
        special = [options.get(name, f"[{name[:-6].upper()}]") for name in names]
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
        return len(self.pieces)

    def __len__(self) -> int:
        """V, the number of pieces."""
        return len(self.pieces)

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
        tokens = []
        for place, i in enumerate(ids):
            try:
                i = operator.index(i)
            except TypeError:
                got = type(i).__name__
                raise TypeError(f"ids[{place}]: expected an integer, got {got}") from None
            if not 0 <= i < len(self.pieces):
                last = len(self.pieces) - 1
                raise ValueError(f"ids[{place}]: expected 0 to {last}, got {i}")
            tokens.append(self.pieces[i])
        return tokens

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
        ids, first = self._framed(text, pair, max_length)
        return Encoding(ids, [0] * first + [1] * (len(ids) - first), [1] * len(ids))

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
        rows = [self._framed(*both, max_length) for both in _both(texts, pairs)]
        shape = len(rows), max(len(ids) for ids, _ in rows)
        input_ids = np.full(shape, self.pad_token_id, np.int64)
        token_type_ids = np.zeros(shape, np.int64)
        attention_mask = np.zeros(shape, np.int64)
        for row, (ids, first) in enumerate(rows):
            input_ids[row, : len(ids)] = ids
            token_type_ids[row, first : len(ids)] = 1
            attention_mask[row, : len(ids)] = 1
        return {
            "input_ids": input_ids,
            "token_type_ids": token_type_ids,
            "attention_mask": attention_mask,
        }

    def count_truncated(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int
    ) -> int:
        """Return how many of the texts, or pairs of texts, `encode_batch` cuts."""
        return sum(
            len(self._framed(*both, None)[0]) > max_length for both in _both(texts, pairs)
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
        options = {
            name: getattr(self.normalizer if hasattr(self.normalizer, name) else self, name)
            for name in saved.OPTIONS
        }
        saved.write(folder, self.pieces, options)

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
        words = self.normalizer.words(chunk)
        return _as_bytes([i for word in words for i in self._ids_of_word(word)])

    def _ids_of_word(self, word):
        """Cut a word greedily: the longest piece first, then the longest of what is left."""
        if len(word) > self.max_input_chars_per_word:
            return [self.unk_token_id]
        ids, start, prefix = [], 0, ""
        while start < len(word):
            for end in range(min(len(word), start + self._longest_piece), start, -1):
                i = self.vocab.get(prefix + word[start:end])
                if i is not None:
                    break
            else:
                return [self.unk_token_id]  # the whole word: a part of it would mislead
            ids.append(i)
            start, prefix = end, CONTINUES
        return ids

    def _framed(self, text, pair, max_length):
        """Return all ids, cut if need be, and how many of them are of the first segment."""
        first = self.ids_of(text).tolist()
        second = None if pair is None else self.ids_of(pair).tolist()
        if max_length is not None:
            special = 2 if pair is None else 3
            if max_length < special:
                raise ValueError(
                    f"max_length: expected at least {special}, the special tokens, got {max_length}"
                )
            first, second = _truncated(first, second, max_length - special)
        ids = [self.cls_token_id, *first, self.sep_token_id]
        segment = len(ids)
        if second is not None:
            ids += [*second, self.sep_token_id]
        return ids, segment


class _Remembered(dict):
    """A function's results, kept so that each is worked out once; all forgotten when full."""

    def __init__(self, function: Callable[[str], bytes]):
        self.function = function

    def __missing__(self, key):
        value = self.function(key)
        if len(key) <= CACHED_LENGTH:
            if len(self) >= CACHED_CHUNKS:
                self.clear()
            self[key] = value
        return value


def _as_bytes(ids):
    return np.array(ids, np.int32).tobytes()


def _in_order(vocabulary):
    """Return the pieces in the order of their ids, once it is sure that they are a vocabulary."""
    if isinstance(vocabulary, str):
        raise TypeError("vocabulary: expected pieces, got one string; see from_pretrained")
    pieces = list(vocabulary)
    if isinstance(vocabulary, Mapping):
        pieces.sort(key=vocabulary.__getitem__)
        for i, piece in enumerate(pieces):
            if vocabulary[piece] != i:
                raise ValueError(
                    f"vocabulary: expected ids 0 to {len(pieces) - 1}, each once, and found "
                    f"{vocabulary[piece]} for {piece!r} where {i} should be"
                )
    seen: dict[str, int] = {}
    for i, piece in enumerate(pieces):
        if not isinstance(piece, str):
            raise TypeError(f"vocabulary[{i}]: expected a string, got {type(piece).__name__}")
        if seen.setdefault(piece, i) != i:
            raise ValueError(f"vocabulary: {piece!r} occurs twice, at {seen[piece]} and {i}")
        if regex.search(r"[\n\r\0]", piece):
            raise ValueError(f"vocabulary[{i}]: expected a line of text, got {piece!r}")
    return pieces


def _both(texts, pairs):
    """Yield each text with its pair or None."""
    if isinstance(texts, str) or isinstance(pairs, str):
        name = "texts" if isinstance(texts, str) else "pairs"
        raise TypeError(f"{name}: expected several, got one string; put it in a list")
    if not len(texts):
        raise ValueError("texts: expected at least one")
    if pairs is not None and len(pairs) != len(texts):
        raise ValueError(f"pairs: expected {len(texts)}, one for each text, got {len(pairs)}")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{i}]: expected a string, got {type(text).__name__}")
        if pairs is not None and not isinstance(pairs[i], str):
            raise TypeError(f"pairs[{i}]: expected a string, got {type(pairs[i]).__name__}")
        yield text, None if pairs is None else pairs[i]


def _truncated(first, second, room):
    """Cut the longer one's end until both fit; when they are equal, both in turn.

    >>> _truncated([1, 2, 3, 4, 5], [6, 7], 5)
    ([1, 2, 3], [6, 7])
    >>> _truncated([1, 2, 3], [4, 5, 6], 5)
    ([1, 2], [4, 5, 6])
    """
    if second is None:
        return first[:room], None
    if len(first) + len(second) <= room:
        return first, second
    shorter = min(len(first), len(second), room // 2)  # and the longer takes what that leaves
    if len(first) <= len(second):
        return first[:shorter], second[: room - shorter]
    return first[: room - shorter], second[:shorter]
