"""The search of many words at once finds the splits of the search of one word."""

import pickle
from array import array

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minibert.tokenization import batch_lattice, lattice
from minibert.tokenization.batch_lattice import NO_NODE, ArrayTrie
from minibert.tokenization.lattice import Lattice

PIECES = ["a", "b", "ab", "ba", "aab", "abab", "bbb", "c", "cab", "bé", "▁", "▁a", "<0xC3>", "uv"]
# Sums of tenths are rounded, so the order of additions decides between equal splits.
SCORES = st.lists(
    st.integers(-30, 3).map(lambda tenths: tenths / 10) | st.sampled_from([-1e308, 1e308]),
    min_size=len(PIECES),
    max_size=len(PIECES),
)
WORDS = st.lists(st.text("abcé▁uvx\U0001f44d\ud800", max_size=12))


@example([1e308] * len(PIECES), [["aab", "aaaab"]], False, 100)  # sums are inf, or NaN
@given(SCORES, st.lists(WORDS, max_size=2), st.booleans(), st.sampled_from([1, 100, 1 << 17]))
def test_split_words_and_their_ids_are_those_of_split_word(scores, batches, fallback, room):
    ids = {piece: i for i, piece in enumerate(PIECES)}
    ours = Lattice(dict(zip(PIECES, scores, strict=True)), ids, 4, byte_fallback=fallback)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lattice, "FEW", 1)
        patch.setattr(lattice, "LONGEST_WORD", 9)
        patch.setattr(batch_lattice, "BLOCK_SCORES", max(room, 16))
        for words in batches:
            expected = list(map(ours.split_word, words))
            assert ours.split_words(words) == expected
            packed = [array("i", [i for i, _ in pieces]).tobytes() for pieces in expected]
            assert ours.ids_of_words(words) == packed
            ours.leave_out({"ab"})  # the next words are split without it


def test_many_words_are_split_together():
    ours = Lattice({"a": -1.0, "b": -1.0}, {"a": 0, "b": 1}, 9)
    ours.split_word = None
    assert ours.split_words(["ab"] * lattice.FEW) == [[(0, 1), (1, 2)]] * lattice.FEW
    with pytest.raises(TypeError):
        ours.split_words(["ab"])


def test_pickle_leaves_the_arrays_out():
    ours = Lattice({"a": -1.0, "b": -1.0}, {"a": 0, "b": 1}, 9)
    fresh = pickle.dumps(ours)
    words = ["ab"] * lattice.FEW
    expected = ours.split_words(words)
    assert pickle.dumps(ours) == fresh
    assert pickle.loads(fresh).split_words(words) == expected


class NumPy32:
    """NumPy as it is where integers have 32 bits, unless another size is asked for."""

    intp = np.int32

    def __getattr__(self, name):
        return getattr(np, name)

    def full(self, shape, value, dtype=None):
        return np.full(shape, value, np.int32 if type(value) is int and dtype is None else dtype)

    def arange(self, *bounds):
        return np.arange(*bounds, dtype=np.int32)


def test_array_trie_needs_no_integers_of_64_bits_by_default(monkeypatch):
    texts = ["a", "ab", "b", "ba", "bab", "\U0010ffff"]
    expected = ArrayTrie(texts)
    monkeypatch.setattr(batch_lattice, "np", NumPy32())
    trie = ArrayTrie(texts)
    assert trie.nodes.dtype == np.int64
    np.testing.assert_array_equal(trie.nodes, expected.nodes)
    found = trie.children(trie.roots(2), np.array([ord("b"), ord("c")], np.int32))
    assert found.tolist() == [trie.nodes[2], NO_NODE]
    assert trie.children(found[:1], np.array([ord("a")], np.int32)) == trie.nodes[3]


@given(st.sets(st.text("abc\U0010ffff", min_size=1, max_size=4)), st.sampled_from([1, 4]))
def test_array_trie_contains_all_beginnings_and_nothing_else(texts, spread):
    texts = sorted({text[:end] for text in texts for end in range(1, len(text) + 1)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_lattice, "SPREAD", spread)
        trie = ArrayTrie(texts)
    nodes = {"": trie.root, **dict(zip(texts, trie.nodes.tolist(), strict=True))}
    for text, node in nodes.items():
        for char in "abcd\U0010ffff":
            (child,) = trie.children(np.array([node], np.int64), np.array([ord(char)]))
            assert child == nodes.get(text + char, NO_NODE)
