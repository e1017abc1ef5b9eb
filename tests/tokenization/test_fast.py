"""The cached path returns the tokens of the plain path, and its caches are bounded."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import AddedToken, UnigramTokenizer, WordPieceTokenizer, matching
from minibert.tokenization import fast as module
from minibert.tokenization.fast import BatchCache, BoundedCache
from minibert.tokenization.matching import Matcher
from minibert.tokenization.normalizer import Normalizer
from minibert.tokenization.vocabulary import Vocabulary
from tests.tokenization import test_byte_level_bpe, test_unigram
from tests.tokenization.test_normalizer import NORMALIZERS, TEXTS

LETTERS = [c for c in "aAß.,Σσς[]éi中x€" for c in (c, f"##{c}")]
PIECES = ["?", "[A]", "the", "##ss", *LETTERS]
ADDED = [
    AddedToken("[A]", normalized=False, special=True),
    AddedToken("Σ", rstrip=True, lstrip=True, normalized=False),
    AddedToken("xx", single_word=True, normalized=False),
    AddedToken("a a"),
    AddedToken("É"),
]
MATCHERS = st.builds(
    lambda normalizer, longest: Matcher(Vocabulary(PIECES), normalizer, 0, longest),
    NORMALIZERS,
    st.sampled_from([2, 100]),
)
WRITTEN = st.lists(TEXTS | st.sampled_from(["[A]", " ", "xx", "a a", "the", "  É"])).map("".join)


@given(MATCHERS, st.lists(st.sampled_from(ADDED)), st.lists(WRITTEN, max_size=3), st.booleans())
def test_tokens_and_ids_equal_plain_tokens(matcher, added, texts, keep_special):
    matcher.add(added)
    for text in texts * 2:  # with empty caches, then with filled ones
        plain = matcher.plain_tokens(text, keep_special)
        tokens = matcher.tokens(text, keep_special)
        assert tokens.dtype == np.int32
        assert tokens[:, :3].tolist() == [[i, start, end] for i, start, end, _ in plain]
        assert tokens[:, 3].tolist() == (np.cumsum([t.begins_word for t in plain]) - 1).tolist()
        ids = matcher.ids(text, keep_special)
        assert ids.dtype == np.int32
        assert ids.tolist() == [token.id for token in plain]


@given(
    MATCHERS,
    st.lists(st.sampled_from(ADDED)),
    st.lists(WRITTEN, max_size=6),
    st.booleans(),
    st.sampled_from([1, 5, 1 << 17]),
    st.sampled_from([0, 10]),
    st.sampled_from([1.3, 9]),
)
def test_batches_equal_single_texts(matcher, added, texts, keep_special, length, few, few_ascii):
    matcher.add(added)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "BLOCK_LENGTH", length)
        patch.setattr(matching, "FEW", few)
        patch.setattr(module, "FEW_ASCII", few_ascii)
        for _ in range(2):  # with an empty table, then with a filled one
            for single, batch in (
                (matcher.ids, matcher.ids_of_batch),
                (matcher.tokens, matcher.tokens_of_batch),
            ):
                expected = [single(text, keep_special) for text in texts]
                found, lengths = batch(texts, keep_special)
                assert found.dtype == np.int32
                assert found.tolist() == [row for rows in expected for row in rows.tolist()]
                assert lengths.tolist() == [len(rows) for rows in expected]


def test_tokens_and_ids_find_special_tokens_if_kept():
    matcher = Matcher(Vocabulary(PIECES), Normalizer(), 0, 9)
    for added in ADDED[0], AddedToken("a a", special=True):
        matcher.add([added])
        text = added.content
        for keep_special, expected in (
            ((), [matcher.vocab[text]]),
            ((False,), matcher.fast.ids(text).tolist()),
        ):
            assert [token.id for token in matcher.plain_tokens(text, *keep_special)] == expected
            assert matcher.tokens(text, *keep_special)[:, 0].tolist() == expected
            assert matcher.ids(text, *keep_special).tolist() == expected


def test_tokens_of_decomposed_letters_keep_their_positions():
    matcher = Matcher(Vocabulary(PIECES), Normalizer(strip_accents=False), 0, 9)
    assert matcher.tokens("İ.a")[:, 1:3].tolist() == [[0, 1], [1, 2], [2, 3]]
    stripped = Matcher(Vocabulary(PIECES), Normalizer(), 0, 9)
    assert stripped.tokens("한.a")[:, 1:3].tolist() == [
        [0, 1],
        [1, 2],
        [2, 3],
    ]  # 한 has three letters


@given(MATCHERS, WRITTEN)
def test_tokens_have_ascending_offsets_that_cover_the_text(matcher, text):
    tokens = matcher.tokens(text)
    assert (tokens[:, 1] < tokens[:, 2]).all()
    assert (np.diff(tokens[:, 1]) >= 0).all()
    assert not len(tokens) or (tokens[0, 3] == 0 and set(np.diff(tokens[:, 3])) <= {0, 1})
    for i, start, end, _ in tokens.tolist():
        if matcher.normalizer == Normalizer(False, False, False) and i != matcher.unk_id:
            kept = matcher.normalizer.normalize(text[start:end])
            assert kept.replace(" ", "") == PIECES[i].removeprefix("##")


def test_bounded_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "CACHE_ENTRIES", 10)
    calls = []

    def function(text):
        calls.append(text)
        return text.encode()

    cache = BoundedCache(function)
    for i in range(25):
        assert cache[str(i)] == str(i).encode()
        assert len(cache) <= 10
    assert cache["24"] == b"24"
    assert calls == [str(i) for i in range(25)]
    for length, kept in (module.CACHE_TEXT_LENGTH, True), (module.CACHE_TEXT_LENGTH + 1, False):
        assert cache["x" * length] == b"x" * length
        assert ("x" * length in cache) is kept


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_caches_are_pickled_and_copied_without_their_entries(protocol):
    alone, together = BoundedCache(str.encode), BatchCache(bytes_of)
    for cache in alone, together:
        empty = pickle.dumps(cache, protocol)
        for i in range(200):
            assert cache[str(i)] == str(i).encode()
        assert pickle.dumps(cache, protocol) == empty
        for again in pickle.loads(empty), copy.copy(cache), copy.deepcopy(cache):
            assert type(again) is type(cache)
            assert not again
            assert again["new"] == b"new"
        assert len(cache) == 200
    assert pickle.loads(pickle.dumps(together, protocol)).many(["a", "b"]) == [b"a", b"b"]


def bytes_of(texts):
    return [text.encode() for text in texts]


@pytest.mark.parametrize("kind", ["WordPiece", "byte-level BPE", "Unigram"])
def test_a_tokenizer_is_pickled_without_what_it_has_read(kind):
    """A worker was sent megabytes of old results."""
    tokenizer = {
        "WordPiece": lambda: WordPieceTokenizer(
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "b", "##b"]
        ),
        "byte-level BPE": test_byte_level_bpe.make,
        "Unigram": lambda: UnigramTokenizer(test_unigram.VOCABULARY),
    }[kind]()
    before = len(pickle.dumps(tokenizer))
    read(tokenizer, 500)
    assert len(pickle.dumps(tokenizer)) < before + 1000  # empty caches that were made meanwhile


def read(tokenizer, count):
    texts = [f"{i:b} é {i}".replace("0", "a").replace("1", "b") for i in range(count)]
    tokenizer.ids_of_batch(texts)
    for text in texts:
        tokenizer.encode(text)
        tokenizer.ids_of(text)


@pytest.mark.parametrize("limit", [1, 3])
def test_tokens_do_not_depend_on_the_size_of_the_cache(monkeypatch, limit):
    texts = ["a the x. [A] ß, a", "x. x. the the, a", "中a. a.x x,a"] * 2
    expected = [Matcher(Vocabulary(PIECES), Normalizer(), 0, 9).tokens(text) for text in texts]
    monkeypatch.setattr(module, "CACHE_ENTRIES", limit)
    matcher = Matcher(Vocabulary(PIECES), Normalizer(), 0, 9)
    for text, tokens in zip(texts, expected, strict=True):
        assert (matcher.tokens(text) == tokens).all()
        assert (matcher.ids(text) == tokens[:, 0]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["x" * 10**7, "\u0301\u0323" * 10**6, "中" * 10**6, "\x00" * 10**6, "\ud800 a" * 10**5]
)
def test_ids_of_handles_huge_unusual_texts(text):
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "中"])
    expected = {"x": [1], "\u0301": [], "中": [6] * 10**6, "\x00": [], "\ud800": [5] * 10**5}
    assert tokenizer.ids_of(text).tolist() == expected[text[0]]
