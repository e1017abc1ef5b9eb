"""From text to tokens: find added tokens, then split words into pieces of the vocabulary.

`plain_tokens` is the definition; `tokens` and `ids` return the same by the cached path in `fast`.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from minibert.tokenization.added import AddedToken, Finder
from minibert.tokenization.fast import COLUMNS, INT32, FastPath, Split
from minibert.tokenization.normalizer import Normalizer, Word, split_words
from minibert.tokenization.vocabulary import Vocabulary


class Token(NamedTuple):
    """A token made from `text[start:end]`; `begins_word` is 1 or 0."""

    id: int
    start: int
    end: int
    begins_word: int


class Matcher:
    """Tokenizer of texts: added tokens, then words, then pieces.

    Args:
        vocabulary: the pieces of words.
        normalizer: turns text into words.
        unk_id (int): id of a word that cannot be split into pieces.
        longest_word (int): maximum number of characters; a longer word becomes `unk_id`.
    """

    def __init__(
        self, vocabulary: Vocabulary, normalizer: Normalizer, unk_id: int, longest_word: int
    ):
        self.vocabulary, self.normalizer = vocabulary, normalizer
        self.unk_id, self.longest_word = unk_id, longest_word
        self.vocab = dict(vocabulary.ids)
        self.pieces = list(vocabulary.pieces)  # the text of each id, added tokens included
        self.added: dict[str, AddedToken] = {}
        self.in_text, self.in_normalized = Finder({}), Finder({})
        self.fast = FastPath(normalizer, self.split_word, self.match)

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
            text = self.normalizer.normalize(content) if token.normalized else content
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
                tokens.append(Token(i, start, end, 1))
                continue
            letters = self.normalizer.letters(text[start:end])
            normalized = "".join(letter.char for letter in letters)
            for first, stop, i in self.in_normalized.split(normalized, keep_special=keep_special):
                if i is None:
                    found = self.match(split_words(letters[first:stop]))
                else:
                    found = [Token(i, letters[first].start, letters[stop - 1].end, 1)]
                tokens += [Token(j, start + a, start + b, begins) for j, a, b, begins in found]
        return tokens

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

    def tokens(self, text: str, keep_special: bool = True) -> np.ndarray:
        """Return the tokens of a text: id, start, end and word index, (T, 4), int32."""
        if self.in_normalized.tokens:
            plain = self.plain_tokens(text, keep_special)
            tokens = np.array(plain, INT32).reshape(-1, COLUMNS)
        elif self.in_text.found_in(text):
            parts = [
                self.fast.tokens(text[start:end]) + np.array([0, start, start, 0], INT32)
                if i is None
                else np.array([[i, start, end, 1]], INT32)
                for start, end, i in self.in_text.split(text, keep_special=keep_special)
            ]
            tokens = np.concatenate(parts)
        else:
            tokens = self.fast.tokens(text)
        word_indices = tokens[:, 3]  # 1 where a word begins; its running sum is the word index
        word_indices[:1] = 0
        word_indices.cumsum(out=word_indices)
        return tokens

    def ids(self, text: str, keep_special: bool = True) -> np.ndarray:
        """Return the token ids (T,), int32, of a text."""
        if self.in_normalized.tokens or self.in_text.found_in(text):
            return self.tokens(text, keep_special)[:, 0].copy()
        return self.fast.ids(text)
