"""Encode texts as a model's input: single texts, windows and batches."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from minibert.tokenization.framing import (
    INPUTS,
    Encoding,
    Frame,
    Padding,
    TokenArrays,
    padded_length,
    sides_of,
    strings_of,
)
from minibert.tokenization.matching import TextMatcher
from minibert.tokenization.truncation import Truncation, split_windows, truncated_lengths


class TextEncoder:
    """Base class of tokenizers: encodes texts with a matcher and a frame of special tokens.

    Attributes:
        pad_token_id (int or None): id of [PAD].
    """

    pad_token_id: int | None
    _matcher: TextMatcher
    _frame: Frame

    def ids_of(self, text: str, *, split_special_tokens: bool = False) -> np.ndarray:
        """Return the token ids (T,), int32, of a text, without [CLS] and [SEP].

        For many texts, `ids_of_batch` is faster. `map(tokenizer.ids_of, texts)` needs the memory of
        one text at a time, and about 35 MB for the caches of English.

        Args:
            text: the text. The text of a special token, such as "[MASK]", becomes that token.
            split_special_tokens (bool): treat special tokens in the text as plain text; use this
                for untrusted text.

        Raises:
            TypeError: the text is not a string.
        """
        return self._matcher.ids(text, not split_special_tokens)

    def ids_of_batch(
        self, texts: Sequence[str], *, split_special_tokens: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the token ids of texts, one text after the other, and the number of each text.

        This is the fastest way to tokenize a corpus. The caches of English need about 15 MB.

        >>> from minibert.tokenization import WordPieceTokenizer
        >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat"]
        >>> ids, lengths = WordPieceTokenizer(pieces).ids_of_batch(["A cat", "Cat"])
        >>> ids.tolist(), lengths.tolist()
        ([5, 6, 6], [2, 1])

        Args:
            texts: B texts: a list, or a table with one column.
            split_special_tokens (bool): as in `ids_of`.

        Returns:
            the ids (N,), int32, without [CLS] and [SEP], and the numbers of ids (B,), int.

        Raises:
            TypeError: a text is not a string.
        """
        return self._matcher.ids_of_batch(strings_of(texts, "texts"), not split_special_tokens)

    def tokens_of_batch(
        self, texts: Sequence[str], *, split_special_tokens: bool = False
    ) -> TokenArrays:
        """Return the ids, offsets and word ids of texts as arrays (TokenArrays).

        >>> from minibert.tokenization import WordPieceTokenizer
        >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat"]
        >>> tokens = WordPieceTokenizer(pieces).tokens_of_batch(["A cat", "Cat"])
        >>> tokens.ids.tolist(), tokens.offsets.tolist()
        ([5, 6, 6], [[0, 1], [2, 5], [0, 3]])

        Args:
            texts: B texts: a list, or a table with one column.
            split_special_tokens (bool): as in `ids_of`.

        Raises:
            TypeError: a text is not a string.
        """
        rows = strings_of(texts, "texts")
        return TokenArrays(*self._matcher.tokens_of_batch(rows, not split_special_tokens))

    def words_of(self, text: str) -> list[str]:
        """Return the words and punctuation marks (list of str) of a text, not normalized.

        >>> from minibert.tokenization import WordPieceTokenizer
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

        The tokens of the pair are segment 1, all others segment 0.

        Args:
            text: the text.
            pair: the second text, if any.
            max_length (int or None): maximum number of tokens, special tokens included; None for
                no truncation.
            truncation: the text to truncate, from its end. `longest_first` truncates the longer
                text until both are equal, then both in turn; or `only_first`, or `only_second`.
            split_special_tokens (bool): treat special tokens in the text as plain text.

        Raises:
            TypeError: a text is not a string.
            ValueError: `max_length` is too small for the special tokens, or for a text that
                `truncation` does not truncate.
        """
        texts = self._match(text, pair, split_special_tokens)
        return self._frame.encoding(*self._truncate(texts, max_length, truncation))

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
        """Encode a long text as a list of windows, which may overlap.

        >>> from minibert.tokenization import WordPieceTokenizer
        >>> tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abc"])
        >>> windows = tokenizer.encode_windows("a b c", max_length=4, stride=1)
        >>> [window.tokens for window in windows]
        [['[CLS]', 'a', 'b', '[SEP]'], ['[CLS]', 'b', 'c', '[SEP]']]

        Args:
            text: as in `encode`.
            pair: as in `encode`.
            max_length (int): maximum number of tokens in a window, special tokens included.
            stride (int): number of tokens that a window shares with the next one.
            truncation: as in `encode`; truncated tokens are encoded in further windows. If both
                texts are truncated, their windows are combined.
            split_special_tokens (bool): as in `encode`.

        Raises:
            TypeError, ValueError: as in `encode`, or `stride` is not below the number of text
                tokens in a window.
        """
        texts = self._match(text, pair, split_special_tokens)
        windows = self._windows(texts, max_length, stride, truncation)
        return [self._frame.encoding(*window) for window in windows]

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
        """Encode texts, or pairs of texts, as a model's batch, padded to one length.

        Args:
            texts: B texts.
            pairs: a second text for each, if any.
            max_length (int or None): as in `encode`.
            truncation: as in `encode`.
            padding: pad to the longest text, or to `max_length`.
            pad_to_multiple_of (int or None): pad to a multiple of this.
            stride (int): as in `encode_windows`.
            return_overflowing_tokens (bool): return all windows of `encode_windows`, B' in total,
                and `overflow_to_sample_mapping` (B',), the index of each window's text.
            return_special_tokens_mask (bool): return `special_tokens_mask` (B, T): 1 for [CLS],
                [SEP] and [PAD], else 0.
            return_offsets_mapping (bool): return `offset_mapping` (B, T, 2): start and end of the
                token's characters `text[start:end]`.
            split_special_tokens (bool): as in `encode`.

        Returns:
            `input_ids`, `token_type_ids` and `attention_mask`, (B, T) each, and the requested
            arrays; all int64.

        Raises:
            TypeError: a text is not a string.
            ValueError: there are no texts, the number of pairs differs from the number of texts, or
                as in `encode`.
        """
        length = padded_length(padding, max_length)
        sides = [self._rows(side, split_special_tokens) for side in sides_of(texts, pairs)]
        windows: list[Sequence[np.ndarray]] = []
        samples: list[int] = []
        for sample, row in enumerate(zip(*sides, strict=True)):
            if return_overflowing_tokens:
                found = self._windows(row, max_length, stride, truncation)
            else:
                found = [self._truncate(row, max_length, truncation)]
            windows += found
            samples += [sample] * len(found)
        if self.pad_token_id is None:
            raise ValueError("pad_token: expected a token to pad with, got None")
        names = [*INPUTS]
        names += ["special_tokens_mask"] * return_special_tokens_mask
        names += ["offsets"] * return_offsets_mapping
        batch = self._frame.batch(windows, self.pad_token_id, length, pad_to_multiple_of, names)
        if return_offsets_mapping:
            batch["offset_mapping"] = batch.pop("offsets")  # Hugging Face's name
        if return_overflowing_tokens:
            batch["overflow_to_sample_mapping"] = np.array(samples)
        return batch

    def _match(self, text: str, pair: str | None, split_special_tokens: bool) -> list[np.ndarray]:
        """Return the tokens (T, 4) of each text."""
        texts = [text] if pair is None else [text, pair]
        return [self._matcher.tokens(each, not split_special_tokens) for each in texts]

    def _rows(self, texts: list[str], split_special_tokens: bool) -> list[np.ndarray]:
        """Return the tokens (T, 4) of each text."""
        return TokenArrays(*self._matcher.tokens_of_batch(texts, not split_special_tokens)).texts()

    def _truncate(
        self, texts: Sequence[np.ndarray], max_length: int | None, truncation: Truncation
    ) -> Sequence[np.ndarray]:
        """Truncate the tokens (T, 4) of one or two texts."""
        if max_length is None:
            return texts
        lengths = self._lengths(texts, max_length, truncation)
        return [tokens[:length] for tokens, length in zip(texts, lengths, strict=False)]

    def _windows(
        self,
        texts: Sequence[np.ndarray],
        max_length: int | None,
        stride: int,
        truncation: Truncation,
    ) -> list[Sequence[np.ndarray]]:
        """Split the tokens (T, 4) of one or two texts into windows, in Hugging Face's order."""
        lengths = self._lengths(texts, max_length, truncation)
        parts = [
            split_windows(tokens, n, stride) for tokens, n in zip(texts, lengths, strict=False)
        ]
        if len(parts) == 1:
            return [[window] for window in parts[0]]
        # The first windows of both texts, the other windows of the first text with all of the
        # second, the other windows of the second text.
        (first, *others), seconds = parts
        return [(first, seconds[0]), *product(others, seconds), *product([first], seconds[1:])]

    def _lengths(
        self, texts: Sequence[np.ndarray], max_length: int | None, truncation: Truncation
    ) -> tuple[int, int]:
        """Return the length of each text after truncation; the second is 0 without a pair."""
        first, second = len(texts[0]), len(texts[1]) if len(texts) > 1 else None
        room = self._frame.room(max_length, len(texts))
        return truncated_lengths(first, second, room, truncation)
