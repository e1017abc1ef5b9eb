"""Parity of byte-level BPE with Hugging Face's tokenizers and transformers.

The vocabulary is learned from installed documentation. The last tests assert each difference that
the docstring of `minibert.tokenization` lists.
"""

import json
import sys
import sysconfig
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minibert import AutoTokenizer
from minibert.tokenization import AddedToken, ByteLevelBPETokenizer, matching
from minibert.tokenization.byte_alphabet import ALPHABET, CHARACTERS
from minibert.tokenization.framing import BARE, BERT
from tests.tokenization.test_byte_level_bpe import SPECIAL
from tests.tokenization.test_parity import EVERY, HOSTILE, fields_of, peer_fields_of

pytestmark = pytest.mark.parity

TEXTS = st.text(
    st.sampled_from(EVERY) | st.sampled_from([*HOSTILE, *"¼²\u0e33\x1c\x1f\u180e"])
) | st.text(st.sampled_from("a'strevmld 12.\n"))
WRITTEN = st.lists(
    st.sampled_from(["<mask>", " <mask>", "<s>", "</s> ", "  ", " the", "the", "we'll", "It's"])
    | st.sampled_from(["<x>", " <x>\n", "foo", "xfoo", "foo_", " new  york", "new york", "\u3000"])
    | TEXTS
).map("".join)
ADDED = [
    AddedToken("new york"),
    AddedToken("foo", single_word=True),
    AddedToken("<x>", lstrip=True, rstrip=True, normalized=False, special=True),
    AddedToken("the", rstrip=True, normalized=False),
]
STEPS = [
    {"type": "NFKC"},
    {"type": "Replace", "pattern": {"String": "st"}, "content": "ab"},
    {"type": "Lowercase"},
    {"type": "Strip", "strip_left": True, "strip_right": False},
]
KINDS = [
    {},
    {"add_prefix_space": True},
    {"added": ADDED, "trim_offsets": False, "model_max_length": 77},
    {"added": ADDED, "add_prefix_space": True, "ignore_merges": True},
    {"template": BERT, "added": ADDED},
    {"template": BARE, "trim_offsets": False},
    {"normalizer": {"type": "NFC"}, "added": ADDED[2:]},
    {"normalizer": {"type": "Sequence", "normalizers": STEPS}, "add_prefix_space": True},
]


def documentation():
    """Return paragraphs of the Python files that are installed."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = []
    for name in ("argparse", "typing", "statistics", "textwrap", "locale", "decimal", "_pydecimal"):
        path = folder / f"{name}.py"
        if path.exists():
            texts += path.read_text("utf-8").split("\n\n")
    return [*texts, "Les élèves étaient là-bas. " * 9, "你好，世界 " * 9, "Привет, мир! " * 9]


def trained_by_peer(texts, size, **options):
    """Return the peer's tokenizer, and the content of its tokenizer.json."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    peer = Tokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(**options)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    peer.train_from_iterator(texts, trainer)
    return peer, json.loads(peer.to_str())


@pytest.fixture(scope="module")
def learned():
    """Return the pieces and the merges that the peer learns."""
    peer, content = trained_by_peer(documentation(), 2000, add_prefix_space=False)
    vocab = peer.get_vocab()
    return sorted(vocab, key=vocab.get), [tuple(m) for m in content["model"]["merges"]]


@pytest.fixture(scope="module", params=KINDS, ids=str)
def both(request, learned, tmp_path_factory):
    """Return our tokenizer and that of transformers, from one folder that we saved."""
    from transformers import AutoTokenizer as PeerTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    options = dict(request.param)
    added = options.pop("added", [])
    ByteLevelBPETokenizer(*learned, added_tokens=added, **options).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder), PeerTokenizer.from_pretrained(folder)


def without_unassigned(text):
    """Return a text without characters that `regex` and the peer may classify differently."""
    return "".join(c for c in text if unicodedata.category(c) != "Cn")


def test_the_alphabet_equals_the_peers():
    from tokenizers.pre_tokenizers import ByteLevel

    assert sorted(ByteLevel.alphabet()) == ALPHABET
    split = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    for c in ("a", " ", "\n", "é", "\xa0", "你", "🙂", "\x00", "\x7f", "\u07ff"):
        assert split(c)[0][0] == "".join(CHARACTERS[byte] for byte in c.encode())


