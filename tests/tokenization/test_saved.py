"""A tokenizer saved is the tokenizer loaded."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import WordPieceTokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "É", "\u2028", " x ", ""]


def state(tokenizer):
    names = "model_max_length max_input_chars_per_word normalizer all_special_tokens pad_token"
    return list(tokenizer.vocab), [getattr(tokenizer, name) for name in names.split()]


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
            "max_input_chars_per_word": st.integers(1, 200),
            "model_max_length": st.none() | st.integers(1, 10**6),
            "pad_token": st.sampled_from(["[PAD]", "[SEP]", "<päd>"]),
        },
    ),
)
def test_a_round_trip_keeps_everything(tmp_path_factory, more, options):
    folder = tmp_path_factory.mktemp("tokenizer")
    pieces = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<päd>", *more]))
    tokenizer = WordPieceTokenizer(pieces, **options)
    tokenizer.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["tokenizer_config.json", "vocab.txt"]
    assert state(WordPieceTokenizer.from_pretrained(folder)) == state(tokenizer)


def test_the_configuration_may_be_missing(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("".join(f"{p}\r\n" for p in PIECES).encode())
    assert state(WordPieceTokenizer.from_pretrained(tmp_path)) == state(WordPieceTokenizer(PIECES))


def test_what_transformers_writes_is_understood(tmp_path):
    WordPieceTokenizer(PIECES).save_pretrained(tmp_path)
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
        ('{"pad_token": "<pad>"}', "pad_token: expected a piece of the vocabulary, got '<pad>'"),
    ],
)
def test_a_broken_configuration_is_named(tmp_path, config, message):
    WordPieceTokenizer(PIECES).save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(config)
    with pytest.raises(ValueError, match=message) as caught:
        WordPieceTokenizer.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_vocabulary_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt: no such file"):
        WordPieceTokenizer.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(ValueError, match=r"vocab\.txt, line 2: byte 0xff is not UTF-8"):
        WordPieceTokenizer.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\na\na\n")
    with pytest.raises(ValueError, match="'a' occurs twice") as caught:
        WordPieceTokenizer.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    WordPieceTokenizer(PIECES).save_pretrained(tmp_path)
    before = (tmp_path / "vocab.txt").read_bytes()
    with pytest.raises(ValueError, match="surrogates not allowed"):
        WordPieceTokenizer([*PIECES, "\ud800"]).save_pretrained(tmp_path)
    assert (tmp_path / "vocab.txt").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2
