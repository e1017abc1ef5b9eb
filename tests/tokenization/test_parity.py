"""The same words and ids as Hugging Face's tokenizers and transformers.

One difference is known, and left out here: `tokenizers` carries the tables of about Unicode 8, so
it doesn't know later punctuation, marks and capitals, and files a few older characters otherwise.
"""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import Normalizer, WordPieceTokenizer

pytestmark = pytest.mark.parity

SWITCHES = [
    {"do_lower_case": True},
    {"do_lower_case": False},
    {"do_lower_case": True, "strip_accents": False},
    {"do_lower_case": False, "strip_accents": True},
    {"tokenize_chinese_chars": False},
]
# Of Unicode 3.2, and not since reclassified.
OLD = [
    chr(c)
    for c in range(sys.maxunicode + 1)
    if unicodedata.ucd_3_2_0.category(chr(c)) == unicodedata.category(chr(c)) not in ("Cn", "Cs")
]
HOSTILE = list("aAß.,'#Σσς\t\n\r\x00\x0b\x0c\x1c\x85\xa0\u2028\u3000\u200b\u0301éİıﬁ中々\ufffd[]€$")
TEXTS = st.text(st.one_of(st.sampled_from(OLD), st.sampled_from(HOSTILE), st.sampled_from("ab ")))
WRITTEN = st.lists(
    st.sampled_from(["[MASK]", "[CLS]", "[mask]", "[", "the", "cats", "Été", ".", " ", "q" * 101])
    | TEXTS
).map("".join)


def peer_words(options):
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    normalizer = BertNormalizer(
        clean_text=True,
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        strip_accents=options.get("strip_accents"),
        lowercase=options.get("do_lower_case", True),
    )
    cutter = BertPreTokenizer()
    return lambda text: [
        word for word, _ in cutter.pre_tokenize_str(normalizer.normalize_str(text))
    ]


@pytest.fixture(scope="module", params=SWITCHES, ids=str)
def both(request, tmp_path_factory):
    """Our tokenizer and transformers', from one folder."""
    from transformers import AutoTokenizer

    letters = [c for c in HOSTILE + list("abeosthcx") if not c.isspace()]
    pieces = ["the", "cat", "##s", "mask", "##ss", "été", *letters, *("##" + c for c in letters)]
    pieces = [piece for piece in dict.fromkeys(pieces) if "\0" not in piece]
    # The special tokens are not where one expects them.
    pieces = ["[PAD]", *pieces[:10], "[UNK]", "[CLS]", *pieces[10:], "[MASK]", "[SEP]"]
    mine = WordPieceTokenizer(pieces, model_max_length=77, **request.param)
    assert (mine.pad_token_id, mine.unk_token_id, mine.cls_token_id) == (0, 11, 12)
    folder = tmp_path_factory.mktemp("tokenizer")
    mine.save_pretrained(folder)
    return WordPieceTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("options", SWITCHES, ids=str)
def test_every_old_character_is_treated_alike(options):
    mine, peer = Normalizer(**options).words, peer_words(options)
    assert [c for c in OLD if mine(f"x{c}y {c}") != peer(f"x{c}y {c}")] == []


@pytest.mark.parametrize("options", SWITCHES, ids=str)
@given(text=TEXTS)
def test_words(options, text):
    assert Normalizer(**options).words(text) == peer_words(options)(text)


def test_the_folder_means_the_same(both):
    mine, peer = both
    assert peer.get_vocab() == dict(mine.vocab)
    assert peer.model_max_length == mine.model_max_length == 77
    for name in "pad", "unk", "cls", "sep", "mask":
        name = f"{name}_token_id"
        assert getattr(peer, name) == getattr(mine, name)


@given(text=WRITTEN)
def test_ids(both, text):
    mine, peer = both
    assert mine.tokenize(text) == peer.tokenize(text)
    assert mine.encode(text).input_ids == peer(text)["input_ids"]
    assert mine.ids_of(text).tolist() == peer(text, add_special_tokens=False)["input_ids"]


@given(text=WRITTEN, pair=st.none() | WRITTEN, max_length=st.integers(3, 16))
def test_pairs_and_truncation(both, text, pair, max_length):
    mine, peer = both
    # In lists: alone, transformers takes an empty second text for none.
    pairs = None if pair is None else [pair]
    expected = peer([text], pairs, truncation="longest_first", max_length=max_length)
    encoding = mine.encode(text, pair, max_length=max_length)
    assert encoding.input_ids == expected["input_ids"][0]
    assert encoding.token_type_ids == expected["token_type_ids"][0]
    assert encoding.attention_mask == expected["attention_mask"][0]


@given(texts=st.lists(WRITTEN, min_size=1, max_size=4))
def test_batches(both, texts):
    mine, peer = both
    expected = peer(texts, padding="longest", truncation=True, max_length=9, return_tensors="np")
    batch = mine.encode_batch(texts, max_length=9)
    for name in "input_ids", "token_type_ids", "attention_mask":
        assert (batch[name] == expected[name]).all()


@given(text=WRITTEN, skip=st.booleans())
def test_decoding(both, text, skip):
    from tokenizers.decoders import WordPiece

    mine, peer = both
    peer.backend_tokenizer.decoder = WordPiece(cleanup=False)
    ids = mine.encode(text).input_ids
    for clean_up in True, False:
        assert mine.decode(ids, skip_special_tokens=skip, clean_up=clean_up) == peer.decode(
            ids, skip_special_tokens=skip, clean_up_tokenization_spaces=clean_up
        )


def test_special_tokens_as_plain_text(both):
    mine, peer = both
    peer.backend_tokenizer.encode_special_tokens = True
    try:
        for text in "[MASK] the", "a[SEP]b[CLS]", "[PAD]":
            expected = peer.backend_tokenizer.encode(text, add_special_tokens=False).ids
            assert mine.ids_of(text, split_special_tokens=True).tolist() == expected
    finally:
        peer.backend_tokenizer.encode_special_tokens = False
