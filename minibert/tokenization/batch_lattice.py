"""The best splits of many words at once: the search of `lattice`, in NumPy arrays.

`Lattice` tries the pieces of one word one after the other. Here all starts of all words advance
together, letter by letter, through a trie of the pieces; then the best splits of all words up to
their letter e are found by one addition and one maximum. The scores are added in the same order, so
the splits are the same, also where the rounding of a sum decides. That takes a fifth of the time.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

import numpy as np

FEW = 16  # words; fewer are split faster one by one
LONGEST_WORD = 64  # letters; a longer word is split on its own
BLOCK_SCORES = 1 << 17  # of the words that are split together, 1 MB; more leave the cache
USUAL_PIECE = 16  # letters of the longest pieces that SentencePiece learns by default
SPREAD = 4  # slots of the hash table for each node, at least
UINT64 = np.uint64
MULTIPLIER = UINT64(0x9E3779B97F4A7C15)  # odd, with random bits
LETTER_BITS = UINT64(21)  # of a code point
END = 0x1FFFFF  # after the letters of a word; no code point
NO_KEY = UINT64((1 << 64) - 1)
NO_NODE = -1
UNKNOWN = -1


class ArrayTrie:
    """All beginnings of texts, as a hash table from a node and a letter to the next node.

    A node is the slot of its own key, so a search for the key returns the node.

    >>> trie = ArrayTrie(["a", "ab"])
    >>> letters = np.array([ord("a"), ord("b")])
    >>> found = trie.children(trie.roots(2), letters)
    >>> (found == [trie.nodes[0], NO_NODE]).tolist()
    [True, True]
    >>> trie.children(found[:1], letters[1:]).tolist() == [trie.nodes[1]]
    True

    Args:
        texts: contain all beginnings of each text but the empty one.

    Attributes:
        nodes (n,), int64: the node of each text; not of the platform's size, as half of a key.
        root (int): the node of the empty text; all others are smaller.
    """

    def __init__(self, texts: Sequence[str]):
        bits = max(SPREAD * len(texts), 2).bit_length()
        self.root = 1 << bits
        self._shift = UINT64(64 - bits)
        self._keys = np.full(self.root, NO_KEY)
        self.nodes = np.zeros(len(texts), np.int64)
        numbers = {text: i for i, text in enumerate(texts)}
        parents = np.fromiter((numbers.get(text[:-1], -1) for text in texts), np.intp, len(texts))
        letters = np.fromiter((ord(text[-1]) for text in texts), np.uint32, len(texts))
        sizes = np.fromiter(map(len, texts), np.intp, len(texts))
        for size in range(1, int(sizes.max(initial=0)) + 1):
            level = np.flatnonzero(sizes == size)
            above = self.nodes[parents[level]] if size > 1 else self.roots(len(level))
            self.nodes[level] = self._store(_keys(above, letters[level]))

    def roots(self, count: int) -> np.ndarray:
        """Return the node of the empty text `count` times (M,), int64."""
        return np.full(count, self.root, np.int64)

    def _store(self, keys: np.ndarray) -> np.ndarray:
        """Store different keys (M,), each in the first free slot from its own on; return these."""
        slots, waiting = self._slots(keys), np.arange(len(keys))
        while len(waiting):
            tried = slots[waiting]
            is_free = self._keys[tried] == NO_KEY
            self._keys[tried[is_free]] = keys[waiting[is_free]]  # of several, the last one
            waiting = waiting[self._keys[tried] != keys[waiting]]
            slots[waiting] = (slots[waiting] + 1) % self.root
        return slots

    def _slots(self, keys: np.ndarray) -> np.ndarray:
        return (keys * MULTIPLIER >> self._shift).view(np.int64)

    def children(self, nodes: np.ndarray, letters: np.ndarray) -> np.ndarray:
        """Return the nodes (M,), int64, that letters lead to; `NO_NODE` if there is none.

        Args:
            nodes (M,), int64: the nodes to start from.
            letters (M,), int: code points.
        """
        keys = _keys(nodes, letters)
        found = self._slots(keys)
        stored = self._keys[found]
        others = np.flatnonzero(stored != keys)
        stored = stored[others]
        while len(others):
            is_taken = stored != NO_KEY
            found[others[~is_taken]] = NO_NODE
            others = others[is_taken]  # another key is in the slot
            found[others] = (found[others] + 1) % self.root
            stored = self._keys[found[others]]
            is_other = stored != keys[others]
            others, stored = others[is_other], stored[is_other]
        return found


def _keys(nodes: np.ndarray, letters: np.ndarray) -> np.ndarray:
    return nodes.view(UINT64) << LETTER_BITS | letters.astype(UINT64, copy=False)


class Splits(NamedTuple):
    """The best splits of W words into N pieces, one word after the other.

    Attributes:
        ids (N,), int32: the id of each piece; `UNKNOWN` for a letter that is not a piece, and in a
            word whose total is beyond the range of floats.
        ends (N,), int: the end of each piece in its word.
        counts (W,), int: number of pieces of each word.
    """

    ids: np.ndarray
    ends: np.ndarray
    counts: np.ndarray


NO_SPLITS = Splits(np.zeros(0, np.int32), np.zeros(0, np.intp), np.zeros(0, np.intp))


class BatchLattice:
    """Splitter of many words into the pieces with the highest total log-probability.

    >>> lattice = BatchLattice({"a": -1.0, "b": -1.0, "ab": -1.5}, {"a": 7, "b": 8, "ab": 9}, -20.0)
    >>> [values.tolist() for values in lattice.split(["ab", "bax"])]
    [[9, 8, 7, -1], [2, 1, 2, 3], [1, 3]]

    Args:
        scores: the log-probability of each piece, and -inf for each other beginning of one.
        ids: the id of each piece.
        unknown (float): log-probability of a letter that is not a piece.
    """

    def __init__(self, scores: Mapping[str, float], ids: Mapping[str, int], unknown: float):
        texts = [text for text in scores if text]
        self._trie = ArrayTrie(texts)
        self._scores = np.full(self._trie.root, -inf)
        self._scores[self._trie.nodes] = [scores[text] for text in texts]
        self._ids = np.full(self._trie.root, UNKNOWN, np.int32)
        self._ids[self._trie.nodes] = [ids.get(text, UNKNOWN) for text in texts]
        self._unknown = unknown

    def split(self, words: Sequence[str]) -> Splits:
        """Return the best splits of words of 1 to `LONGEST_WORD` letters."""
        lengths = np.fromiter(map(len, words), np.intp, len(words))
        order = lengths.argsort(kind="stable")  # words of about the same length together
        done, blocks = 0, []
        while done < len(order):
            # As many as fit, if no piece is longer than usual; the last one of them is the longest.
            block = order[done : done + BLOCK_SCORES // USUAL_PIECE]
            scores = np.arange(1, len(block) + 1) * (lengths[block] + 1) * USUAL_PIECE
            fits = scores <= BLOCK_SCORES
            block = block[: max(int(fits.sum()), 1)]
            blocks.append(self._block([words[i] for i in block.tolist()], lengths[block]))
            done += len(block)
        ids, ends, counts = map(np.concatenate, zip(*blocks, strict=True))
        # Back to the order of the words.
        places = np.empty(len(order), np.intp)
        places[order] = counts.cumsum() - counts
        counts[order] = counts.copy()
        pieces = np.arange(len(ids)) + (places - (counts.cumsum() - counts)).repeat(counts)
        return Splits(ids[pieces], ends[pieces], counts)

    def _block(self, words: Sequence[str], lengths: np.ndarray) -> Splits:
        """Return the best splits of W words, each of at most n letters.

        The scores of all pieces are stored by end, start and word, in the order in which they are
        used: for each end e, the best splits up to all starts and the scores of all pieces between.
        """
        count, n = len(words), int(lengths.max())
        edges = list(self._edges(_letters_of(words, lengths)))
        longest = len(edges)  # letters of a piece in the words
        # At [e, longest - l, w] is the piece word[e - l : e] of word w. Its flat index is a sum of
        # `first`, for the place where it starts, and `step`, for its size.
        scores = np.full((n + 1, longest, count), -inf)
        ids = np.full(scores.shape, UNKNOWN, np.int32)
        first = (np.arange(n + 1) * longest * count + np.arange(count)[:, None]).ravel()
        for size, (places, nodes) in enumerate(edges, 1):
            step = size * longest * count + (longest - size) * count
            scores.ravel()[first[places] + step] = self._scores[nodes]
            ids.ravel()[first[places] + step] = self._ids[nodes]
        letters = scores[1:, -1]  # (n, W)
        letters[letters == -inf] = self._unknown
        best, sizes = np.zeros((n + 1, count)), np.zeros((n + 1, count), np.intp)
        for end in range(1, n + 1):
            with np.errstate(over="ignore", invalid="ignore"):  # inf - inf is NaN
                totals = best[max(end - longest, 0) : end] + scores[end, -end:]  # (starts, W)
            totals.max(0, out=best[end])
            sizes[end] = len(totals) - totals.argmax(0)  # of equal ones, the first start
        is_end = np.zeros((count, n + 1), bool)
        numbers, ends = np.arange(count), lengths
        while len(numbers):
            is_end[numbers, ends] = True
            ends = ends - sizes[ends, numbers]
            numbers, ends = numbers[ends > 0], ends[ends > 0]
        numbers, ends = np.nonzero(is_end)
        found = ids[ends, longest - sizes[ends, numbers], numbers]
        found[~np.isfinite(best[lengths[numbers], numbers])] = UNKNOWN  # beyond floats' range
        return Splits(found, ends, is_end.sum(1))

    def _edges(self, letters: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the beginnings of pieces in words, by size: place in `letters` and node of each.

        Args:
            letters (W, n + 1), int: the letters of each word, then `END`.
        """
        flat = letters.ravel()
        places = np.flatnonzero(flat != END)
        nodes = self._trie.roots(len(places))
        size = 0
        while len(places) or not size:  # those of one letter also if there are none
            nodes = self._trie.children(nodes, flat[places + size])
            kept = np.flatnonzero(nodes != NO_NODE)
            places, nodes = places[kept], nodes[kept]
            if len(places) or not size:
                yield places, nodes
            size += 1


def _letters_of(words: Sequence[str], lengths: np.ndarray) -> np.ndarray:
    """Return the code points of W words with `END` after them: (W, n + 1), int."""
    codes = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), "<u4")
    letters = np.full((len(words), int(lengths.max()) + 1), END, UINT64)
    letters[np.arange(letters.shape[1]) < lengths[:, None]] = codes
    return letters
