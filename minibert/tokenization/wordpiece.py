"""WordPiece: text to pieces of words to ids, and back."""

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from minibert.files import checkpoint_folder
from minibert.tokenization import saved
from minibert.tokenization.added import AddedToken
from minibert.tokenization.framing import (
    INPUTS,
    Encoding,
    Frame,
    Padding,
    Truncation,
    keep,
    pad,
    padded_length,
    room,
    windows,
    with_pairs,
)
from minibert.tokenization.matching import Matcher
from minibert.tokenization.normalizer import Normalizer
from minibert.tokenization.trainer import Score, learn_vocabulary
from minibert.tokenization.vocabulary import Vocabulary, joined, pieces_of

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


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
        vocabulary: the pieces in the order of their ids, or each piece's id.
        do_lower_case, strip_accents, tokenize_chinese_chars, clean_text: see `Normalizer`.
        continuing_subword_prefix: begins a piece that continues a word.
        max_input_chars_per_word: a longer word becomes the unknown token.
        unk_token, sep_token, pad_token, cls_token, mask_token: the special tokens, which are pieces
            of the vocabulary.
        added_tokens: see `add_tokens`.
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
        clean_text: bool = True,
        continuing_subword_prefix: str = "##",
        max_input_chars_per_word: int = 100,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        added_tokens: Iterable[str | AddedToken] = (),
        model_max_length: int | None = None,
    ):
        self.vocabulary = Vocabulary(vocabulary, continuing_subword_prefix)
        self.normalizer = Normalizer(
            do_lower_case, strip_accents, tokenize_chinese_chars, clean_text
        )
        self.max_input_chars_per_word = max_input_chars_per_word
        self.model_max_length = model_max_length
        self.unk_token, self.sep_token, self.pad_token = unk_token, sep_token, pad_token
        self.cls_token, self.mask_token = cls_token, mask_token
        self.unk_token_id = self._special_id("unk_token", self.vocabulary.ids)
        self._matcher = Matcher(
            self.vocabulary, self.normalizer, self.unk_token_id, max_input_chars_per_word
        )
        self._matcher.add(_added(added_tokens))
        self.sep_token_id = self._special_id("sep_token", self.vocab)
        self.pad_token_id = self._special_id("pad_token", self.vocab)
        self.cls_token_id = self._special_id("cls_token", self.vocab)
        self.mask_token_id = self._special_id("mask_token", self.vocab)
        known = {token.content for token in self.added_tokens}
        named = dict.fromkeys([unk_token, sep_token, pad_token, cls_token, mask_token])
        self.add_tokens([token for token in named if token not in known], special_tokens=True)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        *,
        score: Score = "frequency",
        min_frequency: int = 2,
        limit_alphabet: int | None = 1000,
        initial_alphabet: Iterable[str] = "",
        special_tokens: Iterable[str] = (),
        exact: bool = True,
        progress: bool = False,
        **options: Any,
    ) -> Self:
        """Learn a vocabulary from texts; see `trainer.learn_vocabulary`.

        Args:
            texts: any number of them, gone through once, in whatever order.
            vocab_size: V, the number of pieces, special tokens included.
            score: which pair of pieces is joined: the commonest (`frequency`), or the one that is
                commonest beside its parts (`likelihood`).
            min_frequency: the rarest pair of pieces to join.
            limit_alphabet: the most letters to know.
            initial_alphabet: letters to know even if they are rare, or absent.
            special_tokens: more of them, besides the five.
            exact: whether texts that give fewer pieces are refused.
            progress: show bars.
            options: the tokenizer's own, as for `WordPieceTokenizer`.

        Raises:
            TypeError: a text is not a string, or an option is unknown.
            ValueError: the texts can't give so many pieces; it says how many they can.
        """
        more = list(special_tokens)
        special = [*(options.get(name, token) for name, token in SPECIAL.items()), *more]
        untrained = cls(list(dict.fromkeys(special)), **options)  # finds a bad option at once
        pieces = learn_vocabulary(
            texts,
            vocab_size,
            normalizer=untrained.normalizer,
            special_tokens=special,
            score=score,
            min_frequency=min_frequency,
            limit_alphabet=limit_alphabet,
            initial_alphabet=initial_alphabet,
            longest_word=untrained.max_input_chars_per_word,
            prefix=untrained.vocabulary.prefix,
            exact=exact,
            progress=progress,
        )
        tokenizer = cls(pieces, **options)
        tokenizer.add_tokens(more, special_tokens=True)
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """V, the number of the vocabulary's pieces, without the tokens added to it."""
        return len(self.vocabulary)

    def __len__(self) -> int:
        """The number of ids: V, and the added tokens that the vocabulary doesn't have."""
        return len(self.vocab)

    @property
    def vocab(self) -> Mapping[str, int]:
        """Each token's id, in the order of ids, added tokens included."""
        return MappingProxyType(self._matcher.vocab)

    @property
    def added_tokens(self) -> list[AddedToken]:
        """The tokens that are taken whole, in the order in which they were added."""
        return list(self._matcher.added.values())

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, added ones included."""
        return [token.content for token in self.added_tokens if token.special]

    @property
    def all_special_ids(self) -> list[int]:
        """The special tokens' ids."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    def add_tokens(self, tokens: Iterable[str | AddedToken], special_tokens: bool = False) -> int:
        """Take these tokens whole wherever they stand in a text, and return how many are new.

        One that the vocabulary has keeps its id; the others are numbered on. A model has to be made
        for `len(tokenizer)` ids then, not `vocab_size`.

        >>> tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
        >>> tokenizer.add_tokens(["a b"]), tokenizer.tokenize("A  A B")
        (1, ['a', 'a b'])

        Args:
            tokens: texts, which are looked for in normalised text, or as they stand if they are
                special; or `AddedToken`s, which say so themselves.
            special_tokens: whether the texts are special tokens.

        Raises:
            TypeError: `tokens` is one string.
            ValueError: a token is empty, or nothing is left of it in normalised text.
        """
        new = self._matcher.add(_added(tokens, special_tokens))
        self._frame = Frame(self.cls_token_id, self.sep_token_id, list(self.vocab))
        return new

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Return the tokens' ids, the unknown token's for those that there aren't.

        Raises:
            TypeError: `tokens` is one string.
        """
        if isinstance(tokens, str):
            raise TypeError(f"tokens: expected several, got one string; pass [{tokens!r}]")
        return [self.vocab.get(token, self.unk_token_id) for token in tokens]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the ids' tokens.

        Raises:
            TypeError: an id is not an integer.
            ValueError: there is no such id.
        """
        return pieces_of(self._frame.pieces, ids)

    def tokenize(self, text: str) -> list[str]:
        """Cut a text into tokens."""
        return self.convert_ids_to_tokens(self.ids_of(text))

    def words_of(self, text: str) -> list[str]:
        """Cut a text into words, punctuation apart, each as it stands there.

        >>> tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
        >>> tokenizer.words_of("Ann's cat.")
        ['Ann', "'", 's', 'cat', '.']
        """
        encoding = self.encode(text)
        spans: dict[int, tuple[int, int]] = {}
        for word, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
            if word is not None:
                spans[word] = (spans.get(word, (start, end))[0], end)
        return [text[start:end] for start, end in spans.values()]

    def ids_of(self, text: str, *, split_special_tokens: bool = False) -> np.ndarray:
        """Return the ids of a text's tokens, without [CLS] and [SEP]: (T,) in int32.

        The fast way for whole corpora: `map(tokenizer.ids_of, texts)` needs the memory of one text
        at a time, and some 35 MB for what it remembers of English.

        Args:
            text: the text. A special token's text in it, such as "[MASK]", is that token.
            split_special_tokens: it is text like any other; for text that can't be trusted.

        Raises:
            TypeError: the text is not a string.
        """
        return self._matcher.ids(text, not split_special_tokens)

    def encode(
        self,
        text: str,
        pair: str | None = None,
        *,
        max_length: int | None = None,
        truncation: Truncation = "longest_first",
        split_special_tokens: bool = False,
    ) -> Encoding:
        """Encode a text as `[CLS] text [SEP]`, or two as `[CLS] text [SEP] pair [SEP]`.

        The pair's tokens are segment 1, the others segment 0.

        Args:
            text, pair: the texts.
            max_length: the most tokens, special ones included; None: nothing is cut.
            truncation: which text is cut, from its end: the longer one until both are equal and
                then both in turn, `longest_first`; or `only_first`, or `only_second`.
            split_special_tokens: a special token's text is text like any other.

        Raises:
            TypeError: a text is not a string.
            ValueError: `max_length` leaves no room for the special tokens, or for what `truncation`
                doesn't let be cut.
        """
        texts = self._texts(text, pair, split_special_tokens)
        if max_length is not None:
            lengths = self._lengths(texts, max_length, truncation)
            texts = [rows[:length] for rows, length in zip(texts, lengths, strict=False)]
        return self._frame.encoding(*texts)

    def encode_windows(
        self,
        text: str,
        pair: str | None = None,
        *,
        max_length: int,
        stride: int = 0,
        truncation: Truncation = "longest_first",
        split_special_tokens: bool = False,
    ) -> list[Encoding]:
        """Encode a long text in windows: nothing of it is lost, and neighbours may overlap.

        >>> tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abc"])
        >>> windows = tokenizer.encode_windows("a b c", max_length=4, stride=1)
        >>> [window.tokens for window in windows]
        [['[CLS]', 'a', 'b', '[SEP]'], ['[CLS]', 'b', 'c', '[SEP]']]

        Args:
            text, pair, truncation, split_special_tokens: as in `encode`; what would be cut goes
                into further windows. If that is both texts, their windows are combined.
            max_length: the most tokens in a window, special ones included.
            stride: how many tokens of a window the next one repeats.

        Raises:
            TypeError, ValueError: as in `encode`, or the stride is as long as a window's text.
        """
        texts = self._texts(text, pair, split_special_tokens)
        lengths = self._lengths(texts, max_length, truncation)
        cut = [windows(rows, n, stride) for rows, n in zip(texts, lengths, strict=False)]
        if pair is None:
            return [self._frame.encoding(window) for window in cut[0]]
        # Hugging Face's order: what stands first in both, the rest of the first, of the second.
        (first, *others), seconds = cut
        combined = [(first, seconds[0]), *product(others, seconds), *product([first], seconds[1:])]
        return [self._frame.encoding(*both) for both in combined]

    def encode_batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
        truncation: Truncation = "longest_first",
        padding: Padding = "longest",
        pad_to_multiple_of: int | None = None,
        stride: int = 0,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        split_special_tokens: bool = False,
    ) -> dict[str, np.ndarray]:
        """Encode texts, or pairs of texts, padded to one length: a model's batch.

        Args:
            texts: B texts.  pairs: a second one for each; None: there are none.
            max_length, truncation: as in `encode`; `count_truncated` tells how many are cut.
            padding: to the longest of them, or to `max_length`.
            pad_to_multiple_of: pad to a multiple of this.
            return_overflowing_tokens: put what is cut into further rows, as `encode_windows` does
                with this `stride`; `overflow_to_sample_mapping` (B',) says which text a row is of.
            return_special_tokens_mask: 1 for [CLS], [SEP] and [PAD], else 0: (B, T).
            return_offsets_mapping: `text[start:end]` is what a token is made of: (B, T, 2), as
                `offset_mapping`.
            split_special_tokens: a special token's text is text like any other.

        Returns:
            `input_ids`, `token_type_ids` and `attention_mask`, (B, T) each, and what else was asked
            for, in int64.

        Raises:
            TypeError: a text is not a string.
            ValueError: there are no texts, not as many pairs as texts, or `encode`'s reasons.
        """
        length = padded_length(padding, max_length)
        how: dict[str, Any] = {
            "max_length": max_length,
            "truncation": truncation,
            "split_special_tokens": split_special_tokens,
        }
        encodings, samples = [], []
        for sample, (text, pair) in enumerate(with_pairs(texts, pairs)):
            if return_overflowing_tokens:
                rows = self.encode_windows(text, pair, stride=stride, **how)
            else:
                rows = [self.encode(text, pair, **how)]
            encodings += rows
            samples += [sample] * len(rows)
        names = [*INPUTS]
        names += ["special_tokens_mask"] * return_special_tokens_mask
        names += ["offsets"] * return_offsets_mapping
        batch = pad(encodings, self.pad_token_id, length, pad_to_multiple_of, names)
        if return_offsets_mapping:
            batch["offset_mapping"] = batch.pop("offsets")  # as Hugging Face calls them
        if return_overflowing_tokens:
            batch["overflow_to_sample_mapping"] = np.array(samples)
        return batch

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
            special = set(self.all_special_tokens)
            tokens = [token for token in tokens if token not in special]
        return joined(tokens, self.vocabulary.prefix, clean_up)

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
        """Write `vocab.txt`, `tokenizer.json` and `tokenizer_config.json`, as Hugging Face does.

        `transformers.AutoTokenizer` opens the folder, and makes the same ids.
        """
        known = {**vars(self), **vars(self.normalizer)}
        known["continuing_subword_prefix"] = self.vocabulary.prefix
        options = {name: known[name] for name in saved.OPTIONS}
        added = {self.vocab[token.content]: token for token in self.added_tokens}
        saved.write(folder, self.vocabulary.pieces, options, added)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> Self:
        """Read a folder with `tokenizer.json` or `vocab.txt`; see `saved` for what rules what.

        The folder may be named as on Hugging Face's hub; see `files.checkpoint_folder`.

        Raises:
            OSError: neither is there, or one can't be read.
            ValueError: a file is broken, or they don't fit each other; it says which and how.
        """
        folder = checkpoint_folder(folder)
        pieces, options, added = saved.read(folder)
        try:
            return cls(pieces, added_tokens=added, **options)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    def _special_id(self, name, ids):
        token = getattr(self, name)
        if not token or token not in ids:
            raise ValueError(f"{name}: expected a piece of the vocabulary, got {token!r}")
        return ids[token]

    def _texts(self, text, pair, split_special_tokens):
        texts = [text] if pair is None else [text, pair]
        return [self._matcher.rows(each, not split_special_tokens) for each in texts]

    def _lengths(self, texts, max_length, truncation):
        first, second = len(texts[0]), len(texts[1]) if len(texts) > 1 else None
        return keep(first, second, room(max_length, len(texts)), truncation)


def _added(tokens, special=False):
    if isinstance(tokens, str):
        raise TypeError(f"tokens: expected several, got one string; pass [{tokens!r}]")
    return [
        AddedToken(token, normalized=not special, special=special)
        if isinstance(token, str)
        else token
        for token in tokens
    ]
