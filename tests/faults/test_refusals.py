"""Every command refuses an unusable input in one line that names the file."""

import json
import os
import shutil
import sys

import pytest

from minibert import (
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    VectorStore,
)
from minibert.cli import main
from minibert.data.tables import write_tsv
from tests.faults.commands import COMMANDS, make_room
from tests.inference.test_features import small

# Each command with an input of a kind that it reads, and files that it reads after it.
FILES = {
    "pretrain": ("txt", "pretrain {bad} --tokenizer {room}/mlm --out out"),
    "pretrain held out": ("txt", "pretrain {room}/text.txt --held-out {bad} --tokenizer {room}/mlm "
                          "--out out"),
    "pretrain new words": ("txt", "pretrain {room}/text.txt --model {room}/mlm --new-words {bad} "
                           "--out out"),
    "train-tokenizer": ("txt", "train-tokenizer {bad} --out out"),
    "finetune": ("tsv", "finetune {bad} --out out"),
    "finetune csv": ("csv", "finetune {bad} --out out"),
    "finetune jsonl": ("jsonl", "finetune {bad} --out out"),
    "finetune conll": ("conll", "finetune {bad} --out out"),
    "finetune dev": ("tsv", "finetune {room}/rows.tsv --dev {bad} --out out"),
    "train-embeddings": ("tsv", "train-embeddings {bad} --model {room}/mlm --out out"),
    "distill": ("txt", "distill {room}/mlm {bad} --out out"),
    "distill rows": ("tsv", "distill {room}/labels {bad} --out out"),
    "evaluate": ("tsv", "evaluate {room}/labels {bad}"),
    "predict": ("txt", "predict {room}/labels --file {bad}"),
    "answer": ("txt", "answer {room}/answers {bad} --question cat"),
    "embed": ("txt", "embed {room}/mlm --file {bad} --out out.npy"),
    "embed store": ("txt", "embed {room}/mlm --file {bad} --out out.store"),
    "similar": ("txt", "similar {room}/mlm cat {bad}"),
    "tokenize": ("txt", "tokenize {room}/mlm --file {bad}"),
}  # fmt: skip
FOLDERS = {
    "pretrain tokenizer": "pretrain {room}/text.txt --tokenizer {bad} --out out",
    "pretrain model": "pretrain {room}/text.txt --model {bad} --out out",
    "finetune model": "finetune {room}/rows.tsv --model {bad} --out out",
    "train-embeddings model": "train-embeddings {room}/pairs.tsv --model {bad} --out out",
    "distill teacher": "distill {bad} {room}/text.txt --out out",
    "evaluate model": "evaluate {bad} {room}/rows.tsv",
    "predict model": "predict {bad} cat",
    "answer model": "answer {bad} {room}/text.txt --question cat",
    "fill-mask model": "fill-mask {bad} [MASK]",
    "embed model": "embed {bad} cat",
    "similar model": "similar {bad} cat {room}/text.txt",
    "inspect model": "inspect {bad} cat",
    "tokenize tokenizer": "tokenize {bad} cat",
}
RESUMED = {
    "plot": "plot {bad}",
    "pretrain": "pretrain {room}/text.txt --tokenizer {room}/mlm --resume --out {bad}",
    "finetune": "finetune {room}/rows.tsv --resume --out {bad}",
    "train-embeddings": "train-embeddings {room}/pairs.tsv --model {room}/mlm --resume --out {bad}",
    "distill": "distill {room}/mlm {room}/text.txt --resume --out {bad}",
}
CONTENTS = {
    "empty": b"",
    "blank": b"\n \n\n",
    "binary": b"\x7fELF\0\0\1",
    "not UTF-8": b"text\tlabel\ncaf\xe9\tx\n",
    "UTF-16": "text\tlabel\na\tb\n".encode("utf-16"),
    "a header alone": b"text\tlabel\n",
    "one column": b"other\nvalue\nvalue\n",
    "ragged": b"text\tlabel\na\n",
    "deep": b"[" * 100_000,
    "a mark alone": "\ufeff".encode(),
}
READABLE = {  # texts for the commands that read any texts
    *(("txt", name) for name in ("a header alone", "one column", "ragged", "deep")),
    *((command, "blank") for command in ("embed", "embed store", "similar", "tokenize", "predict")),
    ("distill rows", "one column"),
}


