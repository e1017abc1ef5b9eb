"""`minibert train-tokenizer`."""

import json

import pytest

from tests.cli.helpers import assert_refused, run


def test_train_tokenizer_saves_a_tokenizer_with_the_given_options(workspace, capsys):
    arguments = ["train-tokenizer", workspace / "corpus.txt", "--vocab-size", 60, "--out"]
    more = ["--score", "likelihood", "--initial-alphabet", "zß", "--special-tokens", "<a>", "<b>"]
    assert run([*arguments, workspace / "likely", *more]) == 0
    pieces = (workspace / "likely" / "vocab.txt").read_text().split()
    assert pieces[5:7] == ["<a>", "<b>"]
    assert {"z", "ß"} <= set(pieces)
    assert run([*arguments, workspace / "learned"]) == 0
    assert "60 pieces" in capsys.readouterr().out
    assert run(["tokenize", workspace / "learned", "the cat"]) == 0
    assert capsys.readouterr().out.startswith("[CLS] the c")


def test_train_tokenizer_learns_byte_level_bpe(workspace, tmp_path, capsys):
    out = tmp_path / "bpe"
    words = ["train-tokenizer", workspace / "corpus.txt", "--type", "bpe", "--out", out]
    assert run([*words, "--vocab-size", 270, "--add-prefix-space", "--special-tokens", "<a>"]) == 0
    assert "270 pieces" in capsys.readouterr().out
    assert len((out / "merges.txt").read_text().split("\n")) == 270 - 256 - 6 + 2
    assert run(["tokenize", out, "the cat<a>", "--as", "json"]) == 0
    tokens = json.loads(capsys.readouterr().out)["tokens"]
    assert (tokens[0], tokens[1][0], tokens[-2:]) == ("<s>", "Ġ", ["<a>", "</s>"])
    assert run(["tokenize", out, "the", "--as", "ids"]) == 0
    first, *_, last = capsys.readouterr().out.split()
    assert (first, last) == ("0", "2")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("bpe", ["--score", "likelihood"]),
        ("bpe", ["--limit-alphabet", 9]),
        ("bpe", ["--initial-alphabet", "x"]),
        ("bpe", ["--cased"]),
        ("wordpiece", ["--add-prefix-space"]),
    ],
)
def test_train_tokenizer_refuses_options_of_the_other_type(
    workspace, tmp_path, capsys, kind, words
):
    line = ["train-tokenizer", workspace / "corpus.txt", "--type", kind, "--out", tmp_path / "out"]
    assert_refused(capsys, [*line, *words], f"{words[0]}: not an option of --type {kind}")
    assert not (tmp_path / "out").exists()


def test_train_tokenizer_refuses_bad_input_and_creates_no_folder(workspace, tmp_path, capsys):
    none, out = tmp_path / "none.txt", tmp_path / "out"
    empty, binary, latin = (tmp_path / name for name in ("empty", "binary", "latin"))
    empty.write_bytes(b"")
    binary.write_bytes(b"ab\0cd")
    latin.write_bytes("good\ncaf\xe9\n".encode("latin-1"))
    learn = ["train-tokenizer", "--out", out]
    assert_refused(capsys, [*learn, none], none, "no such file")
    assert_refused(capsys, [*learn, empty], empty, "the file is empty")
    assert_refused(capsys, [*learn, binary], binary, "line 1", "NUL")
    assert_refused(capsys, [*learn, latin], latin, "line 2", "0xe9 is not UTF-8")
    assert_refused(
        capsys, [*learn, workspace / "corpus.txt", "--vocab-size", 9000], "vocab_size", "9000"
    )
    assert_refused(
        capsys,
        [*learn[:-1], workspace / "model", workspace / "corpus.txt"],
        "model: exists already",
    )
    assert_refused(
        capsys, [*learn[:-1], empty / "below", workspace / "corpus.txt"], "is not a folder"
    )
    assert not out.exists()