@pytest.mark.parametrize("size", [400, 2000])
@pytest.mark.parametrize("add_prefix_space", [False, True])
def test_learned_merges_and_ids_equal_the_peers(size, add_prefix_space):
    texts = documentation()
    peer, content = trained_by_peer(texts, size, add_prefix_space=add_prefix_space)
    mine = ByteLevelBPETokenizer.train(texts, size, add_prefix_space=add_prefix_space)
    assert mine.merges == [tuple(merge) for merge in content["model"]["merges"]]
    assert dict(mine.vocab) == peer.get_vocab()


@settings(max_examples=100)
@given(st.lists(st.text(st.sampled_from("abé 1")), max_size=8))
def test_learned_merges_of_any_texts_equal_the_peers(texts):
    """Nearly all counts are tied."""
    peer, content = trained_by_peer(texts, 285, add_prefix_space=False)
    mine = ByteLevelBPETokenizer.train(texts, 285, exact=False)
    assert mine.merges == [tuple(merge) for merge in content["model"]["merges"]]
    assert dict(mine.vocab) == peer.get_vocab()


def test_saved_folder_has_equal_vocabulary_and_special_ids(both):
    mine, peer = both
    assert peer.get_vocab() == dict(mine.vocab)
    assert len(peer) == len(mine)
    for name in "pad", "unk", "cls", "sep", "mask", "bos", "eos":
        name = f"{name}_token_id"
        assert getattr(peer, name) == getattr(mine, name), name
    assert peer.model_input_names == list(mine.model_input_names)
    assert peer.model_max_length == (mine.model_max_length or peer.model_max_length)


KNOWN = [c for c in EVERY if unicodedata.category(c) != "Cn"]


@pytest.mark.slow
@pytest.mark.parametrize("add_prefix_space", [False, True])
def test_every_code_point_alone_inside_and_at_the_end_of_a_word(learned, add_prefix_space):
    mine = ByteLevelBPETokenizer(*learned, add_prefix_space=add_prefix_space)
    peer = peer_of(mine)
    for start in range(0, len(KNOWN), 500):
        text = "".join(f"x{c}y {c} xy{c} '{c}s {c}{c}" for c in KNOWN[start : start + 500])
        expected, found = peer.encode(text), mine.encode(text)
        assert found.input_ids == expected.ids
        assert found.offsets == expected.offsets
        assert found.word_ids == expected.word_ids
        ids, _ = mine.ids_of_batch([text])
        assert ids.tolist() == expected.ids[1:-1]


@pytest.mark.slow
def test_every_code_point_as_a_text(learned):
    mine = ByteLevelBPETokenizer(*learned)
    expected = peer_of(mine).encode_batch_fast(KNOWN, add_special_tokens=False)
    ids, lengths = mine.ids_of_batch(KNOWN)
    assert ids.tolist() == [i for encoding in expected for i in encoding.ids]
    assert lengths.tolist() == [len(encoding.ids) for encoding in expected]


@settings(max_examples=200)
@given(text=WRITTEN, pair=st.none() | WRITTEN, plain=st.booleans())
def test_encode_and_ids_of_any_text(both, text, pair, plain):
    mine, peer = both
    peer = peer.backend_tokenizer
    peer.no_truncation()
    peer.no_padding()
    text, pair = (None if t is None else without_unassigned(t) for t in (text, pair))
    peer.encode_special_tokens = plain
    expected = peer.encode(text, pair)
    found = mine.encode(text, pair, split_special_tokens=plain)
    assert fields_of(found) == peer_fields_of(expected)
    alone = peer.encode(text, add_special_tokens=False)
    assert mine.ids_of(text, split_special_tokens=plain).tolist() == alone.ids
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "FEW", 0)
        tokens = mine.tokens_of_batch([text, "", text], split_special_tokens=plain)
        ids, _ = mine.ids_of_batch([text, "", text], split_special_tokens=plain)
    assert ids.tolist() == tokens.ids.tolist() == alone.ids * 2
    if mine.template == BARE or mine.template == BERT or not mine.trim_offsets:
        return  # the frame trims the offsets
    offsets = [offset for offset in expected.offsets if pair is None][1:-1]
    assert pair is not None or tokens.offset_lists() == [offsets, [], offsets]


