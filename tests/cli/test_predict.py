"""`minibert predict`."""

import json

import pytest

from tests.cli.helpers import assert_refused, run, write_lines


def test_predict_prints_label_probability_and_text(workspace, capsys, monkeypatch):
    assert run(["predict", workspace / "classifier", "the cat", "the dog"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[2] for line in lines] == ["the cat", "the dog"]
    assert {line[0] for line in lines} <= {"cats", "dogs"}
    assert all(0.5 <= float(line[1]) <= 1 for line in lines)
    assert run(["predict", workspace / "classifier", "--file", workspace / "labelled.tsv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 16
    monkeypatch.setattr("sys.stdin", iter(["the cat\n", "the dog\n"]))
    assert run(["predict", workspace / "classifier"]) == 0
    assert [line.split("\t") for line in capsys.readouterr().out.splitlines()] == lines


@pytest.mark.slow
def test_predict_reports_truncated_texts_and_tags_long_ones_completely(workspace, tmp_path, capsys):
    path = write_lines(tmp_path / "long.tsv", "text", "the cat " * 5000, "a dog")
    assert run(["predict", workspace / "classifier", "--file", path]) == 0
    out, printed = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "1 of 2 texts are longer than 16 tokens and are truncated" in printed
    words = write_lines(tmp_path / "long.conll", *["the O", "cat B-PET"] * 5000, "", "a O")
    tagger = tmp_path / "tagger"
    start = ["--tokenizer", workspace / "tokenizer", "--length", 16, "--epochs", 1]
    assert run(["finetune", words, "--dev", words, *start, "--out", tagger]) == 0
    capsys.readouterr()
    assert run(["predict", tagger, "--file", words]) == 0
    assert len(capsys.readouterr().out.split("\n\n")[0].splitlines()) == 10_000


def test_predict_refuses_bad_input(workspace, tmp_path, capsys):
    assert_refused(capsys, ["predict", tmp_path / "nothing", "x"], "nothing")
    assert_refused(
        capsys, ["predict", workspace / "model", "x"], "labels texts or words, got BertForMaskedLM"
    )
    both = ["predict", workspace / "classifier", "a", "--file", workspace / "labelled.tsv"]
    assert_refused(capsys, both, "texts or --file")


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("rows.csv", ["text", '"a, cat"', "", '""', "a dog"]),
        ("rows.csv", ["id,text", '1,"a, cat"', "2,", '3,""', "4,a dog"]),
        ("rows.tsv", ["text\tid", "a, cat\t1", "\t2", "\t3", "a dog\t4"]),
        ("rows.jsonl", [json.dumps({"text": text}) for text in ("a, cat", "", None, "a dog")]),
        ("rows.txt", ["a, cat", "", "", "a dog"]),
        (None, ["a, cat", "", "", "a dog"]),
    ],
)
def test_predict_prints_a_line_for_each_row(workspace, tmp_path, capsys, monkeypatch, name, lines):
    if name is None:
        monkeypatch.setattr("sys.stdin", iter([f"{line}\n" for line in lines]))
        file = []
    else:
        file = ["--file", write_lines(tmp_path / name, *lines)]
    assert run(["predict", workspace / "classifier", *file]) == 0
    printed = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [text for _, _, text in printed] == ["a, cat", "", "", "a dog"]
