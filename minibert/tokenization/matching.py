"""From text to tokens: find added tokens, then split words into pieces of the vocabulary.

`TextMatcher` finds added tokens and is the base of all kinds of tokenizers; `Matcher` splits the
words between them, which is WordPiece. `plain_tokens` is the definition; `tokens` and `ids` return
the same by the cached path in `fast`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from minibert.tokenization.added import AddedToken, Finder, Span
from minibert.tokenization.fast import COLUMNS, INT32, Fast, FastPath, Ragged, Split, joined
from minibert.tokenization.normalizer import Letter, Normalizer, Word, split_words
from minibert.tokenization.vocabulary import Vocabulary

FEW = 1000  # characters; shorter batches are faster text by text
BLOCK_LENGTH = 1 << 17  # characters that are tokenized at once; more need more memory


class Token(NamedTuple):
    """A token made from `text[start:end]`; `begins_word` is 1 or 0."""

    id: int
    start: int
    end: int
    begins_word: int


class TextMatcher:
    """Base class: finds added tokens in a text; subclasses tokenize the text between them.

    A subclass sets `fast` and `keeps_text`, and implements `normalize`, `letters` and
    `match_letters`. If a token depends on whether a part begins the text, it also overrides
    `tokens_between`, `ids_between`, `fast_ids` and `fast_tokens`.

    Args:
        vocabulary: the pieces and their ids.

    Attributes:
        fast (Fast): the cached path, for text without added tokens.
        keeps_text (bool): whether normalized text is the text itself.
    """

    fast: Fast
    keeps_text = False

    def __init__(self, vocabulary: Vocabulary):
        self.vocabulary = vocabulary
        self.vocab = dict(vocabulary.ids)
        self.pieces = list(vocabulary.pieces)  # the text of each id, added tokens included
        self.added: dict[str, AddedToken] = {}
        self.in_text, self.in_normalized = Finder({}), Finder({})

    def normalize(self, text: str) -> str:
        """Return the normalized text (str)."""
        raise NotImplementedError

    def letters(self, text: str) -> list[Letter]:
        """Return the letters of the normalized text, each with its position in the text."""
        raise NotImplementedError

    def match_letters(self, letters: Sequence[Letter], is_first: bool) -> list[Token]:
        """Return the tokens of normalized text without added tokens, by the plain path.

        Args:
            letters: the letters of a part of a text.
            is_first (bool): whether the part begins the text.
        """
        raise NotImplementedError

    def tokens_between(self, text: str, is_first: bool) -> np.ndarray:
        """Return the tokens (T, 4), int32, of a part of a text without added tokens."""
        return self.fast.tokens(text)

    def ids_between(self, text: str, is_first: bool) -> np.ndarray:
        """Return the token ids (T,), int32, of a part of a text without added tokens."""
        return self.fast.ids(text)

    def fast_ids(self, texts: Sequence[str]) -> Ragged:
        """Return the ids (N,) of texts without added tokens, and their numbers (B,)."""
        return self.fast.ids_of_batch(texts)

    def fast_tokens(self, texts: Sequence[str]) -> Ragged:
        """Return the tokens (N, 4) of texts without added tokens, and their numbers (B,)."""
        return self.fast.tokens_of_batch(texts)

    def added_token(self, i: int, text: str, start: int, end: int) -> Token:
        """Return the token of an added token that was found in `text[start:end]`."""
        return Token(i, start, end, 1)

    def add(self, tokens: Iterable[AddedToken]) -> int:
        """Add tokens that are never split; return the number of new ids (int).

        Raises:
            ValueError: the normalized text of a token is empty.
        """
        added, vocab, pieces = dict(self.added), dict(self.vocab), list(self.pieces)
        found: dict[bool, dict[str, tuple[AddedToken, int]]] = {False: {}, True: {}}
        for token in tokens:
            added[token.content] = token
            if token.content not in vocab:
                vocab[token.content] = len(pieces)
                pieces.append(token.content)
        for content, token in added.items():
            text = self.normalize(content) if token.normalized else content
            if not text:
                raise ValueError(
                    f"added token {content!r}: expected text after normalization, got an empty one"
                )
            found[token.normalized][text] = token, vocab[content]
        new = len(pieces) - len(self.pieces)
        self.added, self.vocab, self.pieces = added, vocab, pieces
        self.in_text, self.in_normalized = Finder(found[False]), Finder(found[True])
        return new

    def plain_tokens(self, text: str, keep_special: bool = True) -> list[Token]:
        """Return the tokens of a text, computed letter by letter.

        Added tokens are first searched in the original text. The text between them is normalized
        and searched for the other added tokens. The rest is split into words.

        Args:
            text: the text.
            keep_special (bool): search for special tokens too.
        """
        tokens: list[Token] = []
        for start, end, i in self.in_text.split(text, keep_special=keep_special):
            if i is not None:
                tokens.append(self.added_token(i, text, start, end))
                continue
            letters = self.letters(text[start:end])
            normalized = "".join(letter.char for letter in letters)
            for first, stop, i in self.in_normalized.split(normalized, keep_special=keep_special):
                if i is None:
                    is_first = start + first == 0
                    found = self.match_letters(letters[first:stop], is_first)
                    tokens += [Token(j, start + a, start + b, begins) for j, a, b, begins in found]
                else:
                    begin, end = start + letters[first].start, start + letters[stop - 1].end
                    tokens.append(self.added_token(i, text, begin, end))
        return tokens

    def tokens(self, text: str, keep_special: bool = True) -> np.ndarray:
        """Return the tokens of a text: id, start, end and word index, (T, 4), int32."""
        if self._needs_letters:
            plain = self.plain_tokens(text, keep_special)
            tokens = np.array(plain, INT32).reshape(-1, COLUMNS)
        elif self._finds(text):
            parts = [
                self.tokens_between(text[start:end], start == 0)
                + np.array([0, start, start, 0], INT32)
                if i is None
                else np.array([self.added_token(i, text, start, end)], INT32)
                for start, end, i in self._spans(text, keep_special)
            ]
            tokens = np.concatenate(parts)
        else:
            tokens = self.tokens_between(text, True)
        word_indices = tokens[:, 3]  # 1 where a word begins; its running sum is the word index
        word_indices[:1] = 0
        word_indices.cumsum(out=word_indices)
        return tokens

    def ids(self, text: str, keep_special: bool = True) -> np.ndarray:
        """Return the token ids (T,), int32, of a text."""
        if self._needs_letters or self._finds(text):
            return self.tokens(text, keep_special)[:, 0].copy()
        return self.ids_between(text, True)

    @property
    def _needs_letters(self) -> bool:
        """Whether added tokens are searched for in normalized text."""
        return bool(self.in_normalized.tokens) and not self.keeps_text

    def _finds(self, text: str) -> bool:
        """Return whether a text contains an added token."""
        return self.in_text.found_in(text) or (
            bool(self.in_normalized.tokens) and self.in_normalized.found_in(text)
        )

    def _spans(self, text: str, keep_special: bool) -> Iterator[Span]:
        """Yield the added tokens of a text, and the parts between them."""
        for start, end, i in self.in_text.split(text, keep_special=keep_special):
            if i is not None or not self.in_normalized.tokens:
                yield start, end, i
                continue
            part = text[start:end]
            for first, stop, j in self.in_normalized.split(part, keep_special=keep_special):
                yield start + first, start + stop, j

    def ids_of_batch(self, texts: Sequence[str], keep_special: bool = True) -> Ragged:
        """Return the token ids (N,), int32, of B texts, and the number of ids of each (B,)."""
        single = partial(self.ids, keep_special=keep_special)
        return self._batch(texts, self.fast_ids, single)

    def tokens_of_batch(self, texts: Sequence[str], keep_special: bool = True) -> Ragged:
        """Return the `tokens` (N, 4), int32, of B texts, and the number of tokens of each (B,)."""
        single = partial(self.tokens, keep_special=keep_special)
        return self._batch(texts, self._numbered_tokens, single)

    def _numbered_tokens(self, texts: Sequence[str]) -> Ragged:
        """Return `fast_tokens` with word indices in place of the marks where a word begins."""
        tokens, lengths = self.fast_tokens(texts)
        words = tokens[:, 3].cumsum()  # of all texts
        held = lengths[lengths > 0]
        tokens[:, 3] = words - words[held.cumsum() - held].repeat(held)
        return tokens, lengths

    def _batch(
        self,
        texts: Sequence[str],
        fast: Callable[[Sequence[str]], Ragged],
        single: Callable[[str], np.ndarray],
    ) -> Ragged:
        if 0 < sum(map(len, texts)) < FEW:
            return joined([single(text) for text in texts])
        results = [self._block(block, fast, single) for block in blocks(texts)]
        values, lengths = zip(*results, strict=True)
        return np.concatenate(values), np.concatenate(lengths)

    def _block(
        self,
        texts: Sequence[str],
        fast: Callable[[Sequence[str]], Ragged],
        single: Callable[[str], np.ndarray],
    ) -> Ragged:
        """Return the result of `fast` for texts; of `single` for those with added tokens."""
        if not self._needs_letters and not self._finds("\n".join(texts)):
            return fast(texts)
        found = {
            i: single(text)
            for i, text in enumerate(texts)
            if self._needs_letters or self._finds(text)
        }
        values, lengths = fast(["" if i in found else text for i, text in enumerate(texts)])
        parts = np.split(values, lengths.cumsum()[:-1])
        for i, part in found.items():
            parts[i], lengths[i] = part, len(part)
        return np.concatenate(parts), lengths


class Matcher(TextMatcher):
    """WordPiece's matcher: words, then pieces of words.

    Args:
        vocabulary: the pieces of words.
        normalizer: turns text into words.
        unk_id (int): id of a word that cannot be split into pieces.
        longest_word (int): maximum number of characters; a longer word becomes `unk_id`.
    """

    def __init__(
        self, vocabulary: Vocabulary, normalizer: Normalizer, unk_id: int, longest_word: int
    ):
        super().__init__(vocabulary)
        self.normalizer = normalizer
        self.unk_id, self.longest_word = unk_id, longest_word
        self.fast = FastPath(normalizer, self.split_word, self.match)

    def normalize(self, text: str) -> str:
        """Return the normalized text (str)."""
        return self.normalizer.normalize(text)

    def letters(self, text: str) -> list[Letter]:
        """Return the letters of the normalized text; see `Normalizer.letters`."""
        return self.normalizer.letters(text)

    def match_letters(self, letters: Sequence[Letter], is_first: bool) -> list[Token]:
        """Return the tokens of the words of normalized letters."""
        return self.match(split_words(letters))

    def match(self, words: Iterable[Word]) -> list[Token]:
        """Return the tokens of words."""
        tokens: list[Token] = []
        for word, starts, ends in words:
            first = 0
            for i, stop in self.split_word(word):
                tokens.append(Token(i, starts[first], ends[stop - 1], int(first == 0)))
                first = stop
        return tokens

    def split_word(self, word: str) -> Split:
        """Return the pieces of a word; one unknown token if there is no split."""
        split = self.vocabulary.split_word(word) if len(word) <= self.longest_word else None
        return [(self.unk_id, len(word))] if split is None else split


def blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield texts in blocks of about `BLOCK_LENGTH` characters; at least one block.

    >>> [len(block) for block in blocks(["a" * BLOCK_LENGTH, "b", "c"])]
    [1, 2]
    """
    starts = np.array([0, *map(len, texts)]).cumsum()[:-1]
    cuts = np.flatnonzero(np.diff(starts // BLOCK_LENGTH)) + 1
    return (texts[start:end] for start, end in pairwise([0, *cuts.tolist(), len(texts)]))
