"""`minibert similar`."""

import shutil

import numpy as np
import pytest

from minibert import CrossEncoder
from minibert.inference.features import FeatureExtractor
from minibert.inference.vector_store import VectorStore
from tests.cli.helpers import TEXTS, assert_refused, run, write_lines
from tests.inference.test_cross_encoder import new_model, plain_logits


def test_similar_prints_the_query_itself_first(workspace, tmp_path, capsys):
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS) + "\n", "utf-8")
    for text in TEXTS:
        assert run(["similar", workspace / "model", text, tmp_path / "lines.txt", "--top", 2]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first == f"1.000\t{text}"
        assert second.split("\t")[1] in set(TEXTS) - {text}


def test_similar_keeps_one_block_of_texts_in_memory(workspace, tmp_path, capsys, monkeypatch):
    """Files may be larger than memory; of equal lines, the first ones are printed."""
    texts = [f"{text} {i}" for i in range(4) for text in TEXTS] + [TEXTS[0]] * 3 + ["x y"]
    command = ["similar", workspace / "model", "x  y", write_lines(tmp_path / "a.txt", *texts)]
    assert run([*command, "--top", 9]) == 0
    whole = capsys.readouterr().out
    assert whole.startswith("1.000\tx y\n")
    sizes, right = [], FeatureExtractor.__call__

    def embed(self, block, **options):
        sizes.append(len(block))
        return right(self, block, **options)

    monkeypatch.setattr(FeatureExtractor, "__call__", embed)
    monkeypatch.setattr("minibert.cli.vectors.TEXTS_PER_BLOCK", 4)
    assert run([*command, "--top", 9]) == 0
    assert capsys.readouterr().out == whole
    assert max(sizes) == 4


@pytest.fixture
def store(workspace, tmp_path, monkeypatch):
    """Return a store of the lines of lines.txt and of an argument, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "lines.txt", *TEXTS, "two\ttabs")
    shutil.copytree(workspace / "model", tmp_path / "model")
    for texts in (["--file", "lines.txt"], ["an\nargument"]):
        assert run(["embed", "model", "--out", "a.store", *texts]) == 0
    return tmp_path / "a.store"


def test_similar_searches_a_store_as_it_searches_files(store, capsys):
    capsys.readouterr()
    assert run(["similar", "model", "the dog sat", "lines.txt", "--top", 4]) == 0
    plain = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    for source in ("a.store", store):
        assert run(["similar", source, "the dog sat", "--top", 5]) == 0
        rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert sorted(row[1] for row in rows) == ["a.store/texts.txt:1", *(
            f"lines.txt:{number}" for number in (1, 2, 3, 4)
        )]  # fmt: skip
        assert [[row[0], row[2]] for row in rows if row[2] != "an argument"] == plain
    assert run(["similar", store, "an argument", "--top", 1]) == 0
    assert capsys.readouterr().out == "1.000\ta.store/texts.txt:1\tan argument\n"


def test_the_model_of_a_store_can_move(store, tmp_path, capsys):
    (tmp_path / "model").rename(tmp_path / "moved")
    assert_refused(capsys, ["similar", store, "x"], "a.store: the model of its vectors: ")
    assert run(["similar", store, TEXTS[1], "--model", "moved", "--top", 1]) == 0
    assert capsys.readouterr().out == f"1.000\tlines.txt:2\t{TEXTS[1]}\n"
    assert_refused(capsys, ["similar", store, "x", "--model", "tiny"], "expected", "got")


def test_similar_refuses_bad_input_of_a_store(store, tmp_path, capsys):
    VectorStore.create(tmp_path / "empty.store", width=2)
    for arguments, part in (
        ([store, "x", "lines.txt"], "file: expected none, because"),
        ([store, "x", "--pooling", "cls"], "pooling: expected none, because"),
        ([store, "x", "--top", 0], "top: expected at least 1, got 0"),
        (["b.store", "x"], "b.store: expected a vector store, found no store.json"),
        (["empty.store", "x"], "empty.store: expected vectors, found none"),
        (["model", "x"], "model: expected text files to search, or a store of vectors"),
        (["model", "x", "lines.txt", "--model", "model"], "model: expected a store to search"),
    ):
        assert_refused(capsys, ["similar", *arguments], part)
    (tmp_path / "lines.txt").unlink()
    assert_refused(capsys, ["similar", store, TEXTS[0]], "lines.txt: no such file; ")


def test_a_regression_model_reranks_with_its_numbers(store, tokenizer, capsys):
    model = new_model(tokenizer, problem_type="regression")
    model.params["classifier.bias"][:] += 40  # sigmoid(40) is 1
    model.save_pretrained("numbers")
    tokenizer.save_pretrained("numbers")
    query = "the dog sat"
    assert run(["similar", "a.store", query, "--rerank", "numbers", "--top", 3]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    logits = plain_logits(model, tokenizer, [(query, row[-1]) for row in rows])[:, 0]
    assert [row[0] for row in rows] == [f"{each:.4g}" for each in logits]
    assert len({row[0] for row in rows}) == 3
    assert logits.tolist() == sorted(logits, reverse=True)


def test_a_cross_encoder_scores_the_nearest_texts_again(store, tokenizer, capsys):
    model = new_model(tokenizer)
    CrossEncoder(model, tokenizer).save_pretrained("scorer")
    CrossEncoder(new_model(tokenizer, 3), tokenizer).save_pretrained("classes")
    query, encoder = "the dog sat", CrossEncoder.from_pretrained("scorer")
    for source in (["a.store"], ["model", "lines.txt"]):
        searched = ["similar", source[0], query, *source[1:]]
        for candidates in (2, 4):
            assert run([*searched, "--top", candidates]) == 0
            rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
            scores = encoder.predict([(query, row[-1]) for row in rows])
            assert run([*searched, "--rerank", "scorer", "--top", 2,
                        "--candidates", candidates]) == 0  # fmt: skip
            expected = ["\t".join([f"{scores[i]:.4g}", *rows[i][1:]]) for i in np.argsort(-scores)]
            assert capsys.readouterr().out.splitlines() == expected[:2]
        assert run([*searched, "--rerank", "scorer", "--top", 60]) == 0  # more than are candidates
        assert len(capsys.readouterr().out.splitlines()) == 6 - len(source)
    for arguments, part in (
        (["--rerank", "scorer", "--candidates", 2], "candidates: expected at least 5, as many as"),
        (["--candidates", 9], "candidates: expected a cross-encoder that scores them (--rerank)"),
        (["--rerank", "classes"], "rank: expected a model with one label, got 3"),
        (["--rerank", "lines.txt"], "lines.txt"),
    ):
        assert_refused(capsys, ["similar", store, query, *arguments], part)
