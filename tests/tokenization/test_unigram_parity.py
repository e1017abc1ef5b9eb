"""Parity of the Unigram tokenizer with Hugging Face's tokenizers and transformers.

The model is trained by `tokenizers` on the text of installed packages. The normalizer table is a
small one of our own, and SentencePiece's `nmt_nfkc` if its package is installed.
"""

import base64
import json
import string
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minibert.tokenization import AddedToken, AutoTokenizer, UnigramTokenizer, matching
from minibert.tokenization.steps import StepNormalizer
from minibert.tokenization.unicode_forms import is_normal
from tests.tokenization.spm_files import precompiled, spm_model
from tests.tokenization.test_parity import EVERY, drop_unassigned, fields_of, peer_fields_of

pytestmark = pytest.mark.parity

TABLE = {
    "…": "...",
    "ﬁ": "fi",
    "e\u0301": "é",
    "a\u0302\u0301": "ấ",
    "\u200b": "",
    "\x01": "",
    "\t": " ",
    "\n": " ",
    "\u3000": " ",
    "¨": " \u0308",
    "Ａ": "A",
    "＿": "_",
    "\r\n": " ",
    "\u0600a": "b",
    "Z": "▁",
}
CONVERTED = [
    {"type": "Strip", "strip_left": False, "strip_right": True},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
]
OTHERS = [
    {"type": "Nmt"},
    {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
    {"type": "Replace", "pattern": {"Regex": r"\s{2,}|[\n\r\t]"}, "content": " "},
    {"type": "Lowercase"},
    {"type": "NFD"},
    {"type": "Strip", "strip_left": True, "strip_right": True},
]
PREPENDED = [
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
]
ALBERT = [
    {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
    {"type": "Replace", "pattern": {"String": "''"}, "content": '"'},
    {"type": "NFKD"},
    {"type": "StripAccents"},
    {"type": "Lowercase"},
]
PAIRS = {}
SPLIT = {"type": "WhitespaceSplit"}
PUNCTUATION = {"type": "Punctuation", "behavior": "Isolated"}


def metaspace(scheme="always", split=True):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}


def sequence(kind, parts):
    return parts[0] if len(parts) == 1 else {"type": "Sequence", kind: parts}


def real_table():
    """Return SentencePiece's table for machine translation (NFKC), or ours."""
    spec = find_spec("sentencepiece")
    if spec is None:
        return precompiled(TABLE)
    path = Path(spec.submodule_search_locations[0]) / "package_data" / "nmt_nfkc.bin"
    table = base64.b64encode(path.read_bytes()).decode()
    return {"type": "Precompiled", "precompiled_charsmap": table}


NEVER = "\u0378"  # not assigned, so no text here contains it
# Normalizer, pre-tokenizer, byte fallback.
KINDS = {
    "xlm-roberta": ([real_table()], [SPLIT, metaspace()], False),
    "our table": ([precompiled(TABLE)], [SPLIT, metaspace()], False),
    "converted": ([real_table(), *CONVERTED], [metaspace()], False),
    "bytes": ([precompiled(TABLE), *CONVERTED], [metaspace("first")], True),
    "never": (OTHERS, [SPLIT, metaspace("never")], False),
    "unsplit": (OTHERS[:3], [metaspace("first", False)], False),
    "composed": ([{"type": "NFC"}, *CONVERTED], [metaspace()], False),
    "compatible": ([*OTHERS[1:4], {"type": "NFKC"}, *CONVERTED[1:]], [SPLIT, metaspace()], False),
    "decomposed": ([{"type": "NFKD"}, real_table()], [SPLIT, metaspace()], False),
    "albert": (ALBERT, [SPLIT, metaspace()], False),
    "albert with accents": ([*ALBERT[:2], ALBERT[4], real_table()], [SPLIT, metaspace()], False),
    "albert unsplit": (ALBERT[1:4], [metaspace("never", False)], False),
    "prepended": (PREPENDED, [metaspace("never")], True),
    "first": (OTHERS[:3], [SPLIT, metaspace("first")], True),
    "deberta": ([*OTHERS[2:3], {"type": "NFC"}, CONVERTED[0]], [metaspace()], False),
    "deberta by transformers 4": (
        [OTHERS[5], real_table(), {**CONVERTED[1], "content": " "}],
        [metaspace()],
        False,
    ),
    "punctuation": ([OTHERS[3], *CONVERTED], [PUNCTUATION, metaspace()], False),
    "punctuation, first": (OTHERS[:3], [PUNCTUATION, metaspace("first")], True),
}
ADDED = [
    AddedToken("new york"),
    AddedToken("foo", single_word=True),
    AddedToken("<x>", lstrip=True, rstrip=True, normalized=False, special=True),
    AddedToken("ﬁb"),
]
ODD = "…ﬁ\u0301\u0302\u200b\x01\t\r\n\u3000¨Ａ＿Z▁\u0600\u200dÉé_\0`´½ｶﾞ각👍🏽中ก"
ODD += "\u0e33\u0915\u094d\xa0\u2028"
TEXTS = st.text(
    st.sampled_from("abest  ")
    | st.sampled_from(ODD)
    | st.characters(exclude_categories=["Cs", "Cn"])
)
WRITTEN = st.lists(
    st.sampled_from(["<mask>", " ", "the", " token", "<x>", "new york", "foo", "</s>", "ﬁb", "`"])
    | st.sampled_from(
        ["def ", "__init__", "  ", "return", "<unk>", "\n", "``", "''", "\u0301", "Ｅ\u0301"]
    )
    | TEXTS
).map(lambda parts: drop_unassigned("".join(parts)))


@pytest.fixture(scope="module")
def vocab():
    """Return the pieces and scores of a model trained by `tokenizers`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    peer = Tokenizer(models.Unigram())
    peer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    trainer = trainers.UnigramTrainer(
        vocab_size=800, unk_token="<unk>", special_tokens=["<unk>"], initial_alphabet=list("éàü中")
    )
    folder = Path(find_spec("hypothesis").submodule_search_locations[0])
    texts = [path.read_text("utf-8") for path in sorted(folder.glob("*.py"))]
    peer.train_from_iterator([text[:20_000] for text in texts], trainer)
    learned = json.loads(peer.to_str())["model"]["vocab"]
    return [[p, s] for p, s in learned if p != "<unk>"]


class Tokenizers(tuple):
    """Several tokenizers; Hypothesis prints them shortly."""

    __slots__ = ()

    def __repr__(self):
        return "tokenizers"


def whole_of(vocab, kind):
    """Return the content of tokenizer.json."""
    steps, split, fallback = KINDS[kind]
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [[p, 0.0] for p in first] + vocab
    if fallback:
        pieces += [[f"<0x{byte:02X}>", 0.0] for byte in range(256) if byte != 0xF0]
    pieces += [["<mask>", 0.0]]
    flags = {"single_word": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": i, "content": p, "lstrip": False, **flags} for i, p in enumerate(first)]
    added += [{"id": len(pieces) - 1, "content": "<mask>", **flags, "lstrip": True}]
    ends = [{"SpecialToken": {"id": token, "type_id": 0}} for token in ("<s>", "</s>")]
    texts = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": sequence("normalizers", steps),
        "pre_tokenizer": sequence("pretokenizers", split),
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [ends[0], texts[0], ends[1]],
            "pair": [ends[0], texts[0], ends[1], ends[1], texts[1], ends[1]],
            "special_tokens": {
                token: {"id": token, "ids": [i], "tokens": [token]}
                for token, i in (("<s>", 0), ("</s>", 2))
            },
        },
        "decoder": split[-1],
        "model": {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": fallback},
    }


def opened(whole):
    """Return our tokenizer and that of `tokenizers` from the text of tokenizer.json."""
    from tokenizers import Tokenizer

    with TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.json").write_text(whole, "utf-8")
        return UnigramTokenizer.from_pretrained(folder), Tokenizer.from_str(whole)


def pair_of(vocab, kind):
    """Return both tokenizers of a kind; made once."""
    if kind not in PAIRS:
        PAIRS[kind] = opened(json.dumps(whole_of(vocab, kind)))
    return PAIRS[kind]


def blind(whole):
    """Return tokenizer.json with special pieces that no text contains."""
    special = {token["content"] for token in whole["added_tokens"] if token["special"]}
    vocab = [[NEVER + p if p in special else p, s] for p, s in whole["model"]["vocab"]]
    added = [
        {**token, "content": NEVER + token["content"] if token["special"] else token["content"]}
        for token in whole["added_tokens"]
    ]
    return {**whole, "added_tokens": added, "model": {**whole["model"], "vocab": vocab}}


@pytest.fixture(
    scope="module", params=[*KINDS, "xlm-roberta with added tokens", "first with added"]
)
def both(request, vocab, tmp_path_factory):
    """Return our tokenizer and those of `tokenizers`: read from one file, and saved by us.

    For each `plain`, whether special tokens are plain text, there are two: our special tokens are
    never pieces, so the peers of `plain` have others that no text contains.
    """
    from tokenizers import Tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    whole = whole_of(vocab, request.param.split(" with")[0])
    (folder / "tokenizer.json").write_text(json.dumps(whole), "utf-8")
    mine = UnigramTokenizer.from_pretrained(folder)
    peer = Tokenizer.from_str(json.dumps(whole))
    if "with" in request.param:
        from tokenizers import AddedToken as PeerToken

        mine.add_tokens(ADDED)
        names = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
        for token in ADDED:
            peer.add_tokens([PeerToken(**{name: getattr(token, name) for name in names})])
    mine.save_pretrained(folder / "again")
    again = json.loads((folder / "again" / "tokenizer.json").read_text("utf-8"))
    seeing = [peer, Tokenizer.from_str(json.dumps(again))]
    blinded = [Tokenizer.from_str(json.dumps(blind(json.loads(peer.to_str()))))]
    blinded += [Tokenizer.from_str(json.dumps(blind(again)))]
    return Tokenizers((mine, seeing, blinded))


def begins_with_dropped(tokenizer, *texts, plain=False):
    """Return whether a table drops the first characters of a part; see the test of that."""
    if not tokenizer.normalizer.table:
        return False
    split = tokenizer._matcher.in_text.split
    letters = tokenizer.normalizer.letters
    parts = [
        text[start:end]
        for text in texts
        for start, end, i in split(text or "", keep_special=not plain)
        if i is None
    ]
    return any(letter.start > 0 for part in parts for letter in letters(part)[:1])


@settings(max_examples=100, deadline=None)
@given(text=WRITTEN, pair=st.none() | WRITTEN, plain=st.booleans())
def test_encode_and_ids_of_any_text(both, text, pair, plain):
    mine, seeing, blinded = both
    peers = blinded if plain else seeing
    assume(not begins_with_dropped(mine, text, pair, plain=plain))
    for peer in peers:
        peer.no_truncation()
        peer.no_padding()
        expected = peer.encode(text, pair)
        found = mine.encode(text, pair, split_special_tokens=plain)
        assert fields_of(found) == peer_fields_of(expected)
    ids = peers[0].encode(text, add_special_tokens=False).ids
    assert mine.ids_of(text, split_special_tokens=plain).tolist() == ids
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "FEW", 0)
        tokens = mine.tokens_of_batch([text, "", text], split_special_tokens=plain)
    offsets = peers[0].encode(text, add_special_tokens=False).offsets
    assert tokens.ids.tolist() == ids * 2
    assert tokens.offset_lists() == [offsets, [], offsets]


@given(dropped=st.text("\u200b\x01", min_size=1, max_size=3), text=WRITTEN)
@settings(max_examples=30, deadline=None)
def test_offsets_after_dropped_first_characters_differ_by_their_number(vocab, dropped, text):
    """The peer forgets characters that the table drops at the beginning of a part of a text."""
    mine, peer = pair_of(vocab, "our table")
    text = "the" + "".join(c for c in text if c not in "<\u0301\u0302\u200d\u0e33\u094d\U0001f3fd")
    found = mine.encode(dropped + text)
    expected = peer.encode(dropped + text)
    assert found.input_ids == expected.ids
    assert found.word_ids == expected.word_ids
    shift = len(dropped)
    assert found.offsets[1:-1] == [(a + shift, b + shift) for a, b in expected.offsets[1:-1]]


@pytest.mark.parametrize(("scheme", "differs"), [("always", False), ("first", True)])
def test_ids_after_dropped_first_characters_differ_for_the_scheme_first(vocab, scheme, differs):
    whole = whole_of(vocab, "our table")
    whole["pre_tokenizer"] = whole["decoder"] = metaspace(scheme)
    mine, peer = opened(json.dumps(whole))
    assert (mine.encode("\u200bthe").input_ids != peer.encode("\u200bthe").ids) == differs
    assert mine.encode("the").input_ids == peer.encode("the").ids


def test_tokens_of_unknown_letters_have_the_text_of_the_unknown_token(vocab):
    """The peer returns the part of the text; the ids are the same."""
    mine, peer = pair_of(vocab, "our table")
    assert peer.encode("\u36ed").tokens == ["<s>", "▁", "\u36ed", "</s>"]
    assert mine.encode("\u36ed").tokens == ["<s>", "▁", "<unk>", "</s>"]


@pytest.mark.parametrize(("text", "plain"), [("the<mask>", True), ("the ＜mask＞", False)])
def test_special_tokens_are_never_pieces_of_a_text(vocab, text, plain):
    """The peer finds them where they are plain text, and in normalized text."""
    from tokenizers import Tokenizer

    whole = whole_of(vocab, "our table")
    whole["normalizer"] = precompiled({"＜": "<", "＞": ">"})
    mine, peer = opened(json.dumps(whole))
    peer.encode_special_tokens = plain
    assert mine.mask_token_id in peer.encode(text).ids
    found = mine.encode(text, split_special_tokens=plain)
    assert mine.mask_token_id not in found.input_ids
    assert found.input_ids == Tokenizer.from_str(json.dumps(blind(whole))).encode(text).ids


@settings(max_examples=60, deadline=None)
@given(
    text=WRITTEN,
    pair=st.none() | WRITTEN,
    max_length=st.integers(2, 14),
    truncation=st.sampled_from(["longest_first", "only_first", "only_second"]),
    stride=st.integers(0, 3),
)
def test_encode_windows_of_any_text(both, text, pair, max_length, truncation, stride):
    mine, (peer, _), _ = both
    peer.no_padding()
    assume(not begins_with_dropped(mine, text, pair))
    assume(stride < max_length - (2 if pair is None else 4))
    options = {"max_length": max_length, "truncation": truncation}
    try:
        found = mine.encode_windows(text, pair, stride=stride, **options)
    except ValueError as error:
        if "no room" in str(error) or (pair is None and truncation == "only_second"):
            return  # as for WordPiece
        with pytest.raises(BaseException):  # noqa: B017, PT011, PT012 (Rust panics have no class)
            peer.enable_truncation(max_length, stride=stride, strategy=truncation)
            peer.encode(text, pair)
        return
    peer.enable_truncation(max_length, stride=stride, strategy=truncation)
    first = peer.encode(text, pair)
    expected = [peer_fields_of(each) for each in [first, *first.overflowing]]
    for each in expected[1:]:
        each[1] = [0] * len(each[1])  # see test_token_types_of_further_windows
    assert [fields_of(each) for each in found] == expected
    assert fields_of(mine.encode(text, pair, **options)) == expected[0]


def test_token_types_of_further_windows(vocab):
    """The peer does not apply the template's type to the second text of further windows."""
    mine, peer = opened(json.dumps(whole_of(vocab, "never")))
    peer.enable_truncation(5)
    first = peer.encode("", "<mask><mask>")
    assert [first.type_ids, first.overflowing[0].type_ids] == [[0] * 5, [0, 0, 0, 1, 0]]
    found = mine.encode_windows("", "<mask><mask>", max_length=5)
    assert [window.token_type_ids for window in found] == [[0] * 5] * 2


@settings(max_examples=60, deadline=None)
@given(text=WRITTEN, skip=st.booleans())
def test_decode_of_any_text(both, text, skip):
    mine, (peer, _), _ = both
    ids = mine.encode(text).input_ids
    assume(mine.vocab.get("ﬁb") not in ids)  # the peer returns the normalized text, we do not
    assert mine.decode(ids, skip_special_tokens=skip) == peer.decode(ids, skip_special_tokens=skip)


@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFKD"])
@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from(ODD + "aeAE가ㅏ각ᆨ") | st.sampled_from(EVERY), max_size=12))
def test_normalization_forms_of_any_text(form, text):
    from tokenizers import normalizers

    expected = getattr(normalizers, form)().normalize_str(text)
    assert StepNormalizer({"type": form}).normalize(text) == expected
    assert not is_normal(text, form) or text == expected


