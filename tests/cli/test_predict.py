"""`minibert predict`."""

import json

import pytest

from minibert import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    CrossEncoder,
)
from minibert.inference.cross_encoder import SCORES
from minibert.tasks import MultiLabelTask, TaggingTask
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


def test_predict_reads_long_texts_over_windows_and_says_so(workspace, tmp_path, capsys):
    path = write_lines(tmp_path / "long.tsv", "text", "the cat " * 30, "a dog")
    command = ["predict", workspace / "classifier", "--file", path, "--as", "jsonl"]
    found = []
    for more in ([], ["--stride", 9], ["--truncate"], ["--threads", 1]):
        assert run([*command, *more]) == 0
        out, printed = capsys.readouterr()
        done = "truncated" if "--truncate" in more else "predicted over windows"
        assert f"1 of 2 texts are longer than 16 tokens and are {done}" in printed
        found.append([json.loads(line)["probabilities"]["cats"] for line in out.splitlines()])
    windows, wide, cut, again = found
    assert len({windows[0], wide[0], cut[0]}) == 3
    assert windows[1] == wide[1] == cut[1]
    assert again == windows
    assert_refused(capsys, [*command, "--stride", 14], "stride: expected at least 0 and less")


def test_predict_prints_the_most_probable_classes(workspace, capsys):
    command = ["predict", workspace / "classifier", "the cat", "--top"]
    assert run([*command, 2]) == 0
    first, share, second, other, text = capsys.readouterr().out.strip().split("\t")
    assert {first, second} == {"cats", "dogs"}
    assert float(share) + float(other) == pytest.approx(1, abs=2e-3)
    assert float(share) >= float(other)
    assert text == "the cat"
    assert run([*command, 1, "--as", "jsonl"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["label"] == row["top"][0]["label"] == first
    assert len(row["top"]) == 1
    assert "probabilities" not in row
    assert_refused(capsys, [*command, 0], "top: expected at least 1, got 0")
    assert_refused(
        capsys, ["predict", workspace / "classifier", "x", "--threshold", 0.5], "several labels"
    )
    assert_refused(
        capsys, ["predict", workspace / "classifier", "x", "--threads", 0], "threads: expected"
    )


def save_model(folder, tokenizer, kind, **fields):
    """Write a small model with random weights, and the tokenizer (path)."""
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=16, initializer_range=0.9, **fields,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    kind(config).save_pretrained(folder)
    return folder


def test_predict_and_evaluate_take_a_threshold(tokenizer, tmp_path, capsys):
    task = MultiLabelTask(["big", "red"])
    model = save_model(tmp_path, tokenizer, BertForSequenceClassification, **task.config())
    shares = {}
    for threshold in (0, None, 1):
        more = [] if threshold is None else ["--threshold", threshold]
        assert run(["predict", model, "the cat", "--as", "jsonl", *more]) == 0
        row = json.loads(capsys.readouterr().out)
        shares[threshold] = row["label"]
        bound = 0.5 if threshold is None else threshold
        assert row["label"] == [name for name, p in row["probabilities"].items() if p > bound]
    assert shares[0] == ["big", "red"]
    assert shares[1] == []
    rows = write_lines(tmp_path / "rows.tsv", "label\ttext", "big\tthe cat", "big,red\ta dog")
    for threshold, expected in ((0, "recall 100.0%"), (1, "recall 0.0%")):
        assert run(["evaluate", model, rows, "--threshold", threshold]) == 0
        assert expected in capsys.readouterr().out
    assert_refused(capsys, ["predict", model, "x", "--threshold", 2], "from 0 to 1, got 2")


def test_predict_scores_pairs_with_the_activation_of_a_cross_encoder(tokenizer, tmp_path, capsys):
    model = save_model(
        tmp_path / "model", tokenizer, BertForSequenceClassification, id2label={0: "LABEL_0"}
    )
    rows = write_lines(
        tmp_path / "rows.tsv", "sentence1\tsentence2", "the cat\ta dog", "a dog\tthe tree"
    )
    pairs = [("the cat", "a dog"), ("a dog", "the tree")]
    encoder = CrossEncoder.from_pretrained(model)
    for name in ("Identity", "Sigmoid"):
        encoder.activation_fn = SCORES[name]
        encoder.save_pretrained(model)
        assert run(["predict", model, "--file", rows, "--as", "jsonl"]) == 0
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(row["text"], row["pair"]) for row in found] == pairs
        scores = encoder.predict(pairs)
        assert [row["label"] for row in found] == pytest.approx(scores.tolist(), rel=1e-5)
    assert run(["predict", model, "--file", rows]) == 0
    printed = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(text, pair) for _, text, pair in printed] == pairs


def test_predict_prints_entities_with_the_positions_of_their_characters(
    tokenizer, tmp_path, capsys
):
    task = TaggingTask(["O", "B-PET", "I-PET"])
    model = save_model(tmp_path, tokenizer, BertForTokenClassification, **task.config())
    line = "The  cat's mat (red, big) and  a dog, then the tree was ..."
    assert run(["predict", model, line, "--as", "jsonl"]) == 0
    out, printed = capsys.readouterr()
    assert "1 of 1 texts are longer than 16 tokens and are predicted over windows" in printed
    row = json.loads(out)
    assert row["text"] == line
    assert row["words"] == tokenizer.words_of(line)
    assert len(row["entities"]) > 1
    for entity in row["entities"]:
        assert list(entity) == ["entity_group", "word", "start", "end", "score"]
        assert entity["entity_group"] == "PET"
        assert line[entity["start"] : entity["end"]] == entity["word"].strip() != ""
    assert_refused(capsys, ["predict", model, line, "--top", 2], "top: expected a model that class")
    assert_refused(capsys, ["predict", model, line, "--truncate"], "truncate: expected false")


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
