"""The cached path of the Unigram tokenizer returns the tokens of the plain path."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.tokenization import AddedToken, lattice, matching
from minibert.tokenization.metaspace import Metaspace
from minibert.tokenization.unigram import UnigramTokenizer
from tests.tokenization.spm_files import precompiled

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
PIECES = ["▁", "▁a", "a", "b", "ab", "▁the", "the", "é", "fi", ".", "..", "▁b", "e", "x▁", "\u0301"]
VOCABULARY = [(p, 0.0) for p in SPECIAL] + [(p, -1.5 - i % 7) for i, p in enumerate(PIECES)]
VOCABULARY += [("<mask>", 0.0)]
TABLE = {
    "…": "...",
    "ﬁ": "fi",
    "e\u0301": "é",
    "\u200b": "",
    "\t": " ",
    "¨": " \u0301",
    "\u3000": " ",
    "Z": "▁",
    "Q": "x",
    "b\u0301": " b",
}
RUN = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}
STEPS = {
    "none": None,
    "table": precompiled(TABLE),
    "converted": {
        "type": "Sequence",
        "normalizers": [
            precompiled(TABLE),
            {"type": "Strip", "strip_left": False, "strip_right": True},
            RUN,
        ],
    },
    "many": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Nmt"},
            {"type": "Replace", "pattern": {"String": "x"}, "content": " "},
            {"type": "Replace", "pattern": {"String": "``"}, "content": ""},
            {"type": "Lowercase"},
            {"type": "NFD"},
            {"type": "Strip", "strip_left": True, "strip_right": True},
        ],
    },
    "space": {"type": "Replace", "pattern": {"String": "a b"}, "content": "x"},
    "space in the table": precompiled({" a": "b", " ": ""}),
    "first replaced": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Replace", "pattern": {"String": "``"}, "content": "x\x1f"},
            {"type": "Replace", "pattern": {"String": "e"}, "content": "fi"},
            {"type": "NFKC"},
            {"type": "Replace", "pattern": {"String": "fi"}, "content": "b"},
        ],
    },
    "prepend": {"type": "Prepend", "prepend": "x"},
}
SPLITS = [
    Metaspace(splits, scheme, split)
    for splits in (True, False)
    for scheme in ("always", "first", "never")
    for split in (True, False)
] + [Metaspace(False, scheme, splits_punctuation=True) for scheme in ("always", "first")]
TEXTS = st.text(
    st.sampled_from("ab theé.  ")
    | st.sampled_from("…ﬁ\u0301\u200b\t\n\0¨\u3000ZQx`▁\u0600\u200dÉ_")
)
WRITTEN = st.lists(TEXTS | st.sampled_from(["<mask>", "the", " ", "foo", "a b"])).map("".join)
ADDED = [AddedToken("foo"), AddedToken("É", normalized=False)]


@cache
def matcher_of(steps, metaspace, added):
    tokenizer = UnigramTokenizer(
        VOCABULARY, normalizer=STEPS[steps], metaspace=metaspace, added_tokens=ADDED[added:]
    )
    return tokenizer._matcher


@settings(max_examples=60, deadline=None)
@given(
    st.builds(matcher_of, st.sampled_from([*STEPS]), st.sampled_from(SPLITS), st.integers(0, 2)),
    st.lists(WRITTEN, max_size=3),
)
def test_tokens_and_ids_equal_plain_tokens(matcher, texts):
    for text in texts * 2:  # with empty caches, then with filled ones
        plain = matcher.plain_tokens(text)
        tokens = matcher.tokens(text)
        assert tokens.dtype == np.int32
        assert tokens[:, :3].tolist() == [[i, start, end] for i, start, end, _ in plain]
        assert tokens[:, 3].tolist() == (np.cumsum([t.begins_word for t in plain]) - 1).tolist()
        assert matcher.ids(text).tolist() == [token.id for token in plain]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "FEW", 0)
        patch.setattr(lattice, "FEW", 1)
        for single, batch in (
            (matcher.ids, matcher.ids_of_batch),
            (matcher.tokens, matcher.tokens_of_batch),
        ):
            expected = [single(text) for text in texts]
            found, lengths = batch(texts)
            assert found.tolist() == [row for rows in expected for row in rows.tolist()]
            assert lengths.tolist() == [len(rows) for rows in expected]


def test_chunks_are_cut_before_single_spaces_between_words():
    chunks = matcher_of("table", Metaspace(), 0).fast._cutter.chunks
    assert chunks("the a, …e") == ["the", " a,", " …e"]
    assert chunks("the  a e\n") == ["the  a", " e\n"]
    assert chunks("a \u0301e c") == ["a \u0301e", " c"]
    assert chunks("a\u200b e ¨ c") == ["a\u200b e ¨ c"]
    assert chunks("a b c") == ["a b c"]  # the table contains b, with a mark, and a space for it
    assert chunks("a \u0600 e") == ["a \u0600 e"]
    assert chunks("a\0 e c") == ["a\0 e c"]
    assert chunks("") == []


@pytest.mark.parametrize("metaspace", SPLITS)
def test_a_batch_has_the_ids_of_its_texts_whose_words_are_marks(metaspace, monkeypatch):
    monkeypatch.setattr(matching, "FEW", 0)
    matcher = matcher_of("none", metaspace, 1)
    texts = ["a . b ...", ". . a", "the .", ""]
    expected = np.concatenate([matcher.ids(text) for text in texts])
    np.testing.assert_array_equal(matcher.ids_of_batch(texts)[0], expected)


def test_caches_are_bounded(monkeypatch):
    from minibert.tokenization import fast

    monkeypatch.setattr(fast, "CACHE_ENTRIES", 3)
    tokenizer = UnigramTokenizer(VOCABULARY)
    tokenizer.ids_of(" ".join("abcdefgh"))
    tokenizer.ids_of("a" * 100)
    path = tokenizer._matcher.fast
    assert len(path._ids) <= 3
    assert "a" * 100 not in path._ids
