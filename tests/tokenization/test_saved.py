"""Saving and loading a tokenizer: round trips, file formats, invalid files."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import AddedToken, Normalizer, WordPieceTokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "É", "\u2028", " x ", ""]


def state(tokenizer):
    names = "model_max_length max_input_chars_per_word normalizer added_tokens pad_token vocab"
    values = {name: getattr(tokenizer, name) for name in names.split()}
    values["added_tokens"] = set(values["added_tokens"])
    return list(tokenizer.vocab), values


def save_without_json(pieces, folder):
    WordPieceTokenizer(pieces).save_pretrained(folder)
    (folder / "tokenizer.json").unlink()


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])), unique=True
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "do_lower_case": st.booleans(),
            "strip_accents": st.sampled_from([True, False, None]),
            "tokenize_chinese_chars": st.booleans(),
            "clean_text": st.booleans(),
            "continuing_subword_prefix": st.sampled_from(["##", "", "@", "@@"]),
            "added_tokens": st.lists(
                st.builds(
                    AddedToken,
                    st.sampled_from(["[MASK]", "new york", "<x>", "É"]),
                    *[st.booleans()] * 5,
                ),
                unique_by=lambda token: token.content,
            ),
            "max_input_chars_per_word": st.integers(1, 200),
            "model_max_length": st.none() | st.integers(1, 10**6),
            "pad_token": st.sampled_from(["[PAD]", "[SEP]", "<päd>"]),
        },
    ),
)
def test_save_and_load_round_trip(tmp_path_factory, more, options):
    folder = tmp_path_factory.mktemp("tokenizer")
    pieces = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<päd>", *more]))
    tokenizer = WordPieceTokenizer(pieces, **options)
    tokenizer.save_pretrained(folder)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    assert state(WordPieceTokenizer.from_pretrained(folder)) == state(tokenizer)
    (folder / "tokenizer.json").unlink()  # the other files contain all but the added tokens
    options.pop("added_tokens", None)
    if pieces == [piece.rstrip() for piece in pieces]:  # white space at the ends is dropped
        expected = state(WordPieceTokenizer(pieces, **options))
        assert state(WordPieceTokenizer.from_pretrained(folder)) == expected
    WordPieceTokenizer(pieces, **options).save_pretrained(folder)
    (
        folder / "tokenizer_config.json"
    ).unlink()  # tokenizer.json contains the options that Hugging Face has
    alone = WordPieceTokenizer.from_pretrained(folder)
    assert alone.normalizer == tokenizer.normalizer
    assert alone.vocab == WordPieceTokenizer(pieces, **options).vocab


def test_save_pretrained_writes_the_expected_files(tmp_path):
    more = AddedToken("New York", single_word=True)
    WordPieceTokenizer(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "é"],
        strip_accents=False,
        max_input_chars_per_word=9,
        model_max_length=12,
        added_tokens=[more],
    ).save_pretrained(tmp_path)

    def token(i, content, special=True, **flags):
        plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not special}
        return {"id": i, "content": content, **plain, "special": special, **flags}

    assert (tmp_path / "vocab.txt").read_bytes().decode() == (
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\né\n"
    )
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            *(token(i, name) for i, name in enumerate(PIECES[:5])),
            token(6, "New York", special=False, single_word=True),
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": False,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 9,
            "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "é": 5},
        },
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "do_lower_case": True,
        "strip_accents": False,
        "tokenize_chinese_chars": True,
        "clean_text": True,
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 9,
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "model_max_length": 12,
    }
    for name, content in ("tokenizer.json", whole), ("tokenizer_config.json", config):
        written = (tmp_path / name).read_bytes().decode()
        assert json.loads(written) == content
        assert written == json.dumps(json.loads(written), indent=2, ensure_ascii=False) + "\n"
    WordPieceTokenizer(PIECES).save_pretrained(tmp_path)  # a length of None is not written
    assert "model_max_length" not in (tmp_path / "tokenizer_config.json").read_text()


def test_from_pretrained_works_without_a_configuration(tmp_path):
    pieces = [piece for piece in PIECES if not piece or not piece[-1].isspace()]
    (tmp_path / "vocab.txt").write_bytes("".join(f"{p}\r\n" for p in pieces).encode())
    assert state(WordPieceTokenizer.from_pretrained(tmp_path)) == state(WordPieceTokenizer(pieces))


def test_from_pretrained_reads_configurations_of_transformers(tmp_path):
    save_without_json(PIECES, tmp_path)
    config = {
        "do_lower_case": False,
        "model_max_length": 1000000000000000019884624838656,
        "mask_token": {"__type": "AddedToken", "content": "a", "lstrip": True},
        "never_split": None,
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = WordPieceTokenizer.from_pretrained(tmp_path)
    assert tokenizer.mask_token == "a"
    assert tokenizer.model_max_length is None
    assert not tokenizer.normalizer.do_lower_case


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "tokenizer_config.json: expected JSON in UTF-8"),
        ("[1]", "tokenizer_config.json: expected a JSON object, got list"),
        ('{"do_lower_case": "no"}', "do_lower_case: expected true or false, got 'no'"),
        ('{"strip_accents": 1}', "strip_accents: expected true or false or null, got 1"),
        (
            '{"max_input_chars_per_word": true}',
            "max_input_chars_per_word: expected an integer, got True",
        ),
        ('{"pad_token": {"content": 3}}', "pad_token: expected a string, got 3"),
        (
            r'{"continuing_subword_prefix": "\ud800"}',
            r"continuing_subword_prefix: expected a string, got '\\ud800'",
        ),
        ('{"pad_token": "<pad>"}', "pad_token: expected a piece of the vocabulary, got '<pad>'"),
    ],
)
def test_from_pretrained_names_an_invalid_configuration(tmp_path, config, message):
    save_without_json(PIECES, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(config)
    with pytest.raises(ValueError, match=message) as caught:
        WordPieceTokenizer.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_from_pretrained_names_an_invalid_vocabulary(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt: no such file"):
        WordPieceTokenizer.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(ValueError, match=r"vocab\.txt, line 2: byte 0xff is not UTF-8"):
        WordPieceTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a\nb\n", r"unk_token: expected a piece of the vocabulary, got '\[UNK\]'"),
        ("\n", r"unk_token: expected a piece of the vocabulary, got '\[UNK\]'"),
        ("[UNK]\na\n", r"sep_token: expected a piece of the vocabulary, got '\[SEP\]'"),
        ("[UNK]\n\na\n\n", r"sep_token: expected a piece of the vocabulary, got '\[SEP\]'"),
    ],
)
def test_from_pretrained_refuses_an_incomplete_vocabulary(tmp_path, lines, message):
    (tmp_path / "vocab.txt").write_text(lines)
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("")
    with pytest.raises(ValueError, match=r"vocab\.txt: the file is empty"):
        WordPieceTokenizer.from_pretrained(tmp_path)


def test_from_pretrained_reads_a_blank_line_as_a_piece(tmp_path):
    """As in transformers, the pieces after it keep their ids."""
    (tmp_path / "vocab.txt").write_text("\n".join([*PIECES[:5], "", "a"]))
    tokenizer = WordPieceTokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode("a").input_ids == [2, 6, 3]


def test_from_pretrained_prefers_the_configuration_to_the_special_tokens_map(tmp_path):
    save_without_json([*PIECES, "<p>", "<m>"], tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<m>"}')
    mapping = {"pad_token": "<p>", "mask_token": {"content": "<m>", "lstrip": True}}
    mapping["additional_special_tokens"] = ["<e>", {"content": "<f>", "rstrip": True}]
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(mapping))
    tokenizer = WordPieceTokenizer.from_pretrained(tmp_path)
    assert (tokenizer.pad_token, tokenizer.mask_token) == ("<m>", "<m>")
    assert tokenizer.tokenize("<e><f> <e>") == ["<e>", "<f>", "<e>"]
    assert [tokenizer.vocab["<e>"], tokenizer.vocab["<f>"]] == [13, 14]


def test_from_pretrained_reads_added_tokens_decoder(tmp_path):
    save_without_json(PIECES, tmp_path)
    path = tmp_path / "tokenizer_config.json"
    added = {"4": {"content": "[MASK]", "lstrip": True, "special": True}, "11": {"content": "a a"}}
    path.write_text(json.dumps({"added_tokens_decoder": added}))
    tokenizer = WordPieceTokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode("a  [MASK] A A").input_ids == [2, 5, 4, 11, 3]
    assert tokenizer.encode("a  [MASK]").offsets[2] == (1, 9)
    added["12"] = added.pop("11")
    path.write_text(json.dumps({"added_tokens_decoder": added}))
    with pytest.raises(ValueError, match="added token 'a a' has id 12, where 11 is next"):
        WordPieceTokenizer.from_pretrained(tmp_path)
    path.write_text('{"added_tokens_decoder": {"x": 1}}')
    with pytest.raises(ValueError, match="can't make out the added tokens"):
        WordPieceTokenizer.from_pretrained(tmp_path)


def test_from_pretrained_reads_extra_special_tokens(tmp_path):
    save_without_json(PIECES, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"extra_special_tokens": ["<e>"]}')
    assert WordPieceTokenizer.from_pretrained(tmp_path).encode("a<e>").input_ids == [2, 5, 11, 3]
    (tmp_path / "tokenizer_config.json").write_text('{"extra_special_tokens": [""]}')
    with pytest.raises(
        ValueError, match=r"tokenizer_config\.json: can't make out the added tokens"
    ):
        WordPieceTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(("length", "kept"), [(10**9, 10**9), (10**9 + 1, None), (0, 0)])
def test_from_pretrained_reads_a_huge_length_as_none(tmp_path, length, kept):
    save_without_json(PIECES, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(f'{{"model_max_length": {length}}}')
    assert WordPieceTokenizer.from_pretrained(tmp_path).model_max_length == kept


def test_from_pretrained_reads_added_tokens_of_older_folders(tmp_path):
    save_without_json(PIECES, tmp_path)
    (tmp_path / "special_tokens_map.json").write_text('{"additional_special_tokens": ["<E>"]}')
    (tmp_path / "added_tokens.json").write_text('{"<E>": 12, "New York": 11}')
    tokenizer = WordPieceTokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode("new york <E>").input_ids == [2, 11, 12, 3]
    assert tokenizer.encode("<e>").input_ids == [2, 1, 1, 1, 3]  # the token is not normalized
    assert 12 in tokenizer.all_special_ids
    (tmp_path / "added_tokens.json").write_text('{"<E>": "12"}')
    message = r"added_tokens\.json: added token: expected an integer as its id, got '12'$"
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer.from_pretrained(tmp_path)


def test_save_and_load_special_tokens_that_are_added(tmp_path):
    added = [AddedToken("<end>", normalized=False, special=True)]
    tokenizer = WordPieceTokenizer(PIECES, sep_token="<end>", added_tokens=added)
    assert tokenizer.encode("a").input_ids == [2, 5, 11]
    tokenizer.save_pretrained(tmp_path)
    assert WordPieceTokenizer.from_pretrained(tmp_path).encode("a").input_ids == [2, 5, 11]


TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ],
}
TEMPLATE["pair"] = [
    *TEMPLATE["single"],
    {"Sequence": {"id": "B", "type_id": 1}},
    {"SpecialToken": {"id": "[SEP]", "type_id": 1}},
]


@pytest.fixture
def whole(tmp_path):
    """Return a function that changes the saved tokenizer.json and loads it."""
    WordPieceTokenizer(PIECES, do_lower_case=False).save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()

    def load(**changes):
        content = json.loads((tmp_path / "tokenizer.json").read_text())
        content |= {name: value for name, value in changes.items() if name != "model"}
        content["model"] |= changes.get("model", {})
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        return WordPieceTokenizer.from_pretrained(tmp_path)

    return load


def test_from_pretrained_needs_tokenizer_json_only(whole, tmp_path):
    expected = state(WordPieceTokenizer(PIECES, do_lower_case=False))
    (tmp_path / "vocab.txt").unlink()
    assert state(whole()) == expected
    assert state(whole(post_processor=TEMPLATE)) == expected
    alone = {"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}]}
    assert state(whole(pre_tokenizer=alone)) == expected
    normalizer = json.loads((tmp_path / "tokenizer.json").read_text())["normalizer"]
    assert state(whole(normalizer={"type": "Sequence", "normalizers": [normalizer]})) == expected
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    del content["model"]["type"]  # as in old files
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert state(WordPieceTokenizer.from_pretrained(tmp_path)) == expected
    nothing = whole(normalizer=None).normalizer
    assert nothing == Normalizer(False, False, False, False)
    assert nothing.normalize("É\x00 中") == "É\x00 中"
    model = {"unk_token": "a", "continuing_subword_prefix": "@", "max_input_chars_per_word": 3}
    ends = {"type": "BertProcessing", "cls": ["a", 5], "sep": ["É", 7]}
    changed = whole(model=model, post_processor=ends)
    assert (changed.unk_token, changed.vocabulary.prefix) == ("a", "@")
    assert (changed.cls_token, changed.sep_token) == ("a", "É")
    assert changed.max_input_chars_per_word == 3


def test_from_pretrained_reads_the_frame_of_mpnet(whole, tmp_path):
    ends = {"type": "RobertaProcessing", "cls": ["a", 5], "sep": ["É", 7]}
    tokenizer = whole(post_processor=ends)
    expected = [5, tokenizer.unk_token_id, 7, 7, 5, 7]
    encoding = tokenizer.encode("x", "a")
    assert encoding.input_ids == expected
    assert encoding.token_type_ids == [0] * 6
    batch = tokenizer.encode_batch(["x"], ["a"], max_length=8, padding="max_length")
    assert batch["input_ids"][0].tolist() == [*expected, *[tokenizer.pad_token_id] * 2]
    tokenizer.save_pretrained(tmp_path / "again")
    again = WordPieceTokenizer.from_pretrained(tmp_path / "again")
    assert again.template == tokenizer.template
    assert again.encode("x", "a").input_ids == expected
    with pytest.raises(ValueError, match="max_length: expected at least 4"):
        again.encode("x", "a", max_length=3)


def test_model_input_names_are_read_and_saved(tmp_path):
    tokenizer = WordPieceTokenizer(PIECES)
    assert "token_type_ids" in tokenizer.model_input_names
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    names = ["input_ids", "attention_mask"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_input_names": names}))
    again = WordPieceTokenizer.from_pretrained(tmp_path)
    assert again.model_input_names == tuple(names)
    again.save_pretrained(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert config["model_input_names"] == names
    for wrong, shown in (
        ("input_ids", "'inp"),
        (["input_ids", "\ud800"], r"\['input_ids', '.ud800"),
    ):
        path.write_text(json.dumps({"model_input_names": wrong}))
        message = f"model_input_names: expected a list of names, got {shown}"
        with pytest.raises(ValueError, match=message):
            WordPieceTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"type": "BPE"}}, "model: expected WordPiece, got BPE"),
        ({"model": {"vocab": {"[UNK]": 0, "a": -2}}}, "ids from 0, got -2 for 'a'"),
        ({"model": {"vocab": {"[UNK]": 0, "a": "2"}}}, "vocab: expected an integer as its id"),
        ({"model": {"vocab": {"[UNK]": 0, "a": 10**9}}}, "at most 100,000 unused ids, got 10+1 "),
        (
            {"model": {"vocab": ["a"]}},
            r"not a tokenizer's file \(TypeError: model: vocab: expected an object\)$",
        ),
        ({"normalizer": {"type": "NFC"}}, "normalizer: expected BertNormalizer, got NFC"),
        (
            {"normalizer": {"type": "Sequence", "normalizers": [{}, {}]}},
            "normalizer: expected BertNormalizer, got Sequence",
        ),
        ({"pre_tokenizer": None}, "pre_tokenizer: expected BertPreTokenizer, got none"),
        ({"post_processor": None}, "post_processor: expected BertProcessing, .* got none"),
        (
            {"post_processor": TEMPLATE | {"pair": TEMPLATE["single"]}},
            "post_processor: expected .* got TemplateProcessing",
        ),
        ({"added_tokens": [{"id": 77, "content": "x"}]}, "'x' has id 77, where 11 is next"),
        (
            {"added_tokens": [{"id": 77}]},
            r"tokenizer\.json: not a tokenizer's file \(KeyError: 'content'\)$",
        ),
        (
            {"added_tokens": [{"id": "7", "content": "x"}]},
            r"\(TypeError: added token: expected an integer as its id, got '7'\)$",
        ),
        (
            {"added_tokens": [{"id": 11, "content": "x", "lstrip": 1}]},
            r"\(TypeError: added token: expected true or false as its options\)$",
        ),
        (
            {"model": {"max_input_chars_per_word": "x"}},
            r"tokenizer\.json: max_input_chars_per_word: expected an integer, got 'x'$",
        ),
    ],
)
def test_from_pretrained_refuses_other_kinds_of_tokenizers(whole, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        whole(**changes)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_from_pretrained_refuses_a_model_without_a_type(whole, tmp_path):
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    del content["model"]["type"], content["model"]["max_input_chars_per_word"]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"model: expected WordPiece, got one of no type$"):
        WordPieceTokenizer.from_pretrained(tmp_path)


def test_save_pretrained_keeps_the_old_file_after_a_failure(tmp_path):
    WordPieceTokenizer(PIECES).save_pretrained(tmp_path)
    before = (tmp_path / "vocab.txt").read_bytes()
    tokenizer = WordPieceTokenizer([*PIECES, "b"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "vocab.txt").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3
