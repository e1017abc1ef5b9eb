"""`minibert tokenize`."""

import dataclasses
import json

from tests.cli.helpers import assert_refused, run


def test_tokenize_prints_each_output_format(workspace, tmp_path, capsys, monkeypatch, tokenizer):
    def tokenize(*arguments):
        assert run(["tokenize", workspace / "tokenizer", *arguments]) == 0
        return capsys.readouterr().out

    assert tokenize("The cats.", "[MASK]") == "[CLS] the cat ##s . [SEP]\n[CLS] [MASK] [SEP]\n"
    ids = tokenizer.encode("The cats.").input_ids
    assert tokenize("The cats.", "--as", "ids") == " ".join(map(str, ids)) + "\n"
    everything = json.loads(tokenize("The cats.", "--as", "json"))
    assert everything["offsets"] == [[0, 0], [0, 3], [4, 7], [7, 8], [8, 9], [0, 0]]
    assert everything["word_ids"] == [None, 0, 1, 1, 2, None]
    assert "[ ma" not in tokenize("[MASK]")
    plain = tokenizer.encode("[MASK]", split_special_tokens=True)
    assert plain.tokens[:6] == ["[CLS]", "[UNK]", "m", "##a", "##s", "##k"]
    for form, printed in {
        ("--as", "tokens"): plain.tokens,
        ("--as", "ids"): list(map(str, plain.input_ids)),
        ("--as", "json"): json.dumps(dataclasses.asdict(plain)).split(),
        ("--offsets",): plain.tokens,
    }.items():
        lines = tokenize("[MASK]", *form, "--split-special-tokens").splitlines()
        assert lines[form == ("--offsets",)].split() == printed
    assert tokenize("The cats", "--offsets").splitlines() == [
        "       The  cat  s",
        "[CLS]  the  cat  ##s  [SEP]",
        "       0-3  4-7  7-8",
        "",
    ]
    (tmp_path / "a.txt").write_text("The cats.\n\nThe dog\n")
    expected = "[CLS] the cat ##s . [SEP]\n[CLS] [SEP]\n[CLS] the dog [SEP]\n"
    assert tokenize("--file", tmp_path / "a.txt") == expected
    monkeypatch.setattr("sys.stdin", iter(["The cats.\n", "\n", "The dog"]))
    assert tokenize() == expected
    assert_refused(
        capsys, ["tokenize", workspace / "tokenizer", "x", "--file", "y"], "texts or --file"
    )