def blocks_of_code_points(size):
    """Yield all code points but the surrogates, in lists: a call for many takes less time each."""
    return (EVERY[start : start + size] for start in range(0, len(EVERY), size))


@pytest.mark.slow
def test_combining_marks_of_every_code_point():
    from tokenizers import normalizers

    peer, mine = normalizers.StripAccents(), StepNormalizer({"type": "StripAccents"})
    for chars in blocks_of_code_points(500):
        text = "".join(f"a{char}b" for char in chars)
        assert mine.normalize(text) == peer.normalize_str(text)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["NFC", "NFKC", "NFKD"])
def test_normalization_forms_of_every_code_point(form):
    from tokenizers import normalizers

    peer, mine = getattr(normalizers, form)(), StepNormalizer({"type": form})
    for chars in blocks_of_code_points(500):
        text = "".join(f"a{char}" for char in chars)
        assert mine.normalize(text) == peer.normalize_str(text)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["xlm-roberta", "converted", "compatible", "albert"])
def test_every_code_point_in_four_positions(vocab, kind):
    """At the beginning of a text, in and at the end of a word, and as a word."""
    mine, peer = pair_of(vocab, kind)
    dropped = {char for char, text in mine.normalizer.table.items() if not text}
    for chars in blocks_of_code_points(4000):
        texts = [f"{char}es" for char in chars if char not in dropped]
        texts += [f"a{char}e es{char} {char}" for char in chars]
        tokens = mine.tokens_of_batch(texts)
        expected = peer.encode_batch(texts, add_special_tokens=False)
        ids = [i for each in expected for i in each.ids]
        assert tokens.ids.tolist() == ids
        assert tokens.offset_lists() == [each.offsets for each in expected]
        assert tokens.word_ids.tolist() == [i for each in expected for i in each.word_ids]
        assert mine.ids_of_batch(texts)[0].tolist() == ids


