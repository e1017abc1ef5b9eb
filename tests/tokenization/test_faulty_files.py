"""Vocabularies of other programs: repeated and blank pieces, unused ids, missing special tokens."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.tokenization import WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["cat", "sat", "##s", "the"]
FILES = {
    "repeated": [*SPECIAL, "the", "cat", "sat", "cat", "##s"],
    "blank": [*SPECIAL, "the", "", "cat", "##s"],
    "blank twice": [*SPECIAL, "the", "", "cat", "", "sat"],
    "blanks at the end": [*SPECIAL, *WORDS, "", "", ""],
    "one blank at the end": [*SPECIAL, *WORDS, ""],
    "white space": [f"{piece} \t" for piece in [*SPECIAL, *WORDS]],
    "no mask": [*SPECIAL[:4], *WORDS],
}
TEXTS = ["the cats sat", "the [MASK] cat", "cat cat dog", ""]


def read(folder, lines, **config):
    """Return the tokenizer of a folder with a vocab.txt and perhaps a configuration."""
    (folder / "vocab.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return WordPieceTokenizer.from_pretrained(folder)


@settings(max_examples=25)
@given(st.lists(st.sampled_from([*WORDS, "", "dog", "a ", "a"]), max_size=9))
def test_the_last_id_of_a_repeated_piece_counts_and_other_ids_are_unused(tmp_path_factory, more):
    folder = tmp_path_factory.mktemp("tokenizer")
    lines = [*SPECIAL, *more, "end"]
    tokenizer = read(folder, lines)
    last = {line.rstrip(): i for i, line in enumerate(lines)}
    assert dict(tokenizer.vocab) == last
    assert len(tokenizer) == tokenizer.vocab_size == len(lines)
    tokens = tokenizer.convert_ids_to_tokens(range(len(lines)))
    assert tokens == [w.rstrip() if last[w.rstrip()] == i else "" for i, w in enumerate(lines)]
    assert tokenizer.add_tokens(["new"]) == 1
    assert tokenizer.vocab["new"] == len(lines)
    assert tokenizer.encode("new").tokens[1] == "new"
    tokenizer.save_pretrained(folder)
    again = WordPieceTokenizer.from_pretrained(folder)
    assert dict(again.vocab) == dict(tokenizer.vocab)
    assert len(again) == len(tokenizer)


def test_unused_ids_are_reported_in_one_line_and_decoded_as_nothing(tmp_path, caplog):
    tokenizer = read(tmp_path, FILES["repeated"])
    (record,) = caplog.records
    assert record.getMessage() == f"{tmp_path}: 1 of 10 ids have no piece of their own"
    assert tokenizer.decode([5, 6, 8]) == "the cat"
    caplog.clear()
    read(tmp_path, [*SPECIAL, *WORDS])
    assert not caplog.text


def test_an_empty_vocabulary_is_refused_because_it_lacks_unk(tmp_path, caplog):
    read(tmp_path, [*SPECIAL, *WORDS]).save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    whole = json.loads(file.read_text("utf-8"))
    whole["model"]["vocab"] = {}
    file.write_text(json.dumps(whole))
    with pytest.raises(ValueError, match=r"unk_token: expected a piece of the vocabulary"):
        WordPieceTokenizer.from_pretrained(tmp_path)
    assert not caplog.text


def test_a_missing_mask_token_gets_the_next_id(tmp_path):
    tokenizer = read(tmp_path, FILES["no mask"])
    assert (tokenizer.mask_token_id, len(tokenizer), tokenizer.vocab_size) == (8, 9, 8)
    assert tokenizer.encode("the [MASK]").input_ids == [2, 7, 8, 3]


def test_tokenizer_json_may_use_an_id_twice_or_not_at_all(tmp_path):
    WordPieceTokenizer([*SPECIAL, *WORDS]).save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    whole = json.loads(path.read_text())
    whole["model"]["vocab"] |= {"dog": 12, "hen": 12, "\n": 10}
    path.write_text(json.dumps(whole))
    tokenizer = WordPieceTokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode("dog hen cat").input_ids == [2, 12, 12, 5, 3]
    assert len(tokenizer) == 13
    tokenizer.save_pretrained(tmp_path)
    again = WordPieceTokenizer.from_pretrained(tmp_path)
    assert again.encode("dog hen cat").input_ids == [2, 12, 12, 5, 3]


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        ({"mask_token": None, "pad_token": None}, "mask_token", "[MASK]"),
        ({"max_len": 77}, "model_max_length", 77),
        ({"max_len": 77, "model_max_length": 66}, "model_max_length", 66),
        ({"model_max_length": 1e30}, "model_max_length", None),
        ({"model_max_length": 64.0}, "model_max_length", 64),
    ],
)
def test_options_are_read_as_in_transformers(tmp_path, config, name, value):
    assert getattr(read(tmp_path, [*SPECIAL, *WORDS], **config), name) == value


def test_changes_replace_options_of_the_files(tmp_path):
    read(tmp_path, [*SPECIAL, *WORDS], do_lower_case=False)
    assert WordPieceTokenizer.from_pretrained(tmp_path).tokenize("THE") == ["[UNK]"]
    lower = WordPieceTokenizer.from_pretrained(tmp_path, do_lower_case=True)
    assert lower.tokenize("THE") == ["the"]
    marked = WordPieceTokenizer.from_pretrained(tmp_path, continuing_subword_prefix="##s")
    assert marked.vocabulary.prefix == "##s"


@pytest.mark.parity
@pytest.mark.parametrize("name", FILES)
def test_the_ids_of_faulty_files_are_those_of_transformers(tmp_path, name):
    import transformers

    mine = read(tmp_path, FILES[name])
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    peer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    if name not in ("repeated", "blank twice"):  # of which transformers counts the pieces
        assert len(mine) == len(peer)
    assert mine.mask_token_id == peer.mask_token_id
    for text in TEXTS:
        assert mine.encode(text).input_ids == peer(text)["input_ids"]


def test_pieces_that_make_the_search_for_the_longest_one_slow_are_refused(tmp_path):
    """A word of 16,000 characters took minutes with a piece of as many that nearly matches it."""
    lines = [*SPECIAL, "a", "##a", "##" + "a" * 600 + "b"]
    message = "vocabulary: expected pieces of at most 500 characters, or a max_input_chars_per_word"
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, lines, max_input_chars_per_word=10**9)
    assert str(caught.value).startswith(f"{tmp_path}: ")
    tokenizer = read(tmp_path, lines, max_input_chars_per_word=100)  # which bounds the search
    assert tokenizer.encode("a" * 16_000).tokens == ["[CLS]", "[UNK]", "[SEP]"]
    tokenizer = read(tmp_path, lines[:-1], max_input_chars_per_word=10**9)
    assert len(tokenizer.ids_of("a" * 16_000)) == 16_000
