"""`minibert answer`."""

import json
from functools import partial

import pytest

from minibert import BertConfig, BertForQuestionAnswering, QuestionAnswerer
from minibert.inference.long_answers import overlapping_parts
from minibert.inference.question_answering import Answer
from tests.cli.helpers import assert_refused, run, write_lines

TEXT = ["the cat sat", "on the mat and the big red dog ran under the tree", "it was red"]


@pytest.fixture
def model(tokenizer, tmp_path):
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=16, initializer_range=0.9,
    )  # fmt: skip
    tokenizer.save_pretrained(tmp_path / "model")
    BertForQuestionAnswering(config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_answer_prints_the_best_answers_of_each_file(model, tmp_path, capsys, monkeypatch):
    files = [write_lines(tmp_path / f"{i}.txt", *lines) for i, lines in enumerate((TEXT, TEXT[:1]))]
    texts = ["\n".join(TEXT), TEXT[0]]
    command = ["answer", model, "--question", "the dog", *files, "--top", 2, "--stride", 3]
    expected = QuestionAnswerer.from_pretrained(model, stride=3)(["the dog"] * 2, texts, top_k=2)
    assert run([*command, "--as", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == [str(file) for file in files for _ in range(2)]
    for row, answer in zip(rows, [one for several in expected for one in several], strict=True):
        assert row["question"] == "the dog"
        assert (row["answer"], row["start"], row["end"]) == (answer.answer, *answer[2:])
        assert row["score"] == pytest.approx(answer.score, abs=1e-5)
    assert run(command) == 0
    printed = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[2:] for line in printed] == [
        [str(row["start"]), str(row["end"]), row["file"]] for row in rows
    ]
    assert [line[0] for line in printed] == [" ".join(row["answer"].split()) for row in rows]
    monkeypatch.setattr("sys.stdin", iter([f"{line}\n" for line in TEXT]))
    assert run(["answer", model, "--question", "the dog", "--stride", 3]) == 0
    assert capsys.readouterr().out.strip().split("\t")[2:] == [*printed[0][2:4], "-"]


def test_answer_may_print_no_answer(model, tmp_path, capsys):
    file = write_lines(tmp_path / "text.txt", "it")
    command = ["answer", model, "--question", "the dog", file, "--top", 9]
    assert run(command) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert run([*command, "--no-answer", "--as", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(row["answer"] for row in rows) == ["", "it"]
    (none,) = [row for row in rows if not row["answer"]]
    assert (none["start"], none["end"]) == (0, 0)


@pytest.mark.parametrize("text", ["the cat\n\nthe red dog \n", "\n the\ncat", "the " * 40])
@pytest.mark.parametrize("longest", [7, 1000])
def test_answer_reads_a_text_in_pieces(model, tmp_path, capsys, monkeypatch, text, longest):
    """The pieces of a file are longer or shorter than its lines, and its text is the same."""
    monkeypatch.setattr("minibert.cli.answer.READ_BYTES", longest)
    read = []

    def answers(answerer, question, pieces, **options):
        read.append("".join(pieces))
        return [Answer("the", 1.0, 0, 3)]

    monkeypatch.setattr("minibert.cli.answer.answer_parts", answers)
    (tmp_path / "text.txt").write_text(text)
    command = ["answer", model, "--question", "the dog"]
    assert run([*command, tmp_path / "text.txt"]) == 0
    monkeypatch.setattr("sys.stdin", iter(text.splitlines(keepends=True)))
    assert run(command) == 0
    assert read == [text.removesuffix("\n")] * 2


def test_answer_reads_a_text_that_is_too_long_for_the_memory(model, tmp_path, capsys, monkeypatch):
    whole, blank = tmp_path / "text.txt", write_lines(tmp_path / "blank.txt", *[" "] * 200)
    whole.write_text("\n".join(TEXT * 20))
    parts = partial(overlapping_parts, longest=300, shared=60)
    monkeypatch.setattr("minibert.inference.long_answers.overlapping_parts", parts)
    command = ["answer", model, "--question", "the dog", "--top", 3, "--as", "jsonl"]
    assert run([*command, whole]) == 0
    for line in capsys.readouterr().out.splitlines():
        row = json.loads(line)
        assert whole.read_text()[row["start"] : row["end"]] == row["answer"]
    assert_refused(capsys, [*command, blank], "blank.txt: expected a text, got an empty one")


def test_answer_refuses_bad_input(model, workspace, tmp_path, capsys, monkeypatch):
    file = write_lines(tmp_path / "text.txt", "the cat")
    blank = write_lines(tmp_path / "blank.txt", " ", "")
    command = ["answer", model, "--question", "the dog"]
    assert_refused(capsys, [*command, tmp_path / "none.txt"], "none.txt: no such file")
    assert_refused(capsys, [*command, blank], "blank.txt: expected a text, got an empty one")
    assert_refused(capsys, [*command, file, "--top", 0], "top_k: expected at least 1, got 0")
    assert_refused(capsys, [*command, file, "--max-length", 17], "max_length: expected 3 to 16")
    assert_refused(
        capsys, ["answer", model, "--question", "dog " * 14, file], "questions[0]: expected fewer"
    )
    other = ["answer", workspace / "classifier", "--question", "the dog", file]
    assert_refused(capsys, other, "lacks 2 arrays of BertForQuestionAnswering")
    monkeypatch.setattr("sys.stdin", iter([]))
    assert_refused(capsys, command, "standard input: expected lines of text, got none")