@pytest.mark.parametrize("cls", ["XLMRobertaTokenizer", "CamembertTokenizer"])
def test_a_sentencepiece_model_has_the_ids_of_transformers(tmp_path, cls):
    """transformers needs the packages sentencepiece and protobuf to read such a file."""
    pytest.importorskip("sentencepiece")
    import transformers

    letters = ["▁", *string.ascii_lowercase, "▁the", "ing", ".", "é"]
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    pieces += [(piece, -1.0 - i / 8) for i, piece in enumerate(letters)]
    charsmap = base64.b64decode(real_table()["precompiled_charsmap"])
    (tmp_path / "sentencepiece.bpe.model").write_bytes(spm_model(pieces, charsmap))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": cls}))
    mine = UnigramTokenizer.from_pretrained(tmp_path)
    peer = getattr(transformers, cls).from_pretrained(tmp_path)
    assert dict(mine.vocab) == {t: i for t, i in peer.get_vocab().items() if i < len(mine)}
    for text in "The thing …  é½ Ａ", "a <mask> b", "", "ſ\u0301中":
        found = mine.encode(text).input_ids
        assert found == peer(text)["input_ids"]
        assert mine.encode(text, "b").input_ids == peer(text, "b")["input_ids"]


DEBERTA = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
DEBERTA_OPTIONS = [
    {}, {"do_lower_case": True, "split_by_punct": True}, {"add_prefix_space": False}
]  # fmt: skip


