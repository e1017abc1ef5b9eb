"""VectorStore: search, extension, texts in their files, models, and damage."""

import errno
import gzip
import itertools
import json
import os
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibert import BertForMaskedLM, BertModel, FeatureExtractor, VectorStore
from minibert.inference import vector_store
from minibert.inference.nearest import nearest
from minibert.io.locks import run_lock
from tests.inference.test_features import TEXTS, small
from tests.inference.test_nearest import sorted_all


@pytest.fixture(scope="module")
def extractor(tokenizer):
    return FeatureExtractor(small(tokenizer), tokenizer, layers=-2)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, extractor):
    """Return the folder of the extractor's model."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    extractor.model.save_pretrained(folder)
    extractor.tokenizer.save_pretrained(folder)
    return folder


def plain(folder, vectors=((1, 0), (3, 4), (0, -2))):
    """Return a store of given vectors."""
    store = VectorStore.create(folder, width=2)
    store.append([f"text {i}" for i in range(len(vectors))], np.array(vectors, np.float32))
    return store


def unit(vectors):
    exact = np.asarray(vectors, np.float64)
    return (exact / np.linalg.norm(exact, axis=1, keepdims=True)).astype(np.float32)


# Searching.


def test_search_finds_the_texts_of_a_model(tmp_path, extractor):
    store = VectorStore.create(tmp_path / "a.store", extractor)
    assert store.append(TEXTS).tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(store.vectors, unit(extractor(TEXTS)), atol=1e-6)
    scores, ids = store.search(["a cat", "red"], top_k=6)
    expected = sorted_all(store.vectors, unit(extractor(["a cat", "red"])), 6)
    np.testing.assert_array_equal(ids, expected[1])
    np.testing.assert_array_equal(scores, expected[0])
    assert scores[0, 0] == pytest.approx(1)
    assert store.texts(ids[0]) == [TEXTS[i] for i in ids[0]]
    assert (len(store), store.width) == (6, 32)
    assert "6 vectors of 32 numbers" in repr(store)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1000), st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(1, 9))
def test_any_split_of_the_extensions_gives_the_same_store(tmp_path_factory, seed, sizes, top_k):
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("store")
    count = sum(sizes)
    vectors = rng.standard_normal((count, 3))[rng.integers(0, max(count // 2, 1), count)]
    texts = [f"text {i}\r\n" * (i % 3) for i in range(count)]
    whole = VectorStore.create(folder / "whole", width=3)
    whole.append(texts, vectors)
    parts, start = VectorStore.create(folder / "parts", width=3), 0
    for size in sizes:
        added = parts.append(texts[start : start + size], vectors[start : start + size])
        assert added.tolist() == list(range(start, start + size))
        start += size
        parts = VectorStore.open(folder / "parts") if size % 2 else parts
    for name in {path.name for path in whole.folder.iterdir()}:
        assert (parts.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    queries = rng.standard_normal((2, 3))
    for one, other in zip(parts.search(queries, top_k), whole.search(queries, top_k), strict=True):
        np.testing.assert_array_equal(one, other)
    assert parts.texts(range(count)) == texts
    if count:
        np.testing.assert_array_equal(
            parts.search(queries, top_k)[1], sorted_all(unit(vectors), unit(queries), top_k)[1]
        )


def test_numpy_opens_the_arrays(tmp_path):
    store = plain(tmp_path / "a.store")
    store.append(["one more"], np.array([[0, 1]]))
    vectors = np.load(tmp_path / "a.store" / "vectors.npy", mmap_mode="r")
    np.testing.assert_array_equal(vectors, store.vectors)
    assert vectors.shape == (4, 2)
    np.testing.assert_array_equal(np.linalg.norm(vectors, axis=1), 1)
    places = np.load(tmp_path / "a.store" / "places.npy")
    assert places[:, :4].tolist() == [[-1, 0, 6, 1], [-1, 7, 6, 2], [-1, 14, 6, 3], [-1, 21, 8, 4]]


def test_an_empty_store_finds_nothing(tmp_path):
    store = VectorStore.open(VectorStore.create(tmp_path / "a.store", width=2).folder)
    scores, ids = store.search(np.ones((3, 2)))
    assert scores.shape == ids.shape == (3, 0)
    assert store.texts([]) == []
    assert len(store.append([], np.zeros((0, 2)))) == len(store) == 0


# Texts in files.


@pytest.mark.parametrize("name", ["lines.txt", "lines.txt.gz"])
def test_lines_of_files_are_read_from_their_places(tmp_path, extractor, name, monkeypatch):
    content = "\ufeffthe cat\r\n\na dög 🙂\rred\nlast one".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    (tmp_path / "other.txt").write_text("one line\n")
    monkeypatch.setattr(vector_store, "TEXTS_PER_COMMIT", 4)
    store = VectorStore.create(tmp_path / "a.store", extractor)
    paths = [tmp_path / name, tmp_path / "other.txt", tmp_path / name]
    assert store.append_files(paths) == 6
    texts = ["the cat", "", "a dög 🙂", "red", "last one", "one line"]
    assert store.texts(range(6)) == texts
    assert store.texts([5, 0, 3, 0]) == ["one line", "the cat", "red", "the cat"]
    np.testing.assert_allclose(store.vectors, unit(extractor(texts)), atol=1e-6)
    assert store.locations([3, 5]) == [(tmp_path / name, 4), (tmp_path / "other.txt", 1)]
    assert not (store.folder / "texts.txt").exists()


def test_only_new_lines_are_appended(tmp_path, extractor):
    file = tmp_path / "lines.txt"
    file.write_text("one\ntwo\n")
    store = VectorStore.create(tmp_path / "a.store", extractor)
    assert store.append_files([file]) == 2
    store.append(["of the store"])
    file.write_text("one\ntwo\nthree\n")
    store = VectorStore.open(tmp_path / "a.store", extractor)
    assert store.append_files([file]) == 1
    assert store.append_files([file]) == 0
    assert store.texts(range(4)) == ["one", "two", "of the store", "three"]
    for changed, message in (
        ("one\n2\nthree\nfour", "line 2: is another text"),
        ("one", "3 lines"),
    ):
        file.write_text(changed)
        with pytest.raises(ValueError, match=message):
            store.append_files([file])
    assert len(VectorStore.open(tmp_path / "a.store")) == 4


def test_texts_that_changed_or_disappeared_are_named(tmp_path, extractor):
    file = tmp_path / "lines.txt"
    file.write_text("one\ntwo\n")
    store = VectorStore.create(tmp_path / "a.store", extractor)
    store.append_files([file])
    for content in ("one\nTwo\n", "one\nt", ""):
        file.write_text(content)
        with pytest.raises(ValueError, match=r"lines\.txt, line 2: is another text than in .*a\."):
            store.texts([1])
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"lines\.txt: no such file; .* vectors of its li"):
        store.texts([0])
    assert store.search(["one"], 1)[1].tolist() == [[0]]


def test_a_store_that_moves_with_its_files_finds_them(tmp_path, extractor):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "lines.txt").write_text("one\n")
    store = VectorStore.create(tmp_path / "a" / "x.store", extractor)
    store.append_files([tmp_path / "a" / "lines.txt"])
    (tmp_path / "a").rename(tmp_path / "b")
    store = VectorStore.open(tmp_path / "b" / "x.store", extractor)
    assert store.texts([0]) == ["one"]
    assert store.append_files([tmp_path / "b" / "lines.txt"]) == 0


# Models.


def test_the_model_is_read_again_with_the_settings_of_the_store(tmp_path, saved, monkeypatch):
    made = FeatureExtractor.from_pretrained(
        saved, pooling=["max", "cls"], layers=[1, -1], combine="sum", max_length=9, prompt="the ",
        include_prompt=False,
    )  # fmt: skip
    monkeypatch.chdir(saved.parent)
    VectorStore.create(tmp_path / "a.store", made, name="model").append(TEXTS)
    monkeypatch.chdir(tmp_path)
    store = VectorStore.open("a.store")
    np.testing.assert_array_equal(store.vectors, unit(store.extractor(TEXTS)))
    assert store.search(["a cat"], 1)[0][0, 0] == pytest.approx(1)
    named = VectorStore.create(tmp_path / "b.store", saved)
    assert named.width == 32
    assert VectorStore.open(tmp_path / "b.store").extractor.layers == [3]


def test_the_name_of_an_extractor_is_that_of_its_folder(tmp_path, saved):
    made = FeatureExtractor(saved, layers=np.arange(1, 3), max_length=np.int64(9))
    VectorStore.create(tmp_path / "a.store", made).append(TEXTS)
    store = VectorStore.open(tmp_path / "a.store")
    assert store.search(["a cat"], 1)[0].shape == (1, 1)
    assert (store.extractor.layers, store.extractor.max_length) == ([1, 2], 9)


def test_a_moved_model_is_named_and_can_be_given(tmp_path, saved):
    VectorStore.create(tmp_path / "a.store", saved).append(["a cat"])
    moved = saved.with_name("moved")
    saved.rename(moved)
    try:
        with pytest.raises(FileNotFoundError, match=r"a\.store: the model of its vectors: "):
            VectorStore.open(tmp_path / "a.store").search(["a"])
        store = VectorStore.open(tmp_path / "a.store", moved)
        assert store.search(["a cat"])[0][0, 0] == pytest.approx(1)
    finally:
        moved.rename(saved)


def test_another_model_is_refused_by_the_difference(tmp_path, extractor, tokenizer):
    store = VectorStore.create(tmp_path / "a.store", extractor)
    store.append(["a cat"])
    weights = small(tokenizer)
    weights.params["encoder.layer.0.output.dense.bias"][3] += 1
    other_act = small(tokenizer, hidden_act="relu")
    shifted = type(tokenizer)([*list(tokenizer.vocab)[:-1], "zebra"], do_lower_case=False)
    model = extractor.model
    for name, other in {
        "model": FeatureExtractor(weights, tokenizer, layers=-2),
        "model ": FeatureExtractor(other_act, tokenizer, layers=-2),
        "tokenizer": FeatureExtractor(model, shifted, layers=-2),
        "layers": FeatureExtractor(model, tokenizer),
        "pooling": FeatureExtractor(model, tokenizer, layers=-2, pooling="max"),
        "max_length": FeatureExtractor(model, tokenizer, layers=-2, max_length=8),
        "prompt": FeatureExtractor(model, tokenizer, layers=-2, prompt="a "),
        "projections": FeatureExtractor(model, tokenizer, layers=-2, projections=[np.tanh]),
    }.items():
        with pytest.raises(ValueError, match=rf"a\.store: {name.strip()}: expected .*, got "):
            VectorStore.open(tmp_path / "a.store", other)
    same = FeatureExtractor(small(tokenizer), tokenizer, layers=-2, normalize=True)
    assert len(VectorStore.open(tmp_path / "a.store", same)) == 1
    with pytest.raises(ValueError, match=r"a\.store: expected the model of its vectors, got none"):
        VectorStore.open(tmp_path / "a.store").search(["a"])


def test_a_model_with_a_head_is_the_same_model(tmp_path, tokenizer):
    with_head = small(tokenizer, BertForMaskedLM)
    body = BertModel(with_head.config, seed=9)
    for name, array in with_head.params.scope("bert.").items():
        body.params[name][...] = array
    VectorStore.create(tmp_path / "a.store", FeatureExtractor(with_head, tokenizer))
    assert len(VectorStore.open(tmp_path / "a.store", FeatureExtractor(body, tokenizer))) == 0


def test_vectors_of_no_model_are_searched_with_vectors_only(tmp_path, extractor):
    store = plain(tmp_path / "a.store")
    assert store.search(np.array([[0, -1]]), 2)[1].tolist() == [[2, 0]]
    with pytest.raises(ValueError, match="expected the model of its vectors, got none"):
        store.append(["a"])
    with pytest.raises(ValueError, match="has vectors of no model; search with vectors"):
        VectorStore.open(tmp_path / "a.store", extractor)


# Bad input.


@pytest.mark.parametrize(
    ("vectors", "error", "message"),
    [
        ([[1, 0], [0, 0]], ValueError, r"vectors\[1\]: expected a vector with a direction, got ze"),
        ([[1, 0], [0, np.nan]], ValueError, r"vectors\[1\]: expected finite numbers, got .* nan"),
        ([[np.inf, 0], [0, 1]], ValueError, r"vectors\[0\]: expected finite numbers, got .* inf"),
        ([[1, 0, 0], [0, 1, 0]], ValueError, r"vectors: expected \(N, 2\), got \(2, 3\)"),
        ([1, 0], ValueError, r"vectors: expected \(N, 2\), got \(2,\)"),
        ([[1, 0]], ValueError, "vectors: expected one for each of 2 texts, got 1"),
        ([["a", "b"]] * 2, TypeError, "vectors: expected numbers, got <U1"),
    ],
)
def test_bad_vectors_are_refused_and_nothing_is_lost(tmp_path, vectors, error, message):
    store = plain(tmp_path / "a.store")
    with pytest.raises(error, match=message):
        store.append(["x", "y"], np.array(vectors))
    assert len(VectorStore.open(tmp_path / "a.store")) == 3
    assert {path.name for path in store.folder.iterdir()} == {
        "store.json", "vectors.npy", "places.npy", "texts.txt"
    }  # fmt: skip


def test_zero_vectors_of_a_model_are_named_by_their_line(tmp_path, extractor, tokenizer):
    model = small(tokenizer)
    zero = FeatureExtractor(model, tokenizer, projections=[lambda x: x * 0])
    (tmp_path / "lines.txt").write_text("one\ntwo\n")
    store = VectorStore.create(tmp_path / "a.store", zero)
    with pytest.raises(ValueError, match=r"lines\.txt, line 1: expected a vector with a direction"):
        store.append_files([tmp_path / "lines.txt"])
    with pytest.raises(ValueError, match=r"texts\[0\]: expected a vector with a direction"):
        store.append(["one"])
    assert len(store) == 0


def test_bad_arguments_are_refused(tmp_path, extractor):
    store = plain(tmp_path / "a.store")
    for call, message in (
        (lambda: store.search(np.array([[0.0, 0.0]])), r"queries\[0\]: .* got zeros"),
        (lambda: store.search(np.ones((1, 3))), r"queries: expected \(N, 2\), got \(1, 3\)"),
        (lambda: store.search(np.ones((1, 2)), 0), "top_k: expected at least 1, got 0"),
        (lambda: store.texts([0, 3]), "ids: expected 0 to 2, got 3"),
        (lambda: store.locations([-1]), "ids: expected 0 to 2, got -1"),
        (lambda: store.append([3], np.ones((1, 2))), r"texts\[0\]: expected a string, got int"),
        (lambda: store.append(["\ud800"], np.ones((1, 2))), r"texts\[0\]: .* lone surrogate"),
        (lambda: store.append_files("abc"), "paths: expected several, got one, 'abc'"),
        (lambda: store.append("abc", np.ones((3, 2))), "texts: expected a list of rows"),
        (lambda: VectorStore.create(tmp_path / "b"), "width: expected a model, or at least 1"),
        (lambda: VectorStore.create(tmp_path / "a.store", width=2), "exists already"),
        (lambda: VectorStore.open(tmp_path), "expected a vector store, found no store.json"),
    ):
        with pytest.raises((ValueError, TypeError, OSError), match=message):
            call()
    assert not (tmp_path / "b").exists()


def test_two_processes_cannot_extend_a_store_at_once(tmp_path):
    store = plain(tmp_path / "a.store")
    with run_lock(store.folder, resume=True), pytest.raises(BlockingIOError, match="another run"):
        store.append(["x"], np.ones((1, 2)))
    other = VectorStore.open(tmp_path / "a.store")
    assert other.append(["x"], np.ones((1, 2))).tolist() == [3]
    assert store.append(["y"], np.ones((1, 2))).tolist() == [4]
    assert len(other) == 4


@pytest.mark.parametrize("name", ["vectors.npy", "places.npy", "texts.txt", "store.json"])
def test_a_full_disk_is_named_and_nothing_is_lost(tmp_path, monkeypatch, name):
    store = plain(tmp_path / "a.store")
    calls = {"vectors.npy": 1, "places.npy": 2, "texts.txt": 3, "store.json": 5}

    numbers = itertools.count(1)

    def full(_):
        if next(numbers) == calls[name]:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=rf"No space left on device: '.*{re.escape(name)}'"):
            store.append(["x"], np.ones((1, 2)))
    for same in (store, VectorStore.open(store.folder)):
        assert len(same) == 3
        assert same.texts([2]) == ["text 2"]
    assert store.append(["y"], np.ones((1, 2))).tolist() == [3]
    assert VectorStore.open(store.folder).texts([2, 3]) == ["text 2", "y"]


def test_a_replaced_store_is_not_extended(tmp_path):
    store = plain(tmp_path / "a.store")
    state = json.loads((store.folder / "store.json").read_text())
    (store.folder / "store.json").write_text(json.dumps(state | {"width": 3}))
    with pytest.raises(ValueError, match="is another store now"):
        store.append(["x"], np.ones((1, 2)))


# Damage.


def cut(name, size):
    def damage(folder):
        with (folder / name).open("r+b") as file:
            file.truncate(size)

    return damage


def replaced(name, old, new):
    def damage(folder):
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new, 1))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut("vectors.npy", 140), r"vectors\.npy: expected 3 rows, found 1; the file was cut"),
        (cut("vectors.npy", 60), r"vectors\.npy: expected rows of 2 <f4 numbers"),
        (cut("places.npy", 200), r"places\.npy: expected 3 rows, found 1; the file was cut"),
        (cut("texts.txt", 20), r"texts\.txt: expected 21 bytes, found 20; the file was cut"),
        (replaced("vectors.npy", b"<f4", b"<f8"), r"vectors\.npy: expected rows of 2 <f4 numbers"),
        (replaced("vectors.npy", b"(3, 2)", b"(3, 4)"), r"vectors\.npy: expected rows of 2 <f4"),
        (replaced("store.json", b'"format": 1', b'"format": 2'),
         r"store\.json: format: expected 1, got 2; a later version of minibert may have"),
        (replaced("store.json", b'"count": 3', b'"count": -3'), "count: expected a whole number"),
        (replaced("store.json", b'"count": 3', b'"count": 9' + b"0" * 20), "expected 900,000,0"),
        (replaced("store.json", b'"width": 2', b'"width": 0'), "width: .* at least 1, got 0"),
        (replaced("store.json", b'"files": []', b'"files": [3]'), "path: expected str, got None"),
        (replaced("store.json", b'"made_by": null', b'"made_by": {}'), "model: expected str, got"),
        (replaced("store.json", b"{", b"["), r"store\.json: expected JSON"),
        (lambda folder: (folder / "vectors.npy").unlink(), r"No such file.*vectors\.npy"),
        (lambda folder: (folder / "texts.txt").unlink(), r"No such file.*texts\.txt"),
    ],
)  # fmt: skip
def test_a_damaged_store_is_refused_by_the_file(tmp_path, damage, message):
    damage(plain(tmp_path / "a.store").folder)
    with pytest.raises((ValueError, OSError), match=message):
        VectorStore.open(tmp_path / "a.store")


def test_vectors_that_are_not_of_length_one_are_found_when_they_are_searched(tmp_path):
    store = plain(tmp_path / "a.store")
    with (store.folder / "vectors.npy").open("r+b") as file:
        file.seek(128 + 8)
        file.write(np.array([np.nan, 0], "<f4").tobytes())
    with pytest.raises(ValueError, match=r"vectors\.npy: .*length 1 in rows 0 to 2; it is damaged"):
        VectorStore.open(tmp_path / "a.store").search(np.ones((1, 2)))


def test_a_file_that_is_cut_while_the_store_is_open_is_refused(tmp_path):
    store = plain(tmp_path / "a.store")
    assert store.vectors.shape == (3, 2)
    cut("vectors.npy", 140)(store.folder)
    with pytest.raises(ValueError, match="expected 3 rows, found 1; the file was cut"):
        store.search(np.ones((1, 2)))


def test_a_file_that_is_cut_while_it_is_read_is_an_error_that_names_it(tmp_path, monkeypatch):
    """A mapped file would end the process."""
    store = plain(tmp_path / "a.store")

    def cut_and_search(*arguments, **options):
        cut("vectors.npy", 140)(store.folder)
        return nearest(*arguments, **options)

    monkeypatch.setattr("minibert.inference.vector_store.nearest", cut_and_search)
    with pytest.raises(OSError, match=r"vectors\.npy: cut while it was read; start again"):
        store.search(np.ones((1, 2)))


@pytest.mark.parametrize("column", [0, 1, 2, 4])
@pytest.mark.parametrize("value", [-5, 2**62, 77])
def test_damaged_places_are_refused(tmp_path, column, value):
    store = plain(tmp_path / "a.store")
    with (store.folder / "places.npy").open("r+b") as file:
        file.seek(128 + 8 * column)
        file.write(np.array([value], "<i8").tobytes())
    with pytest.raises(ValueError, match=r"a\.store"):
        VectorStore.open(tmp_path / "a.store").texts([0])
