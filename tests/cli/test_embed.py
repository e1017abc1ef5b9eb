"""`minibert embed`."""

import csv
import io
import json

import numpy as np
import pytest

from minibert.inference.features import FeatureExtractor
from minibert.inference.vector_store import VectorStore
from tests.cli.helpers import TEXTS, assert_refused, run


def test_embed_writes_equal_vectors_as_npy_jsonl_and_csv(workspace, tmp_path, capsys, monkeypatch):
    (tmp_path / "lines.txt").write_text("\n".join([*TEXTS, "", 'say "so", twice']) + "\n", "utf-8")
    texts = [*TEXTS, "", 'say "so", twice']
    model, lines = workspace / "model", tmp_path / "lines.txt"
    expected = FeatureExtractor.from_pretrained(model, layers=-2)(texts)
    for form in ("npy", "jsonl", "csv"):
        out = tmp_path / f"vectors.{form}"
        assert run(["embed", model, "--file", lines, "--layers", -2, "--out", out]) == 0
        assert "5 vectors of 128 numbers" in capsys.readouterr().out
    assert (np.load(tmp_path / "vectors.npy") == expected).all()
    rows = [
        json.loads(line) for line in (tmp_path / "vectors.jsonl").read_text("utf-8").splitlines()
    ]
    assert [row["text"] for row in rows] == texts
    assert (np.array([row["vector"] for row in rows], np.float32) == expected).all()
    with (tmp_path / "vectors.csv").open(encoding="utf-8", newline="") as file:
        head, *cells = csv.reader(file)
    assert head == ["text", *map(str, range(128))]
    assert [row[0] for row in cells] == texts
    assert (np.array([row[1:] for row in cells]).astype(np.float32) == expected).all()
    monkeypatch.setattr("sys.stdin", io.StringIO(lines.read_text("utf-8")))
    assert run(["embed", model, "--layers", -2]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == rows
    assert run(["embed", model, *TEXTS, "--layers", -2]) == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == TEXTS


def test_embed_applies_pooling_layers_and_max_length(workspace, capsys):
    for options, width in (
        (["--pooling", "cls", "--layers", -1, 0], 256),
        (["--pooling", "max", "--layers", 1, 2, "--combine", "sum", "--normalize"], 128),
        (["--max-length", 4], 128),
    ):
        assert run(["embed", workspace / "model", "the cat sat on the mat", *options]) == 0
        vector = json.loads(capsys.readouterr().out)["vector"]
        assert len(vector) == width
    assert run(["embed", workspace / "model", "the cat", "--max-length", 4]) == 0
    assert json.loads(capsys.readouterr().out)["vector"] == vector  # four tokens were read


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (
            ["x", "--out", "a.txt"],
            "a.txt: expected a name that ends in .npy, .jsonl, .csv or .s",
        ),
        (["x", "--file", "y"], "expected texts or --file, got both"),
        (["x", "--pooling", "pooler"], "lacks 2 arrays of BertModel"),
        (["x", "--layers", 3], "layers: expected some of -3 to 2, got [3]"),
        (["--file", "nowhere.txt"], "nowhere.txt: no such file"),
    ],
)
def test_embed_refuses_bad_input(workspace, capsys, more, part):
    assert_refused(capsys, ["embed", workspace / "model", *more], part)


def test_embed_keeps_the_old_file_when_it_fails(workspace, tmp_path, capsys):
    out = tmp_path / "vectors.jsonl"
    out.write_text("old")
    lines = tmp_path / "lines.txt"
    lines.write_bytes(b"fine\nnot \xff text\n")
    assert_refused(
        capsys, ["embed", workspace / "model", "--file", lines, "--out", out], lines, "line 2"
    )
    assert out.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    assert_refused(
        capsys, ["similar", workspace / "model", "x", lines, "--top", 0], "top: expected at least 1"
    )


def test_embed_writes_and_extends_a_store(workspace, tmp_path, capsys, monkeypatch):
    lines, out, model = tmp_path / "lines.txt", tmp_path / "a.store", workspace / "model"
    lines.write_text("\n".join(TEXTS) + "\n", "utf-8")
    embed = ["embed", model, "--layers", -2, "--out", out]
    assert run([*embed, "--file", lines]) == 0
    assert "a.store: 3 new vectors of 128 numbers, 3 in all" in capsys.readouterr().out
    lines.write_text("\n".join([*TEXTS, "a new line"]) + "\n", "utf-8")
    for new, total in ((1, 4), (0, 4)):
        assert run([*embed, "--file", lines]) == 0
        assert f": {new} new vectors of 128 numbers, {total} in all" in capsys.readouterr().out
    assert run([*embed, "an argument"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("standard input\n"))
    assert run(embed) == 0
    store = VectorStore.open(out)
    texts = [*TEXTS, "a new line", "an argument", "standard input"]
    assert store.texts(range(len(store))) == texts
    extractor = FeatureExtractor.from_pretrained(model, layers=-2, normalize=True)
    np.testing.assert_allclose(store.vectors, extractor(texts), atol=1e-6)
    assert_refused(
        capsys, ["embed", model, "x", "--out", out], "a.store: layers: expected [1], of which its"
    )
    assert len(VectorStore.open(out)) == 6


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--file", "nowhere.txt"], "nowhere.txt: no such file"),
        (["x", "--file", "lines.txt"], "expected texts or --file, got both"),
        (["--file", "lines.txt", "bad.txt"], "bad.txt, line 1: byte 0xff is not UTF-8"),
    ],
)
def test_bad_input_makes_no_store(workspace, tmp_path, capsys, monkeypatch, more, part):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines.txt").write_text("one\n")
    (tmp_path / "bad.txt").write_bytes(b"\xff\n")
    assert_refused(capsys, ["embed", workspace / "model", *more, "--out", "a.store"], part)
    assert not (tmp_path / "a.store").exists()