@pytest.fixture(scope="module", params=DEBERTA_OPTIONS, ids=lambda options: ", ".join(options))
def debertas(request, vocab, tmp_path_factory):
    """Return our tokenizer of a folder with an spm.model alone, and that of transformers."""
    import transformers

    folder = tmp_path_factory.mktemp("deberta")
    pieces = [(p, 0.0) for p in DEBERTA] + [(p, float(np.float32(s))) for p, s in vocab]
    trainer, kinds = ((40, 3), (41, 1), (42, 2)), [(p, 3) for p in DEBERTA[:3]] + [("[UNK]", 2)]
    (folder / "spm.model").write_bytes(spm_model(pieces, b"", trainer, kinds=kinds))
    stated = {"vocab_type": "spm", **request.param}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))
    peer = transformers.DebertaV2Tokenizer(vocab=pieces, unk_id=3, **request.param)
    peer.add_tokens(["new york"])
    mine = AutoTokenizer.from_pretrained(folder)
    mine.add_tokens(["new york"])
    return Tokenizers((mine, peer))


BRACKETED = st.lists(
    st.sampled_from(["[MASK]", " ", "The", " token", ", ", "…!?", "new york", "[SEP]", "[UNK]"])
    | st.sampled_from(["\n", "  ", "\t", "e\u0301", "\u2009", "def __init__(self):", "中", "$"])
    | TEXTS
).map(lambda parts: drop_unassigned("".join(parts)))


