"""The files of a byte-level BPE tokenizer: round trips, older formats, and faults."""

import json

import pytest

from minibert import AutoTokenizer
from minibert.tokenization import AddedToken, ByteLevelBPETokenizer, WordPieceTokenizer
from minibert.tokenization.byte_alphabet import ALPHABET
from minibert.tokenization.framing import BARE, BERT
from tests.tokenization.test_byte_level_bpe import MERGES, PIECES, make

TEXT = "the he's <mask> é  x"
WORDPIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"]


def state(tokenizer):
    """Return what a tokenizer consists of, and its encoding of a pair."""
    options = tokenizer.saved_options() | {"template": tokenizer.template}
    options["inputs"] = tokenizer.model_input_names
    added = {token.content: token for token in tokenizer.added_tokens}
    rest = (tokenizer.merges, dict(tokenizer.vocab), added, options)
    return (*rest, tokenizer.encode(TEXT, " the"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"add_prefix_space": True, "trim_offsets": False, "model_max_length": 512},
        {"template": BERT, "ignore_merges": True, "added_tokens": [AddedToken("é", rstrip=True)]},
        {"template": BERT, "trim_offsets": False, "added_tokens": [AddedToken("<mask>")]},
        {"template": BARE, "mask_token": None, "pad_token": None, "bos_token": "a"},
    ],
)
def test_saved_tokenizer_is_loaded_unchanged(tmp_path, options):
    tokenizer = make(**options)
    tokenizer.save_pretrained(tmp_path)
    names = {"merges.txt", "tokenizer.json", "tokenizer_config.json", "vocab.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    again = ByteLevelBPETokenizer.from_pretrained(tmp_path)
    assert state(again) == state(tokenizer)
    assert state(AutoTokenizer.from_pretrained(tmp_path)) == state(tokenizer)
    changed = ByteLevelBPETokenizer.from_pretrained(tmp_path, add_prefix_space=True)
    assert changed.add_prefix_space


def test_vocab_json_and_merges_txt_suffice(tmp_path):
    make().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert state(AutoTokenizer.from_pretrained(tmp_path)) == state(make())
    (tmp_path / "tokenizer_config.json").unlink()
    assert state(AutoTokenizer.from_pretrained(tmp_path)) == state(make())


def test_the_files_of_gpt2_are_read(tmp_path):
    pieces = [*ALPHABET, "he", "<|endoftext|>"]
    ids = {piece: i for i, piece in enumerate(pieces)}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nh e\n\n")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.template == BARE
    assert tokenizer.encode("the<|endoftext|>he").tokens == ["t", "he", "<|endoftext|>", "he"]
    assert tokenizer.unk_token_id == tokenizer.eos_token_id == 257
    assert tokenizer.cls_token is tokenizer.pad_token is tokenizer.mask_token is None
    tokenizer.save_pretrained(tmp_path)
    assert state(AutoTokenizer.from_pretrained(tmp_path)) == state(tokenizer)


@pytest.fixture
def whole(tmp_path):
    """Return a function that changes the saved tokenizer.json and loads it."""
    make().save_pretrained(tmp_path)

    def load(**changes):
        content = json.loads((tmp_path / "tokenizer.json").read_text())
        content |= {name: value for name, value in changes.items() if name != "model"}
        content["model"] |= changes.get("model", {})
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        return AutoTokenizer.from_pretrained(tmp_path)

    return load


def test_merges_of_older_files_are_lines(whole):
    expected = state(make())
    assert state(whole(model={"merges": [" ".join(merge) for merge in MERGES]})) == expected
    alone = {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "trim_offsets": False}]}
    assert whole(pre_tokenizer=alone).add_prefix_space is False  # tokenizer_config.json says so