@given(
    text=WRITTEN.map(without_unassigned),
    pair=st.none() | WRITTEN.map(without_unassigned),
    max_length=st.integers(4, 12),
    truncation=st.sampled_from(["longest_first", "only_first", "only_second"]),
    stride=st.integers(0, 3),
)
def test_encode_windows_of_any_text(both, text, pair, max_length, truncation, stride):
    mine, peer = both
    peer = peer.backend_tokenizer
    peer.no_padding()
    peer.encode_special_tokens = False
    special = mine._frame.room(100, 1 if pair is None else 2)
    assume(stride < max_length - (100 - special))  # otherwise the peer refuses the options
    options = {"max_length": max_length, "truncation": truncation}
    try:
        found = mine.encode_windows(text, pair, stride=stride, **options)
    except ValueError as error:
        if "no room" in str(error) or (pair is None and truncation == "only_second"):
            return  # the peer makes longer windows, or refuses the text only if it is too long
        with pytest.raises(BaseException):  # noqa: B017, PT011, PT012 (Rust panics have no class)
            peer.enable_truncation(max_length, stride=stride, strategy=truncation)
            peer.encode(text, pair)
        return
    peer.enable_truncation(max_length, stride=stride, strategy=truncation)
    first = peer.encode(text, pair)
    expected = [peer_fields_of(each) for each in [first, *first.overflowing]]
    assert fields_of(mine.encode(text, pair, **options)) == expected[0]
    if not mine.add_prefix_space or not mine.trim_offsets:  # see the test of the difference
        assert [fields_of(each) for each in found] == expected


@given(
    texts=st.lists(WRITTEN.map(without_unassigned), min_size=1, max_size=4),
    padding=st.sampled_from(["longest", "max_length"]),
    multiple=st.sampled_from([None, 3]),
)
def test_encode_batch_of_any_texts(both, texts, padding, multiple):
    mine, peer = both
    peer.backend_tokenizer.encode_special_tokens = False
    options = {
        "padding": padding,
        "max_length": 9,
        "pad_to_multiple_of": multiple,
        "return_offsets_mapping": True,
        "return_special_tokens_mask": True,
    }
    expected = peer(
        texts, truncation=True, return_tensors="np", return_token_type_ids=True, **options
    )
    batch = mine.encode_batch(texts, **options)
    assert batch.keys() == expected.keys()
    for name in batch:
        if batch[name].size:  # an empty array of the peer has another shape
            assert np.array_equal(batch[name], expected[name]), name


@given(text=WRITTEN, skip=st.booleans())
def test_decode_of_any_text(both, text, skip):
    mine, peer = both
    ids = mine.encode(text).input_ids
    for clean_up in (False, True):
        expected = peer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=clean_up)
        assert mine.decode(ids, skip_special_tokens=skip, clean_up=clean_up) == expected


@pytest.mark.parametrize("kind", ["RobertaTokenizer", "GPT2Tokenizer"])
def test_folders_saved_by_transformers_are_read(learned, tmp_path, kind):
    import transformers

    pieces, merges = learned
    ids = {piece: i for i, piece in enumerate(pieces)}
    peer = getattr(transformers, kind)(vocab=ids, merges=merges)
    peer.save_pretrained(tmp_path)
    mine = AutoTokenizer.from_pretrained(tmp_path)
    assert type(mine) is ByteLevelBPETokenizer
    texts = ["It's the <mask> of  new york", " we'll", "<s>é</s>\n 你", ""]
    for text in texts:
        expected = peer(text, return_offsets_mapping=True)
        found = mine.encode(text)
        assert found.input_ids == expected["input_ids"]
        assert found.offsets == expected["offset_mapping"]
        assert mine.encode(text, "the").input_ids == peer(text, "the")["input_ids"]
    # The peer reads our files by its own class, too.
    mine.save_pretrained(tmp_path / "ours")
    again = getattr(transformers, kind).from_pretrained(tmp_path / "ours")
    assert [again(text)["input_ids"] for text in texts] == [
        peer(text)["input_ids"] for text in texts
    ]