@settings(max_examples=60, deadline=None)
@given(text=BRACKETED, pair=st.none() | BRACKETED)
def test_deberta_with_a_sentencepiece_model_alone_equals_transformers(debertas, text, pair):
    mine, peer = debertas
    expected = peer._tokenizer.encode(text, pair)
    found = mine.encode(text, pair)
    assert fields_of(found) == peer_fields_of(expected)
    if pair != "":  # which is no pair for transformers
        ids = peer(text, pair)
        assert found.input_ids == ids["input_ids"]
        assert found.token_type_ids == ids["token_type_ids"]
    assert mine.ids_of(text).tolist() == peer(text, add_special_tokens=False)["input_ids"]
    assert mine.decode(found.input_ids) == peer.decode(
        found.input_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )


def test_special_tokens_and_ids_of_a_deberta(debertas):
    mine, peer = debertas
    assert dict(mine.vocab) == peer.get_vocab()
    assert mine.model_input_names == ("input_ids", "token_type_ids", "attention_mask")
    for name in ("cls", "sep", "pad", "unk", "mask"):
        assert getattr(mine, f"{name}_token_id") == getattr(peer, f"{name}_token_id")
    assert mine.mask_token_id == mine.vocab_size


def test_a_saved_folder_opens_in_transformers(both, tmp_path):
    from transformers import AutoTokenizer

    mine, *_ = both
    mine.save_pretrained(tmp_path)
    peer = AutoTokenizer.from_pretrained(tmp_path)
    assert peer.get_vocab() == dict(mine.vocab)
    assert peer.mask_token_id == mine.mask_token_id
    texts = ["the token <mask> …", "a  b"]
    expected = peer(texts, padding=True, return_tensors="np")
    batch = mine.encode_batch(texts)
    for name in expected:
        assert np.array_equal(batch[name], expected[name]), name


