"""Byte-level matching: chunks of a text, their bytes, and the pieces of bytes.

`match_letters` is the definition; `BytePath` returns the same, from caches.
"""

from array import array
from collections.abc import Sequence

import numpy as np

from minibert.tokenization.byte_alphabet import SPACE, spell
from minibert.tokenization.byte_chunks import SPACES, chunks, encode, is_divisible, part_bounds
from minibert.tokenization.byte_pairs import BytePairs
from minibert.tokenization.fast import COLUMNS, CachedPath, Ragged, joined
from minibert.tokenization.matching import TextMatcher, Token
from minibert.tokenization.normalizer import Letter
from minibert.tokenization.simple_letters import SimpleLetters
from minibert.tokenization.steps import StepNormalizer


class ByteMatcher(TextMatcher):
    """Matcher of byte-level BPE.

    Args:
        pairs: the vocabulary and its merges.
        add_prefix_space (bool): put a space before a text, and before the text after an added
            token, unless it begins with one.
        trim_offsets (bool): leave spaces at the ends of a token out of its offsets.
        normalizer: normalizes the text; most texts are normal, and only others take longer.
    """

    def __init__(
        self,
        pairs: BytePairs,
        add_prefix_space: bool,
        trim_offsets: bool,
        normalizer: StepNormalizer | None = None,
    ):
        super().__init__(pairs.vocabulary)
        self.normalizer = StepNormalizer() if normalizer is None else normalizer
        self.keeps_text = not self.normalizer.kinds
        self.pairs, self.add_prefix_space, self.trim_offsets = pairs, add_prefix_space, trim_offsets
        # The numbers of spaces at the start and at the end of each piece.
        pieces = pairs.vocabulary.pieces
        self._leading = np.array([len(p) - len(p.lstrip(SPACE)) for p in pieces], np.int32)
        self._trailing = np.array([len(p) - len(p.rstrip(SPACE)) for p in pieces], np.int32)
        self.fast = BytePath(pairs)
        self._simple = SimpleLetters(self.normalizer)

    def _normalized(self, text: str) -> str:
        """Return the normalized text (str), faster than `normalize` if its letters are simple."""
        if self.normalizer.keeps(text):
            return text
        return self._simple.normalize([text])[0] or self.normalize(text)

    def normalize(self, text: str) -> str:
        """Return the normalized text (str)."""
        return self.normalizer.normalize(text)

    def letters(self, text: str) -> list[Letter]:
        """Return the letters of the normalized text, each with its position in the text."""
        return self.normalizer.letters(text)

    def match_letters(self, letters: Sequence[Letter], is_first: bool) -> list[Token]:
        """Return the tokens of text without added tokens.

        All tokens of a character have its position. A space that `add_prefix_space` adds has the
        position of the first character.
        """
        letters = list(letters)
        if letters and self.add_prefix_space and letters[0].char != " ":
            letters.insert(0, letters[0]._replace(char=" "))
        tokens: list[Token] = []
        done = 0  # letters
        for chunk in chunks("".join(letter.char for letter in letters)):
            places = [  # the letter of each byte
                letters[i]
                for i in range(done, done + len(chunk))
                for _ in letters[i].char.encode("utf-8", "surrogatepass")
            ]
            done += len(chunk)
            first = 0
            for i in self.pairs.split(spell(chunk)):
                stop = first + len(self.pieces[i])
                start, end = places[first].start, places[stop - 1].end
                begins_text = is_first and (start == 0 or not tokens)
                trimmed = self._trimmed(i, start, end, begins_text)
                tokens.append(Token(i, *trimmed, int(first == 0)))
                first = stop
        return tokens

    def _trimmed(self, i: int, start: int, end: int, begins_text: bool) -> tuple[int, int]:
        """Return the offsets of a token without the spaces at its ends, as `tokenizers` does."""
        leading, trailing = int(self._leading[i]), int(self._trailing[i])
        return self._trim(leading, trailing, start, end, begins_text)

    def _trim(
        self, leading: int, trailing: int, start: int, end: int, begins_text: bool
    ) -> tuple[int, int]:
        if not self.trim_offsets:
            return start, end
        if begins_text and leading == 1 and self.add_prefix_space:
            leading = 0  # the space was added, or might have been
        start = min(start + leading, end)
        return start, max(end - trailing, start)

    def added_token(self, i: int, text: str, start: int, end: int) -> Token:
        """Return the token of an added token that was found in `text[start:end]`."""
        found = text[start:end]
        leading, trailing = (
            len(found) - len(cut)
            for cut in (found.lstrip(SPACES + SPACE), found.rstrip(SPACES + SPACE))
        )
        return Token(i, *self._trim(leading, trailing, start, end, start == 0), 1)

    def tokens_between(self, text: str, is_first: bool) -> np.ndarray:
        """Return the tokens (T, 4), int32, of a part of a text without added tokens."""
        if not self.normalizer.keeps(text):
            found = self.match_letters(self.letters(text), is_first)
            return np.array(found, np.int32).reshape(-1, COLUMNS)
        if not self._is_prefixed(text):
            return self._trim_all(self.fast.tokens(text), is_first)
        tokens = self.fast.tokens(f" {text}")
        return self._trim_all(_without_prefix(tokens, 1), is_first)

    def ids_between(self, text: str, is_first: bool) -> np.ndarray:
        """Return the token ids (T,), int32, of a part of a text without added tokens."""
        text = self._normalized(text)
        return self.fast.ids(f" {text}" if self._is_prefixed(text) else text)

    def fast_ids(self, texts: Sequence[str]) -> Ragged:
        """Return the ids (N,) of texts without added tokens, and their numbers (B,)."""
        if not self.keeps_text:
            texts = list(map(self._normalized, texts))
        if self.add_prefix_space:
            texts = [f" {text}" if self._is_prefixed(text) else text for text in texts]
        return self.fast.ids_of_batch(texts)

    def fast_tokens(self, texts: Sequence[str]) -> Ragged:
        """Return the tokens (N, 4) of texts without added tokens, and their numbers (B,)."""
        if texts and not (self.keeps_text or all(map(self.normalizer.keeps, texts))):
            return joined([self.tokens_between(text, True) for text in texts])
        if not self.add_prefix_space:
            tokens, lengths = self.fast.tokens_of_batch(texts)
            return self._trim_all(tokens, True), lengths
        prefixes = np.array([self._is_prefixed(text) for text in texts], np.int32)
        texts = [" " * prefix + text for prefix, text in zip(prefixes, texts, strict=True)]
        tokens, lengths = self.fast.tokens_of_batch(texts)
        tokens = _without_prefix(tokens, prefixes.repeat(lengths))
        return self._trim_all(tokens, True), lengths

    def _is_prefixed(self, text: str) -> bool:
        return self.add_prefix_space and text != "" and text[0] != " "

    def _trim_all(self, tokens: np.ndarray, is_first: bool) -> np.ndarray:
        """Trim the offsets of tokens (N, 4) in place; see `_trimmed`."""
        if self.trim_offsets:
            ids, starts, ends = tokens[:, 0], tokens[:, 1], tokens[:, 2]
            leading = self._leading[ids]
            if is_first and self.add_prefix_space:
                leading[(starts == 0) & (leading == 1)] = 0
            np.minimum(starts + leading, ends, out=starts)
            np.maximum(ends - self._trailing[ids], starts, out=ends)
        return tokens