# Differences.


def test_chunks_of_unassigned_characters_may_differ(learned):
    """`regex` knows the letters of another Unicode than the peer."""
    from tokenizers.pre_tokenizers import ByteLevel

    from minibert.tokenization.byte_chunks import chunks

    split = ByteLevel(add_prefix_space=False).pre_tokenize_str
    different = [c for c in EVERY if len(split(f"a{c}!")) != len(chunks(f"a{c}!"))]
    assert {unicodedata.category(c) for c in different} <= {"Cn"}
    assert len(different) < sys.maxunicode / 100


def test_offsets_of_further_windows_differ_with_a_prefix_space(learned):
    """The peer keeps the space before the first token of each window; ours, of the text."""
    from tokenizers import Tokenizer

    mine = ByteLevelBPETokenizer(*learned, add_prefix_space=True)
    content = mine.format.whole(mine, mine.saved_options(), {})
    peer = Tokenizer.from_str(json.dumps(content))
    peer.enable_truncation(3)
    (window,) = peer.encode("a b").overflowing
    assert window.offsets[1] == (1, 3)
    assert mine.encode_windows("a b", max_length=3)[1].offsets[1] == (2, 3)


def test_surrogates_are_bytes_which_the_peer_refuses(learned):
    mine = ByteLevelBPETokenizer(*learned)
    assert mine.decode(mine.ids_of("a\ud800b")) == "a\ufffd\ufffd\ufffdb"
    with pytest.raises((UnicodeEncodeError, TypeError)):
        peer_of(mine).encode("a\ud800b")


def test_decode_returns_the_text_of_an_added_token(learned):
    """The peer takes its characters for bytes."""
    mine = ByteLevelBPETokenizer(*learned, added_tokens=["é"])
    ids = mine.ids_of("é").tolist()
    assert mine.decode(ids) == "é"
    assert peer_of(mine).decode(ids) == "\ufffd"


def peer_of(mine):
    """Return the peer's tokenizer of our tokenizer.json."""
    from tokenizers import Tokenizer

    added = {mine.vocab[token.content]: token for token in mine.added_tokens}
    return Tokenizer.from_str(json.dumps(mine.format.whole(mine, mine.saved_options(), added)))


def test_a_file_of_the_shape_of_modernbert_opens_and_survives(tmp_path):
    """NFC, byte-level BPE, [CLS] A [SEP] B [SEP] without segments, added runs of spaces."""
    import tokenizers as hf

    peer = hf.Tokenizer(hf.models.BPE())
    peer.normalizer = hf.normalizers.NFC()
    peer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
    peer.decoder = hf.decoders.ByteLevel()
    trainer = hf.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    peer.train_from_iterator(["the cat sat on the mat", "a dog ran over there"] * 20, trainer)
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    peer.add_special_tokens(
        [hf.AddedToken(n, special=True, normalized=False, lstrip=n == "[MASK]") for n in special]
    )
    peer.add_tokens([hf.AddedToken(" " * n, normalized=True) for n in (8, 4, 2)])
    peer.post_processor = hf.processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0",
        special_tokens=[(name, peer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    peer.save(str(tmp_path / "tokenizer.json"))
    names = dict(zip(("unk_token", "cls_token", "sep_token", "pad_token", "mask_token"), special,
                     strict=True))  # fmt: skip
    stated = {**names, "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 8192,
              "model_input_names": ["input_ids", "attention_mask"]}  # fmt: skip
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(stated))
    own = AutoTokenizer.from_pretrained(tmp_path)
    assert own.pad_token_id == peer.token_to_id("[PAD]")
    own.save_pretrained(tmp_path / "again")
    for each in (own, AutoTokenizer.from_pretrained(tmp_path / "again")):
        for text in ("the cat  sat", "e\u0301 (x)    y        z", "a [MASK] ran", "", "  lead"):
            for pair in (None, "a dog"):
                expected = peer.encode(text, pair)
                found = each.encode(text, pair)
                assert list(found.input_ids) == expected.ids
                assert not np.any(found.token_type_ids)
