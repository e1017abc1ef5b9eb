"""The Unigram tokenizer: its files, SentencePiece models, steps, and bad input."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.data.whole_words import continuing_pieces
from minibert.tokenization import AutoTokenizer, UnigramTokenizer
from minibert.tokenization.metaspace import Metaspace
from minibert.tokenization.protobuf import read_fields
from minibert.tokenization.sentencepiece import read_sentencepiece
from minibert.tokenization.steps import StepNormalizer
from tests.tokenization.spm_files import build_charsmap, message, one_line, precompiled, spm_model

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
PIECES = [("▁", -2.0), ("▁the", -3.0), ("a", -4.0), ("é", -4.5), ("▁a", -3.5)]
VOCABULARY = [*((token, 0.0) for token in SPECIAL), *PIECES, ("<mask>", 0.0)]
MODEL = spm_model(
    [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *PIECES], build_charsmap({"e\u0301": "é"})
)
TABLE = precompiled({"a": "b" * 90, "é": ""})["precompiled_charsmap"]
FILE = "sentencepiece.bpe.model"


@pytest.fixture
def tokenizer():
    return UnigramTokenizer(VOCABULARY, normalizer=precompiled({"e\u0301": "é"}))


def test_encode_frames_as_in_roberta(tokenizer):
    assert tokenizer.encode("the a").input_ids == [0, 5, 8, 2]
    pair = tokenizer.encode("the", "a")
    assert pair.input_ids == [0, 5, 2, 2, 8, 2]
    assert pair.token_type_ids == [0] * 6
    assert tokenizer.encode("the", "a", max_length=5).input_ids == [0, 2, 2, 8, 2]
    assert tokenizer.model_input_names == ("input_ids", "attention_mask")


def test_the_mask_includes_the_space_before_it(tokenizer):
    encoding = tokenizer.encode("a <mask> a")
    assert encoding.input_ids == [0, 8, 9, 8, 2]
    assert encoding.offsets[1:-1] == [(0, 1), (1, 8), (9, 10)]
    assert tokenizer.decode(encoding.input_ids, skip_special_tokens=False) == "<s> a<mask> a</s>"


@pytest.mark.parametrize("text", ["<mask>", "a<mask>", "</s> the", "<unk>"])
def test_split_special_tokens_treats_them_as_text(text):
    letters = [(letter, -5.0) for letter in "<>/smakun"]
    tokenizer = UnigramTokenizer(list(dict([*VOCABULARY, *letters]).items()))
    special = set(tokenizer.all_special_ids)
    assert special & set(tokenizer.ids_of(text).tolist())
    for many in False, True:
        texts = [text] * (1000 if many else 1)
        ids, _ = tokenizer.ids_of_batch(texts, split_special_tokens=True)
        assert special.isdisjoint(ids.tolist())
        assert tokenizer.decode(ids[: len(ids) // len(texts)]) == text


def test_a_token_that_becomes_special_is_no_piece_any_more(tokenizer):
    assert tokenizer.ids_of("the a").tolist() == [5, 8]
    tokenizer.add_tokens(["▁a"], special_tokens=True)
    assert tokenizer.ids_of("the a").tolist() == [5, 4, 6]


def test_describe_tokens_decodes_pieces(tokenizer):
    ids = tokenizer.convert_tokens_to_ids(["▁the", "é", "▁", "<mask>", "<unk>"])
    assert tokenizer.describe_tokens(ids) == ["the", "##é", "▁", "<mask>", "<unk>"]


def test_offsets_of_replaced_and_unknown_letters(tokenizer):
    encoding = tokenizer.encode("ae\u0301 xy")
    assert encoding.tokens[1:-1] == ["▁a", "é", "▁", "<unk>"]
    assert encoding.offsets[1:-1] == [(0, 1), (1, 2), (4, 5), (4, 6)]
    assert encoding.word_ids[1:-1] == [0, 0, 1, 1]


@given(st.lists(st.text("thea", min_size=1), min_size=1))
def test_decode_returns_the_text_of_known_letters(words):
    pieces = [*VOCABULARY, ("t", -5.0), ("h", -5.0), ("e", -5.0)]
    tokenizer = UnigramTokenizer(pieces)
    assert tokenizer.decode(tokenizer.ids_of(" ".join(words))) == " ".join(words)


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
@pytest.mark.parametrize("splits", [True, False])
def test_save_and_read_again(tmp_path, scheme, splits):
    steps = {"type": "Sequence", "normalizers": [{"type": "Nmt"}, {"type": "Lowercase"}]}
    tokenizer = UnigramTokenizer(
        [*VOCABULARY, ("<0xC3>", -9.0)],
        normalizer=steps,
        metaspace=Metaspace(splits, scheme),
        byte_fallback=True,
        model_max_length=512,
    )
    tokenizer.add_tokens(["new"])
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(again, UnigramTokenizer)
    assert dict(again.vocab) == dict(tokenizer.vocab)
    assert again.added_tokens == tokenizer.added_tokens
    assert (again.metaspace, again.scores) == (tokenizer.metaspace, tokenizer.scores)
    assert (again.byte_fallback, again.model_max_length) == (True, 512)
    assert again.encode("THE  a\tnew é").input_ids == tokenizer.encode("THE  a\tnew é").input_ids
    again.save_pretrained(tmp_path / "again")
    for name in "tokenizer.json", "tokenizer_config.json":
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_batches_are_padded_with_the_pad_token(tokenizer):
    batch = tokenizer.encode_batch(["the a", "a"])
    assert np.array_equal(batch["input_ids"], [[0, 5, 8, 2], [0, 8, 2, 1]])
    assert np.array_equal(batch["attention_mask"], [[1, 1, 1, 1], [1, 1, 1, 0]])


def write_model(folder, data=MODEL, **config):
    """Write a folder with a SentencePiece model."""
    (folder / FILE).write_bytes(data)
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_xlm_roberta_ids_are_one_more_than_in_the_file(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(write_model(tmp_path))
    assert dict(tokenizer.vocab) == {token: i for i, (token, _) in enumerate(VOCABULARY)}
    assert tokenizer.scores == [score for _, score in VOCABULARY]
    assert tokenizer.mask_token_id == len(tokenizer) - 1 == 9
    assert tokenizer.encode("e\u0301").tokens == ["<s>", "▁", "é", "</s>"]
    assert tokenizer.encode("a <mask>").offsets[2] == (1, 8)


def test_camembert_ids_follow_five_of_its_own(tmp_path):
    write_model(tmp_path, tokenizer_class="CamembertTokenizerFast")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    first = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>", "▁"]
    assert tokenizer.convert_ids_to_tokens(range(8)) == first
    assert tokenizer.encode("a").input_ids == [5, tokenizer.vocab["▁a"], 6]


@pytest.mark.parametrize(
    ("data", "config", "expected"),
    [
        (b"", {}, "not a SentencePiece model: expected pieces, got none"),
        (b"\x0a\x7fabc", {}, "not a SentencePiece model: expected 127 more bytes, got 3"),
        (MODEL[:-3], {}, "not a SentencePiece model: expected"),
        (spm_model(PIECES, trainer=[(3, 2)]), {}, "model_type: expected Unigram, got BPE"),
        (spm_model(PIECES, trainer=[(40, 99)]), {}, "unk_id: expected 0 to 4, got 99"),
        (spm_model(PIECES, trainer=[(40, 2)]), {}, "unk_id: expected 0 for XLMRobertaT"),
        (spm_model(PIECES, trainer=[(41, -1)]), {}, "bos_id: expected 1 for XLMRobertaT"),
        (spm_model(PIECES, trainer=[(42, 1)]), {}, "eos_id: expected 2 for XLMRobertaT"),
        (spm_model(PIECES, trainer=[(35, 1)]), {}, "byte_fallback: expected false, got true"),
        (spm_model(PIECES, normalizer=[(3, 0)]), {}, "add_dummy_prefix: expected true, got false"),
        (spm_model(PIECES, b"\1"), {}, "charsmap: expected a trie of 1 bytes"),
        (spm_model(PIECES, kinds={"▁the": 4}), {}, "pieces: user-defined ones are read from"),
        (spm_model([("a", float("nan"))]), {}, "score: expected a finite number, got nan"),
        (message((1, message((1, b"\xff")))), {}, "not a SentencePiece model: 'utf-8' codec"),
        (message((1, 5)), {}, "pieces: expected bytes, got an integer"),
        (MODEL, {"tokenizer_class": "T5Tokenizer"}, "tokenizer_class: expected one of XLMRoberta"),
    ],
)
def test_damaged_models_are_refused_in_one_line(tmp_path, data, config, expected):
    write_model(tmp_path, data, **config)
    with pytest.raises(ValueError, match=r"sentencepiece\.bpe\.model: ") as caught:
        UnigramTokenizer.from_pretrained(tmp_path)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 300), st.binary(max_size=4), st.integers(0, len(MODEL)))
def test_read_sentencepiece_of_damaged_bytes_returns_or_refuses(tmp_path_factory, at, new, size):
    path = tmp_path_factory.mktemp("model") / FILE
    path.write_bytes((MODEL[:at] + new + MODEL[at + len(new) :])[:size])
    with one_line(f"{path}: not a SentencePiece model: "):
        assert read_sentencepiece(path).pieces


def test_read_sentencepiece_reads_what_is_stated(tmp_path):
    trainer = [(35, 1), (41, 7), (42, 8), (77, "unknown"), (78, 1.5)]
    model = read_sentencepiece(write_model(tmp_path, spm_model(PIECES, trainer=trainer)) / FILE)
    assert [text for text, _ in model.pieces] == [text for text, _ in PIECES]
    assert (model.byte_fallback, model.unk_id, model.bos_id, model.eos_id) == (True, 0, 7, 8)


@given(st.lists(st.tuples(st.integers(1, 1 << 28), st.integers(0, (1 << 64) - 1) | st.binary())))
def test_read_fields_returns_the_fields_of_a_message(fields):
    assert list(read_fields(message(*fields))) == fields


@pytest.mark.parametrize("data", [b"\x08", b"\x0b", b"\x12\x05a", b"\x0d123", b"\xff" * 11])
def test_read_fields_refuses_damaged_messages(data):
    with pytest.raises(ValueError, match="expected"):
        list(read_fields(data))


def change(folder, **parts):
    """Change parts of a saved tokenizer.json."""
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | parts))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"normalizer": {"type": "Nfkc"}}, "normalizer: expected Precompiled, .*, got Nfkc"),
        (
            {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+b"}, "content": ""}},
            r"Replace: expected the regular expression .* got \(a\+\)\+b",
        ),
        (
            {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "?"}},
            "precompiled_charsmap: expected base64",
        ),
        ({"normalizer": precompiled({}) | {"precompiled_charsmap": "AAAA"}}, "charsmap: expected"),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, "pre_tokenizer: expected Metaspace.*ByteLevel"),
        (
            {
                "pre_tokenizer": {
                    "type": "Sequence",
                    "pretokenizers": [
                        {"type": "Punctuation", "behavior": "Removed"},
                        {"type": "Metaspace", "replacement": "▁"},
                    ],
                }
            },
            "behavior: expected Isolated, got Removed",
        ),
        (
            {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "x"}},
            "prepend_scheme: expected one of always, first, never, got x",
        ),
        ({"model": {"type": "Unigram", "unk_id": 99, "vocab": [["a", 0]]}}, "unk_id: expected 0"),
        ({"model": {"type": "Unigram", "unk_id": None, "vocab": [["a", 0]]}}, "unk_id: expected 0"),
        ({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a"]]}}, "expected pieces and"),
        ({"model": {"type": "BPE", "vocab": []}}, "model: expected Unigram, got BPE"),
    ],
)
def test_unsupported_files_are_refused_in_one_line(tokenizer, tmp_path, parts, message):
    tokenizer.save_pretrained(tmp_path)
    change(tmp_path, **parts)
    with pytest.raises(ValueError, match=message) as caught:
        UnigramTokenizer.from_pretrained(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'tokenizer.json'}: ")


LONG = "abcdefghijklmnopqrstuvwxy" * 20  # 500 letters


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([LONG + "z"], "vocabulary: expected pieces of at most 500 letters, got 501"),
        ([f"{i}{LONG}"[:500] for i in range(600)], r"at most 67,108,864 letters in all, got 75,1"),
    ],
)
def test_pieces_whose_beginnings_need_much_memory_are_refused(tokenizer, tmp_path, pieces, message):
    tokenizer.save_pretrained(tmp_path)
    vocab = [[p, s] for p, s in VOCABULARY] + [[p, -1.0] for p in pieces]
    change(tmp_path, model={"type": "Unigram", "unk_id": 3, "vocab": vocab})
    with pytest.raises(ValueError, match=message):
        UnigramTokenizer.from_pretrained(tmp_path)


def test_steps_that_lengthen_a_text_without_bound_are_refused():
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 101}
    with pytest.raises(ValueError, match="Replace: expected a content of at most 100 letters"):
        StepNormalizer(step)
    steps = {"type": "Sequence", "normalizers": [step | {"content": "a" * 20}] * 9}
    assert StepNormalizer(steps).normalize("b") == "b"
    with pytest.raises(ValueError, match=r"normalizer: expected at most 400 letters for 3 of the"):
        StepNormalizer(steps).normalize("aaa")


def test_steps_make_fewer_letters_of_each_letter_of_a_long_text():
    """And the letters are not made before they are refused: 100 for each would be 10 million."""
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 100}
    assert StepNormalizer(step).normalize("a" * 900) == "b" * 90_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"expected at most 136,100 letters for 10,000 of the"):
            StepNormalizer(step).normalize("a" * 10_000)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000  # 130 MB for a million letters
    finally:
        tracemalloc.stop()


PARTS = st.sampled_from(["a", "é", "▁the", "▁", "b" * 600, " ", "", "\n", "<unk>"])
SMALL = st.none() | st.booleans() | st.integers(-2, 9) | st.just(1e400) | PARTS
KNOWN_STEPS = ["Replace", "Strip", "Nmt", "NFD", "NFKC", "Prepend", "Precompiled", "Sequence", "X"]
STEP = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["Replace", "Strip", "Nmt", "NFD", "NFKC", "Prepend", "Precompiled", "Sequence", "X"]
        )
    },
    optional={
        "pattern": st.fixed_dictionaries({}, optional={"String": PARTS, "Regex": SMALL}) | SMALL,
        "content": SMALL,
        "strip_left": SMALL,
        "prepend": SMALL,
        "strip_right": SMALL,
        "precompiled_charsmap": st.sampled_from(["", "AAAA", "?", 3, *[TABLE] * 3]),
        "normalizers": st.lists(st.just({"type": "NFD"}) | SMALL, max_size=2),
    },
)


@settings(max_examples=150, deadline=None)
@given(
    vocab=st.lists(st.tuples(PARTS, SMALL) | SMALL, max_size=4),
    steps=st.lists(STEP, max_size=3),
)
def test_files_with_any_pieces_and_steps_are_read_or_refused(tmp_path_factory, vocab, steps):
    folder = tmp_path_factory.mktemp("tokenizer")
    UnigramTokenizer(VOCABULARY).save_pretrained(folder)
    pieces = [[p, s] for p, s in VOCABULARY] + vocab
    change(
        folder,
        model={"type": "Unigram", "unk_id": 3, "vocab": pieces},
        normalizer={"type": "Sequence", "normalizers": steps},
    )
    with one_line(str(folder)):
        tokenizer = UnigramTokenizer.from_pretrained(folder)
        with one_line("normalizer: "):
            assert len(tokenizer.ids_of("a é the " * 9)) < 100_000


def test_old_files_are_read(tokenizer, tmp_path):
    """Without the type of the model and with `add_prefix_space`."""
    tokenizer.save_pretrained(tmp_path)
    whole = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    model = {"unk_id": 3, "vocab": whole["model"]["vocab"]}
    old = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": False, "str_rep": "▁"}
    change(tmp_path, model=model, pre_tokenizer=old)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.metaspace == Metaspace(False, "never")
    assert again.tokenize("a the") == ["a", "▁the"]


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected tokenizer\.json or sentence"):
        UnigramTokenizer.from_pretrained(tmp_path)


def test_scores_must_fit_the_vocabulary(tokenizer):
    with pytest.raises(ValueError, match="scores: expected 10, one for each id, got 1"):
        UnigramTokenizer(tokenizer.vocabulary, scores=[0.0])


def test_repeated_pieces_have_their_last_id(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    whole = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    whole["model"]["vocab"][7] = ["a", -30.0]  # it was é
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    again = UnigramTokenizer.from_pretrained(tmp_path)
    assert again.vocab["a"] == 7
    again.save_pretrained(tmp_path)
    assert dict(UnigramTokenizer.from_pretrained(tmp_path).vocab) == dict(again.vocab)


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        (
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
            "a   b c",
            [("a", 0, 1), ("▁", 3, 4), ("b", 4, 5), (" ", 5, 6), ("c", 6, 7)],
        ),
        (
            {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
            "``a",
            [('"', 1, 2), ("a", 2, 3)],
        ),
        (
            {"type": "Strip", "strip_left": True, "strip_right": True},
            " \na\u3000",
            [("a", 2, 3)],
        ),
        ({"type": "Nmt"}, "\x01a\ufeff", [("a", 1, 2), (" ", 2, 3)]),
        ({"type": "Lowercase"}, "İ", [("i", 0, 1), ("\u0307", 0, 1)]),
        ({"type": "NFD"}, "é", [("e", 0, 1), ("\u0301", 0, 1)]),
        ({"type": "NFC"}, "xe\u0301y", [("x", 0, 1), ("é", 1, 2), ("y", 3, 4)]),
        ({"type": "NFKC"}, "xﬁ", [("x", 0, 1), ("f", 1, 2), ("i", 1, 2)]),
        ({"type": "NFKD"}, "ｶﾞ", [("カ", 0, 1), ("\u3099", 1, 2)]),
        ({"type": "Prepend", "prepend": "▁"}, "ab", [("▁", 0, 1), ("a", 0, 1), ("b", 1, 2)]),
        ({"type": "Prepend", "prepend": "▁"}, "", []),
        ({"type": "StripAccents"}, "e\u0301x\u0903", [("e", 0, 1), ("x", 2, 3)]),
        (None, "é", [("é", 0, 1)]),
    ],
)
def test_steps_keep_the_positions_of_letters(step, text, expected):
    assert [tuple(letter) for letter in StepNormalizer(step).letters(text)] == expected


def test_the_family_decides_the_ids_of_a_folder_without_a_tokenizer_class(tmp_path):
    write_model(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink(missing_ok=True)
    of_xlm = AutoTokenizer.from_pretrained(tmp_path).vocab
    (tmp_path / "config.json").write_text('{"model_type": "camembert"}', "utf-8")
    of_camembert = AutoTokenizer.from_pretrained(tmp_path).vocab
    assert dict(of_xlm) != dict(of_camembert)
    (tmp_path / "config.json").write_text('{"model_type": "xlnet"}', "utf-8")
    with pytest.raises(ValueError, match=r"tokenizer_class: expected .*, got that of xlnet"):
        AutoTokenizer.from_pretrained(tmp_path)


DEBERTA = spm_model(
    [*((token, 0.0) for token in ("[PAD]", "[CLS]", "[SEP]", "[UNK]")), *PIECES, (",", -6.0)],
    build_charsmap({"Ａ": "a"}),
    ((40, 3), (41, 1), (42, 2)),
    kinds=[("[PAD]", 3), ("[CLS]", 3), ("[SEP]", 3), ("[UNK]", 2)],
)


def write_deberta(folder, data=DEBERTA, **stated):
    """Write the folder of a DeBERTa as its authors do: the model and "vocab_type"."""
    (folder / "spm.model").write_bytes(data)
    stated = {"vocab_type": "spm", **stated}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), "utf-8")
    return folder


def test_deberta_has_the_ids_of_its_file_and_the_mask_after_them(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(write_deberta(tmp_path))
    assert [tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id] == [0, 1, 2]
    assert (tokenizer.unk_token_id, tokenizer.mask_token_id) == (3, tokenizer.vocab_size)
    assert tokenizer.model_input_names == ("input_ids", "token_type_ids", "attention_mask")
    pair = tokenizer.encode("the  a", "the\ne\u0301 [MASK]a")
    assert pair.tokens == (
        ["[CLS]", "▁the", "▁a", "[SEP]", "▁the", "▁", "é", "[MASK]", "▁a", "[SEP]"]
    )
    assert pair.token_type_ids == [0] * 4 + [1] * 6
    assert pair.offsets[7] == (7, 13)  # without the space before it
    assert tokenizer.encode("Ａ").tokens == ["[CLS]", "▁", "[UNK]", "[SEP]"]  # no table is applied
    tokenizer.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert again.encode("the a, the", "a [MASK]") == tokenizer.encode("the a, the", "a [MASK]")
    assert again.model_input_names == tokenizer.model_input_names


def test_options_of_the_class_of_deberta(tmp_path):
    def tokens(text, **stated):
        return AutoTokenizer.from_pretrained(write_deberta(tmp_path, **stated)).tokenize(text)

    assert tokens("a,a") == ["▁a", ",", "a"]
    assert tokens("a,a", split_by_punct=True) == ["▁a", "▁", ",", "▁a"]
    assert tokens("THE", do_lower_case=True) == ["▁the"]
    assert tokens("THE") == ["▁", "[UNK]"]
    split = AutoTokenizer.from_pretrained(write_deberta(tmp_path, split_by_punct=True))
    split.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert again.metaspace == split.metaspace
    assert again.tokenize("a,a") == ["▁a", "▁", ",", "▁a"]


def test_the_family_or_the_class_names_deberta(tmp_path):
    write_deberta(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2"}', "utf-8")
    of_family = AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    stated = {"vocab_type": None, "tokenizer_class": "DebertaV2TokenizerFast"}
    of_class = AutoTokenizer.from_pretrained(write_deberta(tmp_path, **stated))
    assert dict(of_family.vocab) == dict(of_class.vocab)
    (tmp_path / "added_tokens.json").write_text('{"[MASK]": 10}', "utf-8")
    (tmp_path / "special_tokens_map.json").write_text('{"mask_token": "[MASK]"}', "utf-8")
    assert AutoTokenizer.from_pretrained(tmp_path).mask_token_id == of_class.mask_token_id


@pytest.mark.parametrize(
    ("data", "stated", "message"),
    [
        (DEBERTA, {"do_lower_case": 1}, "do_lower_case: expected true or false, got 1"),
        (MODEL, {}, r"unk_id: expected \[UNK\] for DebertaV2Tokenizer, got <unk>"),
    ],
)
def test_a_model_that_is_not_deberta_s_is_refused(tmp_path, data, stated, message):
    with pytest.raises(ValueError, match=message):
        AutoTokenizer.from_pretrained(write_deberta(tmp_path, data, **stated))


def test_whole_words_are_refused_if_no_piece_begins_a_word():
    tokenizer = UnigramTokenizer([(p, s) for p, s in VOCABULARY if "▁" not in p])
    with pytest.raises(ValueError, match="whole_words: expected"):
        continuing_pieces(tokenizer)


def test_a_stated_class_of_another_kind_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", "utf-8")
    config = tmp_path / "tokenizer_config.json"
    config.write_text('{"tokenizer_class": "BertJapaneseTokenizer"}', "utf-8")
    with pytest.raises(
        ValueError, match=r"tokenizer_class: expected .*, got BertJapaneseTokenizer"
    ):
        AutoTokenizer.from_pretrained(tmp_path)
    config.write_text('{"tokenizer_class": "MPNetTokenizer"}', "utf-8")
    assert AutoTokenizer.from_pretrained(tmp_path).encode("a", "a").tokens == (
        ["[CLS]", "a", "[SEP]", "[SEP]", "a", "[SEP]"]
    )


# ALBERT.

SIGNS = [("(", 0.0), (".", 0.0), ("€", 0.0)]  # user-defined pieces of its model
ALBERT = [
    ("<pad>", 0.0), ("<unk>", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[MASK]", 0.0), *SIGNS,
    ("▁", -2.0), ("▁the", -3.0), ("a", -4.0), ("e", -4.5), ("E", -4.6), ("é", -4.7), ('"', -5.0),
    ("▁(", -1.0),
]  # fmt: skip
KINDS = {"<unk>": 2, **dict.fromkeys(("<pad>", "[CLS]", "[SEP]", "[MASK]"), 3)}
APART = {piece: 4 for piece, _ in SIGNS}
TRAINER = [(40, 1), (41, -1), (42, -1)]


def albert_folder(folder, pieces=tuple(ALBERT[:-1]), kinds=APART, trainer=TRAINER, **config):
    """Write a folder with the SentencePiece model of an ALBERT."""
    kinds = KINDS | kinds
    (folder / "spiece.model").write_bytes(spm_model(pieces, trainer=trainer, kinds=kinds))
    stated = {"tokenizer_class": "AlbertTokenizer", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated), "utf-8")
    return folder


def test_the_model_of_an_albert_has_its_own_ids_frame_and_segments(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(albert_folder(tmp_path))
    assert tokenizer.vocab_size == len(tokenizer) == len(ALBERT) - 1
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    assert [getattr(tokenizer, f"{name}_id") for name in names] == [0, 1, 2, 3, 4]
    pair = tokenizer.encode("the [MASK]", "a.")
    assert pair.tokens == ["[CLS]", "▁the", "[MASK]", "[SEP]", "▁", "a", ".", "[SEP]"]
    assert pair.token_type_ids == [0, 0, 0, 0, 1, 1, 1, 1]
    assert tokenizer.model_input_names == ("input_ids", "token_type_ids", "attention_mask")
    assert tokenizer.encode("THE É ``''").tokens[1:-1] == [
        "▁the", "▁", "e", "▁", '"', '"'
    ]  # fmt: skip
    tokenizer.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    text = "the É (a.) €e ''[MASK]"
    assert again.encode(text, text) == tokenizer.encode(text, text)
    whole = json.loads((tmp_path / "saved" / "tokenizer.json").read_text("utf-8"))
    assert [step["type"] for step in whole["normalizer"]["normalizers"]] == [
        "Replace", "Replace", "NFKD", "StripAccents", "Lowercase"
    ]  # fmt: skip
    # Without the other file, the special tokens follow from the pieces.
    (tmp_path / "saved" / "tokenizer_config.json").unlink()
    bare = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert (bare.mask_token, len(bare)) == ("[MASK]", len(tokenizer))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["▁", "e", "e"]),
        ({"do_lower_case": False}, ["▁", "e", "E"]),
        ({"keep_accents": True}, ["▁", "é", "e"]),
        ({"keep_accents": True, "do_lower_case": False}, ["▁", "é", "E"]),
    ],
)
def test_the_options_of_an_albert_decide_its_normalizer(tmp_path, options, expected):
    tokenizer = AutoTokenizer.from_pretrained(albert_folder(tmp_path, **options))
    assert tokenizer.encode("éE").tokens[1:-1] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"remove_space": False}, "remove_space: expected true, got false"),
        ({"keep_accents": "no"}, "keep_accents: expected true or false, got no"),
        ({"do_lower_case": 1}, "do_lower_case: expected true or false, got 1"),
        ({"trainer": [(40, 2)]}, "unk_id: expected 1 for AlbertTokenizer, got 2"),
        ({"pieces": ALBERT}, r"user-defined ones apart .*, got \(, part of ▁\("),
        ({"kinds": {"a": 4}}, r"of the score 0, got a, of the score -4.0"),
        ({"trainer": [*TRAINER, (35, 1)]}, "byte_fallback: expected false, got true"),
    ],
)
def test_models_of_an_albert_that_would_be_split_otherwise_are_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        AutoTokenizer.from_pretrained(albert_folder(tmp_path, **change))


def test_two_marks_that_became_letters_are_dropped_everywhere():
    """U+1CF2 and U+1CF3 are letters in later versions of Unicode."""
    steps = {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "StripAccents"}]}
    tokenizer = UnigramTokenizer(VOCABULARY, normalizer=steps, metaspace=Metaspace(False))
    text = "the \u1cf2 a\u1cf3 the"
    assert tokenizer.encode(text).input_ids == tokenizer.encode("the  a the").input_ids