def _without_prefix(tokens: np.ndarray, prefix: np.ndarray | int) -> np.ndarray:
    """Return tokens (N, 4) with the positions of a text without the `prefix` spaces before it."""
    tokens[:, 1] = np.maximum(tokens[:, 1] - prefix, 0)
    tokens[:, 2] = np.maximum(tokens[:, 2] - prefix, 1)
    return tokens


class BytePath(CachedPath):
    """Tokenizer of text without added tokens, with caches; its offsets are not trimmed.

    Args:
        pairs: the vocabulary and its merges.
    """

    def __init__(self, pairs: BytePairs):
        super().__init__()
        self._pairs = pairs
        self._lengths = [len(piece) for piece in pairs.vocabulary.pieces]  # in bytes

    def chunks(self, text: str) -> list[str]:
        """Return the chunks (list of str) of a text."""
        return chunks(text)

    def located_chunks(self, text: str) -> tuple[list[str], list[int]]:
        """Return the chunks of a text and the position of each."""
        found = chunks(text)
        lengths = np.array([len(chunk) for chunk in found], np.intp)
        return found, (lengths.cumsum() - lengths).tolist()

    def encode(self, texts: Sequence[str]) -> tuple[bytes, np.ndarray]:
        """Return texts as UTF-8, each with an `END`, and their sizes (B,), in bytes."""
        return encode(texts)

    def bounds(self, data: bytes, located: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the starts (M,) and the ends (M,) of the parts of encoded texts."""
        return part_bounds(data)

    def has_parts(self, texts: Sequence[str]) -> bool:
        """Return whether `bounds` finds parts of texts."""
        return is_divisible("".join(texts))

    def ids_of_chunks(self, chunks: list[str]) -> list[bytes]:
        """Return the ids of each chunk, or part of several chunks, as int32."""
        return list(map(self._ids_of_chunk, chunks))

    def tokens_of_chunks(self, chunks: list[str]) -> list[bytes]:
        """Return the tokens of each chunk, or part of several chunks, `COLUMNS` int32 each."""
        return list(map(self._tokens_of_chunk, chunks))

    def _ids_of_chunk(self, chunk: str) -> bytes:
        found = chunks(chunk)
        if len(found) > 1:
            return b"".join(map(self._ids.__getitem__, found))
        return array("i", self._pairs.split(spell(chunk))).tobytes()

    def _tokens_of_chunk(self, chunk: str) -> bytes:
        fields: list[int] = []
        done = 0  # characters
        for each in chunks(chunk):
            ids = self._pairs.split(spell(each))
            if each.isascii():
                places: Sequence[int] = range(done, done + len(each))
            else:
                places = [
                    done + i
                    for i, char in enumerate(each)
                    for _ in char.encode("utf-8", "surrogatepass")
                ]
            first = 0
            for i in ids:
                stop = first + self._lengths[i]
                fields += i, places[first], places[stop - 1] + 1, first == 0
                first = stop
            done += len(each)
        return array("i", fields).tobytes()