IDS = {piece: i for i, piece in enumerate(PIECES)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"type": "WordLevel"}},
            "or BPE or Unigram, got WordLevel",
        ),
        ({"model": {"type": 3}}, "model: expected WordPiece or BPE or Unigram, got 3"),
        ({"model": {"dropout": 0.1}}, "model: dropout: expected none, got 0.1"),
        ({"model": {"end_of_word_suffix": "</w>"}}, "end_of_word_suffix: expected none, got </w>"),
        ({"model": {"merges": [["h"]]}}, r"merges\[0\]: expected two pieces, got \['h'\]"),
        ({"model": {"merges": ["a b c"]}}, r"merges\[0\]: expected two pieces, got 'a b c'"),
        ({"model": {"merges": [["h", 3]]}}, r"merges\[0\]: expected two pieces, got \['h', 3\]"),
        ({"model": {"merges": [["h", "q"]]}}, r"merges\[0\]: .* got 'h' and 'q'; 'hq' is not one"),
        ({"model": {"merges": {}}}, r"\(TypeError: model: vocab, merges: expected an object"),
        ({"model": {"vocab": IDS | {"x": "1"}}}, "vocab: expected an integer as its id, got '1'"),
        ({"model": {"vocab": IDS | {"x": -1}}}, "expected lines of text with ids from 0, got -1"),
        ({"model": {"vocab": IDS | {"x": 10**9}}}, "expected at most 100,000 unused ids"),
        ({"model": {"vocab": IDS | {"x": 7}}}, "vocab: expected different ids, got 7 for '.' and "),
        ({"model": {"vocab": {"x": 0}}}, "vocab: expected the characters of all 256 bytes, got 1;"),
        ({"normalizer": {"type": "X"}}, "normalizer: expected Precompiled, .*, got X"),
        ({"pre_tokenizer": None}, "pre_tokenizer: expected ByteLevel, got none"),
        (
            {"pre_tokenizer": {"type": "ByteLevel", "use_regex": False}},
            "pre_tokenizer: use_regex: expected true, got false",
        ),
        ({"post_processor": {"type": "X"}}, "post_processor: expected BertProcessing, .* got X"),
    ],
)
def test_other_kinds_and_damaged_files_are_refused(whole, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        whole(**changes)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("merges.txt", "#version: 0.2\nh e\nh\n", "merges.txt, line 3: expected two pieces"),
        ("merges.txt", "h e\nh q\n", "line 2: expected two pieces whose whole is a .* got 'h q'"),
        ("merges.txt", "h \x00e\n", "merges.txt, line 1: found a NUL byte"),
        ("merges.txt", "", "merges.txt: the file is empty"),
        ("vocab.json", '{"a": "x"}', "vocab.json: vocab: expected an integer as its id, got 'x'"),
        ("vocab.json", '{"a": 0}', "vocab.json: vocab: expected the characters of all 256 bytes"),
        ("vocab.json", json.dumps(IDS | {"<z>": 0}), "got 0 for '<s>' and '<z>'"),
        ("vocab.json", "[]", "vocab.json: expected"),
        ("vocab.json", "{", "vocab.json"),
    ],
)
def test_damaged_vocab_json_and_merges_txt_are_refused(tmp_path, name, content, message):
    make().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        ByteLevelBPETokenizer.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        ByteLevelBPETokenizer.from_pretrained(tmp_path)


def test_auto_tokenizer_chooses_by_files_and_class(tmp_path):
    tokenizer = WordPieceTokenizer(WORDPIECES)
    tokenizer.save_pretrained(tmp_path)
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is WordPieceTokenizer
    assert (
        AutoTokenizer.from_pretrained(tmp_path, do_lower_case=False).normalizer.do_lower_case
        is False
    )
    (tmp_path / "tokenizer.json").unlink()
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is WordPieceTokenizer
    make().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    config = tmp_path / "tokenizer_config.json"
    for name, kind in [
        ("RobertaTokenizerFast", ByteLevelBPETokenizer),
        ("BertTokenizer", WordPieceTokenizer),
        ("PreTrainedTokenizerFast", WordPieceTokenizer),  # both kinds of files
    ]:
        config.write_text(json.dumps({"tokenizer_class": name}))
        assert type(AutoTokenizer.from_pretrained(tmp_path)) is kind


def test_auto_tokenizer_refuses_folders_without_a_tokenizer_that_it_knows(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no tokenizer; expected tokenizer\.json, vocab"):
        AutoTokenizer.from_pretrained(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"tokenizer_class": "T5Tokenizer"}))
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: tokenizer_class: .* got T5Tok"):
        AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(TypeError, match=r"AutoTokenizer\.from_pretrained"):
        AutoTokenizer()
