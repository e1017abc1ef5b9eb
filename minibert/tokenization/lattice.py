"""Unigram segmentation: the most probable split of a word into pieces.

Kudo (2018), section 3.2, gives each piece x a probability p(x), independent of its neighbours. A
split of a word into x_1 ... x_M has the probability p(x_1) ... p(x_M), and the tokenizer returns
the split with the highest one. A word of n letters has 2^(n-1) splits, but they need not be tried
one by one, because the best split of a beginning does not depend on what follows (Viterbi, 1967):

    best(0) = 0
    best(e) = max over pieces word[s:e] of  best(s) + log p(word[s:e])

For each end e, the start s of the last piece is stored. From the end of the word, these starts
lead back to the first piece.
"""

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import compress
from math import inf
from typing import Any

import numpy as np

from minibert.tokenization.batch_lattice import (
    FEW,
    LONGEST_WORD,
    NO_SPLITS,
    UNKNOWN,
    BatchLattice,
    Splits,
)

UNKNOWN_PENALTY = 10.0  # log-probability of an unknown letter: that of the rarest piece less this
# Limits of the pieces of a file, because the table of all beginnings of a piece of n letters has
# n² / 2 letters. SentencePiece learns pieces of at most 16 letters; the 250,000 pieces of
# XLM-RoBERTa have beginnings of 9 million.
LONGEST_PIECE = 500
LETTERS_OF_BEGINNINGS = 1 << 26

Pieces = list[tuple[int, int]]  # the pieces of a word: id, and end in the word


