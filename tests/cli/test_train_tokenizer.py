"""`minibert train-tokenizer`."""

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
