"""From text to the tokens of a Unigram model: normalize, split into words, find the best pieces."""

from collections.abc import Iterable, Sequence

import numpy as np

from minibert.tokenization.added import AddedToken
from minibert.tokenization.chunks import ChunkPath, Cutter, located
from minibert.tokenization.lattice import Lattice
from minibert.tokenization.matching import TextMatcher, Token
from minibert.tokenization.metaspace import Metaspace
from minibert.tokenization.normalizer import Letter
from minibert.tokenization.steps import StepNormalizer
from minibert.tokenization.vocabulary import Vocabulary


class UnigramMatcher(TextMatcher):
    """Tokenizer of texts by a Unigram model.

    Args:
        vocabulary: the pieces and their ids.
        normalizer: normalizes the text.
        metaspace: splits normalized text into words.
        lattice: splits words into pieces.
    """

    fast: ChunkPath

    def __init__(
        self,
        vocabulary: Vocabulary,
        normalizer: StepNormalizer,
        metaspace: Metaspace,
        lattice: Lattice,
    ):
        super().__init__(vocabulary)
        self.normalizer, self.metaspace, self.lattice = normalizer, metaspace, lattice
        self._cutter = Cutter(normalizer, metaspace)
        self._empty_caches()

    def add(self, tokens: Iterable[AddedToken]) -> int:
        """Add tokens; those that are special are left out of the lattice. See `TextMatcher.add`."""
        new = super().add(tokens)
        self.lattice.leave_out({text for text, token in self.added.items() if token.special})
        self._empty_caches()
        return new

    def _empty_caches(self) -> None:
        parts = self._cutter, self.normalizer, self.metaspace
        self.fast = ChunkPath(*parts, self.lattice, self._match_chunk)

    def normalize(self, text: str) -> str:
        """Return the normalized text (str)."""
        return self.normalizer.normalize(text)

    def letters(self, text: str) -> list[Letter]:
        """Return the letters of the normalized text, each with its position in the text."""
        return self.normalizer.letters(text)

    def match_letters(self, letters: Sequence[Letter], is_first: bool) -> list[Token]:
        """Return the tokens of the words of normalized letters."""
        tokens: list[Token] = []
        for word in self.metaspace.words(letters, is_first):
            pieces = self.lattice.split_word("".join(letter.char for letter in word))
            starts = [letter.start for letter in word]
            lasts = [letter.end - 1 for letter in word]
            tokens += [Token(*fields) for fields in located(pieces, starts, lasts)]
        return tokens

    def tokens_between(self, text: str, is_first: bool) -> np.ndarray:
        """Return the tokens (T, 4), int32, of a part of a text without added tokens."""
        return self.fast.tokens(text, is_first)

    def ids_between(self, text: str, is_first: bool) -> np.ndarray:
        """Return the token ids (T,), int32, of a part of a text without added tokens."""
        return self.fast.ids(text, is_first)

    def _match_chunk(self, chunk: str, is_first: bool) -> list[Token]:
        return self.match_letters(self.letters(chunk), is_first)
