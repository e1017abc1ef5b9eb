"""Labels, tokens, texts and names of files in output: escaped, quoted and read back."""

import io
import json
import re
import sys
from pathlib import Path

import pytest

from minibert import (
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    WordPieceTokenizer,
)
from minibert.cli.finetune import _report_classes
from minibert.data.delimited import split_csv
from minibert.io.text import CONTROL, PrintableStream
from minibert.tasks.base import json_line
from minibert.tasks.classification import SingleLabelTask
from minibert.tasks.examples import Examples
from tests.cli.helpers import assert_refused, run
from tests.inference.test_features import small

LABELS = ["a\x1b[31mred\tx", "b\nline\u202e"]
TEXT = "a cat\x1b[2J\x07 sat\tx\u202e the\x9b\u2028dog"
NAME = "esc\x1b[2J"  # clears the screen of a terminal


@pytest.fixture(scope="module")
def room(tmp_path_factory, tokenizer):
    """A folder with models, texts and tables that contain control characters."""
    folder = tmp_path_factory.mktemp("printed")
    classes = {"id2label": dict(enumerate(LABELS))}
    pieces = [*tokenizer.vocab, "\x1b", "\u202e"]
    for name, kind in [("mlm", BertForMaskedLM), ("answers", BertForQuestionAnswering),
                       ("texts", BertForSequenceClassification),
                       ("words", BertForTokenClassification)]:  # fmt: skip
        WordPieceTokenizer(pieces).save_pretrained(folder / name)
        own = classes if name in ("texts", "words") else {}
        small(WordPieceTokenizer(pieces), kind, **own).save_pretrained(folder / name)
    rows = [{"label": LABELS[i % 2], "text": f"{TEXT} {i}"} for i in range(8)]
    tags = [{"words": ["a\x1b[2J", "cat"], "tags": ["B-x\x1b[31m", "O"]}] * 8
    for name, lines in (("rows", rows), ("tags", tags)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    (folder / f"{NAME}.txt").write_text(f"{TEXT}\nthe dog\n", "utf-8")
    return folder


COMMANDS = {
    "predict": "predict texts {text}",
    "predict jsonl": "predict texts {text} --as jsonl",
    "predict top": "predict texts --file rows.jsonl --top 2",
    "predict words": "predict words {text}",
    "predict file of words": "predict words --file tags.jsonl",
    "evaluate": "evaluate texts rows.jsonl",
    "evaluate words": "evaluate words tags.jsonl",
    "fill-mask": "fill-mask mlm {text}[MASK]",
    "tokenize": "tokenize mlm {text}",
    "tokenize offsets": "tokenize mlm {text} --offsets",
    "tokenize json": "tokenize mlm {text} --as json",
    "similar": "similar mlm cat {name}.txt",
    "embed": "embed mlm {text}",
    "embed file": "embed mlm {text} --out {name}.npy",
    "embed store": "embed mlm --file {name}.txt --out {name}.store",
    "answer": "answer answers {name}.txt --question {text}",
    "answer jsonl": "answer answers {name}.txt --question {text} --as jsonl",
    "inspect": "inspect texts {text} --backward",
    "inspect mask": "inspect mlm {text}[MASK] --backward --html {name}.html",
    "inspect an unknown label": "inspect texts {text} --label {text}",
    "no file": "tokenize mlm --file missing{name}",
    "not a model": "embed {name} a",
    "an unknown option": "embed mlm --{name}",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_a_control_character(room, command, capsys, monkeypatch):
    monkeypatch.chdir(room)
    words = [word.format(text=TEXT, name=NAME) for word in COMMANDS[command].split()]
    try:
        run(words)
    except SystemExit:
        assert command == "an unknown option"
    printed = capsys.readouterr()
    assert not CONTROL.search(re.sub("[\t\n]", "", printed.out + printed.err)), printed
    if command in ("predict", "evaluate", "inspect", "predict words"):
        assert r"\x1b[31mred" in printed.out
    if "jsonl" in command:
        (fields,) = map(json.loads, printed.out.splitlines())
        assert TEXT in fields.values()


def test_a_stream_escapes_all_that_is_written_and_passes_the_rest_on():
    raw = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="")
    stream = PrintableStream(raw)
    assert stream.write(NAME) == len(NAME)
    stream.writelines(["\x07\t", "\u202e\n"])
    print("\r", end="", file=stream, flush=True)
    assert stream.buffer.getvalue() == rb"esc\x1b[2J\x07" + b"\t" + rb"\u202e" + b"\n" + rb"\r"
    assert (stream.encoding, stream.isatty()) == ("utf-8", False)


def test_finetune_escapes_labels(capsys):
    examples = Examples(["a"] * 4, None, LABELS * 2)
    _report_classes(SingleLabelTask(LABELS), examples, None)
    assert capsys.readouterr().out == "classes: a\\x1b[31mred\\tx 2, b\\nline\\u202e 2\n"


def test_a_store_is_searched_without_control_characters(room, capsys, monkeypatch):
    monkeypatch.chdir(room)
    assert run(["embed", "mlm", "--file", f"{NAME}.txt", "--out", f"found{NAME}.store"]) == 0
    capsys.readouterr()
    assert run(["similar", f"found{NAME}.store", "cat"]) == 0
    out = capsys.readouterr().out
    assert not CONTROL.search(re.sub("[\t\n]", "", out))
    assert r"esc\x1b[2J.txt:1" in out


def test_labels_with_tabs_and_line_ends_are_columns_that_are_read_back(room, capsys, monkeypatch):
    monkeypatch.chdir(room)
    for top, places in ((1, [0]), (2, [0, 2])):
        assert run(["predict", "texts", "--file", "rows.jsonl", "--top", top]) == 0
        lines = capsys.readouterr().out.splitlines()
        records = [fields for _, fields in split_csv(lines, "\t", Path("printed"))]
        assert len(records) == 8
        for fields in records:
            assert len(fields) == 2 * top + 1
            shown = {r"a\x1b[31mred" + "\tx", "b\nline" + r"\u202e"}
            assert {fields[place] for place in places} <= shown


def test_json_lines_escape_only_control_characters():
    texts = [chr(i) for i in range(0x3001)] + ["\ud800", "\udfff"]
    for text in texts:
        line = json_line({"text": text})
        assert json.loads(line) == {"text": text}
        assert not CONTROL.search(line)
    assert json_line({"text": "é\u3000\u200d"}) == '{"text": "é\u3000\u200d"}'


# Standard input.


def feed(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "latin-1"))