SIGNS = '(),.-–"£€'
LINES = ["The thing… isn't “so” (or, maybe, it is) - a 3,000 £ thing.",
         "naïve café – Été! ``x'' €5", "  two  words\tand ﬁve ",
         "(a)(b).c--d", "[MASK] and a [MASK]."]  # fmt: skip


@pytest.fixture
def albert_folder(tmp_path):
    """Return the folder of a model that SentencePiece trained as that of ALBERT."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = Path(find_spec("hypothesis").submodule_search_locations[0])
    texts = [path.read_text("utf-8").lower() for path in sorted(folder.glob("*.py"))[:9]]
    lines = [line for text in texts for line in text.splitlines() if line.isprintable()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(tmp_path / "spiece"), vocab_size=400,
        pad_id=0, unk_id=1, pad_piece="<pad>", unk_piece="<unk>", bos_id=-1, eos_id=-1,
        control_symbols="[CLS],[SEP],[MASK]", user_defined_symbols=list(SIGNS),
        character_coverage=0.99995, model_type="unigram", minloglevel=2,
    )  # fmt: skip
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "AlbertTokenizer"}')
    return tmp_path


def test_the_model_of_an_albert_has_the_ids_of_sentencepiece(albert_folder):
    """SentencePiece gets what Google's code makes of the text before."""
    import unicodedata

    import sentencepiece

    peer = sentencepiece.SentencePieceProcessor(model_file=str(albert_folder / "spiece.model"))
    mine = UnigramTokenizer.from_pretrained(albert_folder)
    ids = range(len(mine))
    assert mine.convert_ids_to_tokens(ids) == [peer.id_to_piece(i) for i in ids]
    assert len(mine) == len(peer)
    for line in LINES[:4]:
        text = " ".join(line.strip().split()).replace("``", '"').replace("''", '"')
        text = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in text if not unicodedata.combining(c)).lower()
        assert mine.ids_of(line).tolist() == peer.encode(text), line


@pytest.mark.parametrize(
    "options", [{}, {"keep_accents": True}, {"do_lower_case": False}], ids=lambda o: str([*o])
)
def test_the_model_of_an_albert_has_the_ids_of_transformers_without_signs(albert_folder, options):
    """transformers 5 adds the signs as tokens that end a word, unlike the published files."""
    import transformers

    stated = {"tokenizer_class": "AlbertTokenizer", **options}
    (albert_folder / "tokenizer_config.json").write_text(json.dumps(stated))
    mine = UnigramTokenizer.from_pretrained(albert_folder)
    peer = transformers.AlbertTokenizer.from_pretrained(albert_folder)
    assert dict(mine.vocab) == peer.get_vocab()
    for line in LINES:
        text = "".join(char for char in line if char not in SIGNS).replace(" [", "[")
        found = mine.encode(text, "Zoë")
        expected = peer(text, "Zoë", return_token_type_ids=True)
        assert found.input_ids == expected["input_ids"], text
        assert found.token_type_ids == expected["token_type_ids"]
    assert mine.ids_of("a-b").tolist() != peer("a-b", add_special_tokens=False)["input_ids"]