class Lattice:
    """Splitter of words into the pieces with the highest total log-probability.

    >>> scores = {"▁": -2.0, "▁un": -3.0, "▁u": -4.0, "n": -2.0, "able": -4.0, "a": -2.0}
    >>> ids = {piece: i for i, piece in enumerate(scores)}
    >>> Lattice(scores, ids, unk_id=9).split_word("▁unable")
    [(1, 3), (4, 7)]

    A letter that is not a piece is unknown, and neighbouring unknown letters are one token. If
    several splits are equally probable, the one with the longest last piece is returned, as in
    `tokenizers`.

    Args:
        scores: the log-probability of each piece.
        ids: the id of each piece.
        unk_id (int): id of the unknown token.
        byte_fallback (bool): replace unknown letters by their bytes, which are pieces such as
            <0xE2>, if the vocabulary contains all of them.
        lowest (float or None): the lowest log-probability; None for that of `scores`.

    Raises:
        ValueError: a piece is too long, or many are long, so that the table needs much memory.
    """

    def __init__(
        self,
        scores: Mapping[str, float],
        ids: Mapping[str, int],
        unk_id: int,
        byte_fallback: bool = False,
        lowest: float | None = None,
    ):
        self.ids, self.unk_id, self.byte_fallback = ids, unk_id, byte_fallback
        _check_lengths(scores)
        lowest = min(scores.values(), default=0.0) if lowest is None else lowest
        self._unknown = lowest - UNKNOWN_PENALTY
        # A trie, as a table of all beginnings of pieces: the score of a piece, or else -inf. The
        # search from a start ends at a text that is not in the table, after 3 or 4 letters.
        self._trie = dict(scores)
        for piece in scores:
            end = len(piece) - 1
            while end > 0 and piece[:end] not in self._trie:
                self._trie[piece[:end]] = -inf
                end -= 1
            # A beginning that is in the table is a piece, whose own beginnings are added in its
            # turn, or was added here together with them.

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy without the `BatchLattice`, 80 to 160 bytes a beginning."""
        return {name: value for name, value in vars(self).items() if name != "_batch"}

    def leave_out(self, pieces: Collection[str]) -> None:
        """Leave pieces out of all splits: special tokens, which text never becomes.

        SentencePiece calls them control symbols; their probability, 1 in files, means nothing.
        """
        if not self.ids.keys().isdisjoint(pieces):
            self.ids = {piece: i for piece, i in self.ids.items() if piece not in pieces}
            self._trie |= dict.fromkeys(self._trie.keys() & pieces, -inf)
            self.__dict__.pop("_batch", None)

    def split_word(self, word: str) -> Pieces:
        """Return the pieces of a word, unknown letters included.

        Letters that become bytes yield several tokens with the same end.
        """
        tokens: Pieces = []
        unknown = None  # where the present run of unknown letters starts
        start = 0
        for end in self._ends(word):
            i = self.ids.get(word[start:end], self.unk_id)
            if i == self.unk_id:
                unknown = start if unknown is None else unknown
            else:
                if unknown is not None:
                    tokens += self._unknown_tokens(word[unknown:start], start)
                    unknown = None
                tokens.append((i, end))
            start = end
        if unknown is not None:
            tokens += self._unknown_tokens(word[unknown:], start)
        return tokens

    def split_words(self, words: Sequence[str]) -> list[Pieces]:
        """Return the pieces of each word, as `split_word` does.

        Many words take less time each; see `batch_lattice`.
        """
        (ids, ends, _), bounds = self._split_together(words)
        pieces = list(zip(ids.tolist(), ends.tolist(), strict=True))
        return [
            pieces[slice(*bounds[word])] if word in bounds else self.split_word(word)
            for word in words
        ]

    def ids_of_words(self, words: Sequence[str]) -> list[bytes]:
        """Return the ids of the pieces of each word, as int32; see `split_words`."""
        (ids, _, _), bounds = self._split_together(words)
        data, size = ids.tobytes(), ids.itemsize
        found = {word: data[size * start : size * stop] for word, (start, stop) in bounds.items()}
        return [
            found[word]
            if word in found
            else array("i", [i for i, _ in self.split_word(word)]).tobytes()
            for word in words
        ]

    def _split_together(self, words: Sequence[str]) -> tuple[Splits, dict[str, tuple[int, int]]]:
        """Return splits of words, and where the pieces of each word are in them.

        Words with unknown letters, which `split_word` joins, long words and few words are left out.
        """
        batch = [word for word in words if 0 < len(word) <= LONGEST_WORD]
        if len(batch) < FEW:
            return NO_SPLITS, {}
        splits = self._batch.split(batch)
        stops = splits.counts.cumsum()
        starts = stops - splits.counts
        is_known = ~np.logical_or.reduceat(splits.ids == UNKNOWN, starts)
        bounds = zip(batch, zip(starts.tolist(), stops.tolist(), strict=True), strict=True)
        return splits, dict(compress(bounds, is_known.tolist()))

    @cached_property
    def _batch(self) -> BatchLattice:
        known = {piece: i for piece, i in self.ids.items() if i != self.unk_id}
        return BatchLattice(self._trie, known, self._unknown)

    def _ends(self, word: str) -> Iterable[int]:
        """Return the ends of the pieces of the best split, in order."""
        n, score_of = len(word), self._trie.get
        best = [0.0, *[-inf] * n]  # best[e], of the splits of word[:e]
        starts = [0] * (n + 1)  # of the last piece of that split
        for start in range(n):
            here = best[start]  # final, because a piece that ends here has started before
            for end in range(start + 1, n + 1):
                score = score_of(word[start:end])
                if score is None:
                    break
                if here + score > best[end]:
                    best[end], starts[end] = here + score, start
            is_unknown = score_of(word[start], -inf) == -inf
            if is_unknown and here + self._unknown > best[start + 1]:
                best[start + 1], starts[start + 1] = here + self._unknown, start
        ends = []
        while n:
            ends.append(n)
            n = starts[n]
        return reversed(ends)

    def _unknown_tokens(self, text: str, end: int) -> Pieces:
        """Return the tokens of a run of unknown letters."""
        if text in self.ids:
            return [(self.ids[text], end)]
        if self.byte_fallback:
            names = [f"<0x{byte:02X}>" for byte in text.encode("utf-8", "surrogatepass")]
            if all(name in self.ids for name in names):
                return [(self.ids[name], end) for name in names]
        return [(self.unk_id, end)]


def _check_lengths(pieces: Iterable[str]) -> None:
    """Raise ValueError if the beginnings of pieces need much memory."""
    lengths = np.fromiter(map(len, pieces), np.int64)
    longest, total = lengths.max(initial=0), (lengths * (lengths + 1) // 2).sum()
    if longest > LONGEST_PIECE:
        raise ValueError(
            f"vocabulary: expected pieces of at most {LONGEST_PIECE} letters, got {longest}"
        )
    if total > LETTERS_OF_BEGINNINGS:
        raise ValueError(
            f"vocabulary: expected beginnings of pieces of at most {LETTERS_OF_BEGINNINGS:,} "
            f"letters in all, got {total:,}; the longest piece has {longest}"
        )