@pytest.fixture(scope="module")
def room(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("room")
    for name, kind in [("mlm", BertForMaskedLM), ("labels", BertForSequenceClassification),
                       ("answers", BertForQuestionAnswering)]:  # fmt: skip
        tokenizer.save_pretrained(folder / name)
        small(tokenizer, kind).save_pretrained(folder / name)
    (folder / "text.txt").write_text("the cat sat\n\na dog ran\n\n" * 20, "utf-8")
    write_tsv(folder / "rows.tsv", ["label", "text"], [["a", "cat"], ["b", "dog"]] * 10)
    write_tsv(folder / "pairs.tsv", ["text1", "text2"], [[f"cat {i}", "dog"] for i in range(20)])
    return folder


def check_refused(capsys, command, room, bad, name=None):
    """Run a command with a bad file; check the status, the one line and that nothing is left."""
    before = set(room.rglob("*"))
    words = [word.format(room=room, bad=bad) for word in command.split()]
    status = main(words)
    error = capsys.readouterr().err
    assert status == 2, error
    if command.startswith("predict"):  # which first says how it reads a file
        error = error.splitlines(keepends=True)[-1]
    assert len(error.splitlines()) == 1, error
    assert error.startswith("minibert: ")
    assert error.rstrip("\n").isprintable(), error
    assert str(name or bad) in error, error
    assert not os.path.lexists("out")
    assert not os.path.lexists("out.npy")
    assert not os.path.lexists("out.store")
    assert set(room.rglob("*")) == before


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


QUICK = "pretrain held out", "embed store", "tokenize"


@pytest.mark.parametrize(
    "command", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow)
                for each in FILES],
)  # fmt: skip
def test_a_bad_file_is_named(room, tmp_path, command, capsys):
    kind, words = FILES[command]
    for name, content in CONTENTS.items():
        if not {(kind, name), (command, name)} & READABLE:
            bad = tmp_path / f"{name.replace(' ', '-')}.{kind}"
            bad.write_bytes(content)
            check_refused(capsys, words, room, bad)
    for name, make in (("missing", lambda path: None), ("folder", os.mkdir), ("pipe", os.mkfifo),
                       ("link", lambda path: path.symlink_to(path))):  # fmt: skip
        bad = tmp_path / f"{name}.{kind}"
        make(bad)
        check_refused(capsys, words, room, bad)
    if kind == "txt":
        bad = tmp_path / "cut.txt.gz"
        bad.write_bytes(b"\x1f\x8b\x08\0\0\0\0\0")
        check_refused(capsys, words, room, bad)


@pytest.mark.slow
@pytest.mark.parametrize("command", FOLDERS)
def test_a_bad_model_is_named(room, tmp_path, command, capsys):
    words = FOLDERS[command]
    check_refused(capsys, words, room, tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    check_refused(capsys, words, room, tmp_path / "empty")
    source = room / {"answer model": "answers", "evaluate model": "labels",
                     "predict model": "labels"}.get(command, "mlm")  # fmt: skip
    whole = sorted(path.name for path in source.iterdir())
    if "tokenizer" in command:
        whole = [name for name in whole if name not in ("config.json", "model.safetensors")]
    for name in whole:
        for kind, content in {"empty": b"", "binary": b"\0\1\2", "deep": b"[" * 100_000,
                              "list": b"[1]", "text": b"caf\xe9\n"}.items():  # fmt: skip
            bad = tmp_path / f"{kind}-{name.replace('.', '-')}"
            shutil.copytree(source, bad)
            (bad / name).write_bytes(content)
            if name == "vocab.txt":  # read only without the other
                (bad / "tokenizer.json").unlink()
                if kind == "list":  # a vocabulary of one piece, without the special ones
                    continue
                if kind == "deep":
                    continue
            check_refused(capsys, words, room, bad)


@pytest.mark.slow
@pytest.mark.parametrize("command", RESUMED)
def test_a_bad_run_is_named(room, tmp_path, command, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("of somebody")
    check_refused(capsys, RESUMED[command], room, tmp_path / "other")
    for i, state in enumerate([b"", b"[]", b"\0", b"{}", json.dumps({"step": 1}).encode()]):
        bad = tmp_path / f"run{i}"
        (bad / "checkpoint-1").mkdir(parents=True)
        (bad / "checkpoint-1" / "trainer_state.json").write_bytes(state)
        (bad / "history.jsonl").write_bytes(state)
        check_refused(capsys, RESUMED[command], room, bad)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    make_room(folder)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="the current folder cannot be deleted")
@pytest.mark.parametrize(
    "name", [name if name in ("corpus", "embed npy") else pytest.param(name, marks=pytest.mark.slow)
             for name, each in COMMANDS.items() if each.run is main],
)  # fmt: skip
def test_a_relative_output_in_a_deleted_folder_is_refused_in_one_line(
    inputs, tmp_path, monkeypatch, capsys, name
):
    command = COMMANDS[name]
    (out,) = command.outputs
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for more in {"", command.more}:
        words = f"{command.words} {more}".replace(f"{{}}/{out}", out).replace("{}", str(inputs))
        status = main(words.split())
        error = capsys.readouterr().err
        assert (status, error) == (2, f"minibert: {out}: the current folder was deleted\n")


@pytest.mark.slow
def test_a_bad_store_is_named(room, tmp_path, capsys):
    store = VectorStore.create(tmp_path / "a.store", str(room / "mlm"))
    store.append(["the cat", "a dog"])
    for name in sorted(path.name for path in store.folder.iterdir()):
        for i, content in enumerate([b"", b"\0\1", b"{}", b"[1]", b"caf\xe9\n"]):
            bad = tmp_path / f"{name.replace('.', '-')}-{i}.store"
            shutil.copytree(store.folder, bad)
            (bad / name).write_bytes(content)
            check_refused(capsys, "similar {bad} cat", room, bad)
            if name != "texts.txt" or not i:  # which is only as long as it was
                check_refused(capsys, "embed {room}/mlm cat --out {bad}", room, bad)
