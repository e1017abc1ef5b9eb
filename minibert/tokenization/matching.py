"""From text to tokens: added tokens are taken whole, and words are cut into pieces.

`plain_rows` is the definition; `rows` and `ids` get the same by the fast way, `fast`.
"""

from collections.abc import Iterable

import numpy as np

from minibert.tokenization.added import AddedToken, Finder
from minibert.tokenization.fast import COLUMNS, INT32, Cut, FastPath
from minibert.tokenization.normalizer import Normalizer, Word, cut_words
from minibert.tokenization.vocabulary import Vocabulary

Token = tuple[int, int, int, int]  # a token: id, start, end, and 1 if it begins a word


class Matcher:
    """Finds the tokens of texts.

    Args:
        vocabulary: has the pieces of words.
        normalizer: makes words of text.
        unk_id: stands for a word that can't be cut.
        longest_word: a longer one isn't tried, in characters.
    """

    def __init__(
        self, vocabulary: Vocabulary, normalizer: Normalizer, unk_id: int, longest_word: int
    ):
        self.vocabulary, self.normalizer = vocabulary, normalizer
        self.unk_id, self.longest_word = unk_id, longest_word
        self.vocab = dict(vocabulary.ids)
        self.added: dict[str, AddedToken] = {}
        self.in_text, self.in_normal_text = Finder({}), Finder({})
        self.fast = FastPath(normalizer, self.cut, self.match)

    def add(self, tokens: Iterable[AddedToken]) -> int:
        """Take these tokens whole from now on; return how many got an id of their own.

        Raises:
            ValueError: nothing is left of a token that is looked for in normalised text.
        """
        added, vocab = dict(self.added), dict(self.vocab)
        found: dict[bool, dict[str, tuple[AddedToken, int]]] = {False: {}, True: {}}
        for token in tokens:
            added[token.content] = token
            vocab.setdefault(token.content, len(vocab))
        for content, token in added.items():
            text = self.normalizer.normalize(content) if token.normalized else content
            if not text:
                raise ValueError(f"added token {content!r}: nothing is left of it when normalised")
            found[token.normalized][text] = token, vocab[content]
        new = len(vocab) - len(self.vocab)
        self.added, self.vocab = added, vocab
        self.in_text, self.in_normal_text = Finder(found[False]), Finder(found[True])
        return new

    def plain_rows(self, text: str, keep_special: bool = True) -> list[Token]:
        """Return a text's tokens, letter by letter.

        First come the added tokens of the text as it is given. What is between them is normalised;
        then come the added tokens of that, and the words of what is left.
        """
        rows: list[Token] = []
        for start, end, i in self.in_text.split(text, keep_special=keep_special):
            if i is not None:
                rows.append((i, start, end, 1))
                continue
            letters = self.normalizer.letters(text[start:end])
            normal = "".join(letter.char for letter in letters)
            for first, stop, i in self.in_normal_text.split(normal, keep_special=keep_special):
                if i is None:
                    found = self.match(cut_words(letters[first:stop]))
                else:
                    found = [(i, letters[first].start, letters[stop - 1].end, 1)]
                rows += [(j, start + a, start + b, begins) for j, a, b, begins in found]
        return rows

    def match(self, words: Iterable[Word]) -> list[Token]:
        """Cut words into the pieces of the vocabulary."""
        rows: list[Token] = []
        for word, starts, ends in words:
            first = 0
            for i, stop in self.cut(word):
                rows.append((i, starts[first], ends[stop - 1], int(first == 0)))
                first = stop
        return rows

    def cut(self, word: str) -> Cut:
        """Cut a word into pieces; one that is too long, or can't be cut, is one unknown piece."""
        cuts = self.vocabulary.cut(word) if len(word) <= self.longest_word else None
        return [(self.unk_id, len(word))] if cuts is None else cuts

    def rows(self, text: str, keep_special: bool = True) -> np.ndarray:
        """Return a text's tokens: (T, 4) in int32, id, start, end and number of the word."""
        if self.in_normal_text.tokens:
            plain = self.plain_rows(text, keep_special)
            rows = np.array(plain, INT32).reshape(-1, COLUMNS)
        elif self.in_text.found_in(text):
            parts = [
                self.fast.rows(text[start:end]) + np.array([0, start, start, 0], INT32)
                if i is None
                else np.array([[i, start, end, 1]], INT32)
                for start, end, i in self.in_text.split(text, keep_special=keep_special)
            ]
            rows = np.concatenate(parts)
        else:
            rows = self.fast.rows(text)
        words = rows[:, 3]
        words[:1] = 0
        words.cumsum(out=words)
        return rows

    def ids(self, text: str, keep_special: bool = True) -> np.ndarray:
        """Return the ids of a text's tokens: (T,) in int32."""
        if self.in_normal_text.tokens or self.in_text.found_in(text):
            return self.rows(text, keep_special)[:, 0].copy()
        return self.fast.ids(text)
