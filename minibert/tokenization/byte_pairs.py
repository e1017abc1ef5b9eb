"""Byte pair encoding: merge the pairs of pieces of a chunk, in the order of a list of merges."""

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise

from minibert.tokenization.byte_alphabet import CHARACTERS
from minibert.tokenization.vocabulary import Vocabulary

FEW = 24  # pieces; for more, a heap is faster than a search of all pairs
NEVER = 1 << 62  # rank of a pair that is not merged

Merge = tuple[str, str]


class BytePairs:
    """The merges of a vocabulary.

    >>> vocabulary = Vocabulary([*CHARACTERS, "th", "the", "Ġthe"])
    >>> pairs = BytePairs(vocabulary, [("t", "h"), ("th", "e"), ("Ġ", "the")])
    >>> [vocabulary.pieces[i] for i in pairs.split("Ġthem")]
    ['Ġthe', 'm']

    Args:
        vocabulary: the pieces; they contain the characters of all bytes.
        merges: pairs of pieces, those to be merged first at the beginning.
        ignore_merges (bool): make a chunk that is a piece of the vocabulary one token.

    Raises:
        ValueError: a byte is missing, or the parts or the whole of a merge.
    """

    def __init__(
        self, vocabulary: Vocabulary, merges: Sequence[Merge], ignore_merges: bool = False
    ):
        self.vocabulary, self.merges, self.ignore_merges = vocabulary, merges, ignore_merges
        ids = vocabulary.ids
        check_alphabet(ids)
        self._ranks: dict[tuple[int, int], int] = {}
        self._wholes: list[int] = []  # by rank, the id of both pieces together
        for rank, (first, second) in enumerate(merges):
            check_merge(rank, first, second, ids)
            self._ranks[ids[first], ids[second]] = rank
            self._wholes.append(ids[first + second])

    def split(self, chunk: str) -> list[int]:
        """Return the ids of the pieces of a chunk, given as the characters of its bytes.

        Of all pairs of neighbouring pieces, the one that comes first in the list of merges is
        merged, at its first place, until no pair is in the list. Sennrich et al. (2016), section
        3.2.
        """
        ids: Mapping[str, int] = self.vocabulary.ids
        if self.ignore_merges and chunk in ids:
            return [ids[chunk]]
        pieces = [ids[character] for character in chunk]
        if len(pieces) > FEW:
            return self._merge_by_heap(pieces)
        return self._merge(pieces)

    def _merge(self, pieces: list[int]) -> list[int]:
        rank_of = self._ranks.get
        found = [rank_of(pair, NEVER) for pair in pairwise(pieces)]
        while found:
            best = min(found)
            if best == NEVER:
                break
            i = found.index(best)
            pieces[i : i + 2] = [self._wholes[best]]
            del found[i]
            if i:
                found[i - 1] = rank_of((pieces[i - 1], pieces[i]), NEVER)
            if i < len(found):
                found[i] = rank_of((pieces[i], pieces[i + 1]), NEVER)
        return pieces

    def _merge_by_heap(self, pieces: list[int]) -> list[int]:
        """Return what `_merge` returns, in time n log n."""
        ranks, n = self._ranks, len(pieces)
        before, after = list(range(-1, n - 1)), [*range(1, n), -1]
        # Rank and position of each pair, and its two pieces.
        heap = [(ranks[pair], i, *pair) for i, pair in enumerate(pairwise(pieces)) if pair in ranks]
        heapq.heapify(heap)
        while heap:
            rank, i, first, second = heapq.heappop(heap)
            j = after[i]
            if pieces[i] != first or j < 0 or pieces[j] != second:
                continue  # another merge changed the pair
            pieces[i], pieces[j] = self._wholes[rank], -1
            after[i] = k = after[j]
            if k >= 0:
                before[k] = i
            for left, right in ((before[i], i), (i, k)):
                if left >= 0 and right >= 0:  # both exist
                    pair = pieces[left], pieces[right]
                    if pair in ranks:
                        heapq.heappush(heap, (ranks[pair], left, *pair))
        return [piece for piece in pieces if piece >= 0]


def check_alphabet(ids: Mapping[str, int]) -> None:
    """Raise ValueError unless the pieces contain the characters of all bytes."""
    if missing := [character for character in CHARACTERS if character not in ids]:
        raise ValueError(
            f"vocab: expected the characters of all 256 bytes, got {256 - len(missing)}; "
            f"{missing[0]!r} is missing"
        )


def check_merge(rank: int, first: str, second: str, ids: Mapping[str, int]) -> None:
    """Raise ValueError unless both parts of a merge and their whole are pieces."""
    for piece in first, second, first + second:
        if piece not in ids:
            raise ValueError(
                f"merges[{rank}]: expected pieces of the vocabulary, got {first!r} and {second!r}; "
                f"{piece!r} is not one"
            )