READERS = {
    "tokenize": "tokenize mlm",
    "predict": "predict texts",
    "embed": "embed mlm",
    "answer": "answer answers --question a",
    "store": "embed mlm --out new.store",
    "train-embeddings": "train-embeddings - --model mlm --out out",
    "pretrain": "pretrain - --tokenizer mlm --out out",
}


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"fine\nb\xe9d\n", "standard input, line 2: byte 0xe9 is not UTF-8"),
        (b"fine\r\nfine\na\0b\n", "standard input, line 3: found a NUL byte"),
    ],
)
def test_standard_input_is_refused_as_a_file_is(
    room, command, content, message, monkeypatch, capsys
):
    monkeypatch.chdir(room)
    monkeypatch.setenv("XDG_CACHE_HOME", str(room / "cache"))
    feed(monkeypatch, content)
    assert_refused(capsys, READERS[command].split(), message)
    assert not Path("new.store").exists()
    assert not Path("out").exists()


def test_standard_input_has_the_lines_of_a_file(room, tmp_path, monkeypatch, capsys):
    """UTF-8 whatever the locale is, a byte order mark, and only three ends of a line."""
    monkeypatch.chdir(room)
    content = "\ufeffcaf\u00e9\r\nthe\u2028dog\x0c\rsat\n\nend".encode()
    (tmp_path / "lines.txt").write_bytes(content)
    assert run(["embed", "mlm", "--file", tmp_path / "lines.txt"]) == 0
    expected = capsys.readouterr().out
    feed(monkeypatch, content)
    stdin = sys.stdin
    assert run(["embed", "mlm"]) == 0
    assert capsys.readouterr().out == expected
    texts = [json.loads(line)["text"] for line in expected.splitlines()]
    assert texts == ["café", "the\u2028dog\x0c", "sat", "", "end"]
    assert not stdin.buffer.closed
