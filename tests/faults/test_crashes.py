"""A kill or a power loss at any moment leaves a store, or a run, that continues."""

import sys
from itertools import count

import numpy as np
import pytest

from minibert import FeatureExtractor, VectorStore
from minibert.inference import store_state, vector_store
from minibert.io import atomic, row_files
from minibert.io.atomic import atomic_dir, atomic_remove, atomic_write
from tests.faults.crashes import Disk, read_state, states_of_kills, torn_writes, write_state
from tests.inference.test_features import small

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files are listed by /proc")

MODULES = [vector_store, store_state, row_files, atomic]
LINES = ["one", "", "three", "the cat"]


@pytest.fixture
def extend(tmp_path, tokenizer, monkeypatch):
    """Return a function that extends the store in a folder by all lines, and its arrays."""
    monkeypatch.setattr(vector_store, "TEXTS_PER_COMMIT", 3)
    extractor = FeatureExtractor(small(tokenizer), tokenizer)
    file = tmp_path / "lines.txt"
    file.write_text("\n".join(LINES))

    def extend(folder):
        try:
            store = VectorStore.open(folder, extractor)
        except FileNotFoundError:
            store = VectorStore.create(folder, extractor)
        store.append_files([file], threads=1)
        return store

    return extend


def check_store(folder, extend, whole, least=0):
    """Check that a store in a folder, if there is one, has the first vectors, and continue it."""
    if VectorStore.is_store(folder):
        store = VectorStore.open(folder)
        assert len(store) in (0, 3, 4)
        assert len(store) >= least
        np.testing.assert_array_equal(store.vectors, whole.vectors[: len(store)])
        assert store.texts(range(len(store))) == LINES[: len(store)]
        if len(store):
            assert len(np.load(folder / "vectors.npy", mmap_mode="r")) <= len(store)
    else:
        assert least == 0
    store = extend(folder)
    np.testing.assert_array_equal(store.vectors, whole.vectors)
    assert store.texts(range(4)) == LINES
    assert sorted(path.name for path in folder.iterdir()) == [
        "places.npy", "store.json", "vectors.npy"
    ]  # fmt: skip
    assert len(np.load(folder / "vectors.npy", mmap_mode="r")) == 4


def test_a_store_that_is_killed_at_any_line_continues(tmp_path, extend):
    whole = extend(tmp_path / "whole.store")
    (tmp_path / "at").mkdir()
    states = states_of_kills(lambda: extend(tmp_path / "at" / "a.store"), tmp_path / "at", MODULES)
    assert len(states) > 15
    numbers = count()
    for state in torn_writes(states):
        folder = tmp_path / f"state-{next(numbers)}"
        write_state(state, folder)
        check_store(folder / "a.store", extend, whole)
    assert next(numbers) > len(states) + 5


def test_a_store_survives_a_power_loss_at_any_flush(tmp_path, extend, monkeypatch):
    whole = extend(tmp_path / "whole.store")
    (tmp_path / "at").mkdir()
    disk = Disk(tmp_path / "at")
    with pytest.MonkeyPatch.context() as patch, disk.watched(patch):
        extend(tmp_path / "at" / "a.store")
    assert len(disk.states) > 15
    for number, state in enumerate(disk.states):
        write_state(state, tmp_path / f"state-{number}")
        check_store(tmp_path / f"state-{number}" / "a.store", extend, whole)
    for number, state in enumerate(disk.last):  # after the end, no vector is lost
        write_state(state, tmp_path / f"last-{number}")
        check_store(tmp_path / f"last-{number}" / "a.store", extend, whole, least=4)


def test_own_texts_of_a_store_survive_a_kill_and_a_power_loss(tmp_path):
    def append(folder):
        store = VectorStore.open(folder)
        store.append(["three\nlines", "four"], np.array([[1.0, 0], [0, 1]]))

    before = VectorStore.create(tmp_path / "at" / "a.store", width=2)
    before.append(["one", "two"], np.array([[1.0, 1], [1, 2]]))
    write_state(read_state(tmp_path / "at"), tmp_path / "disk")
    disk = Disk(tmp_path / "disk")
    with pytest.MonkeyPatch.context() as patch, disk.watched(patch):
        append(tmp_path / "disk" / "a.store")
    states = states_of_kills(lambda: append(before.folder), tmp_path / "at", MODULES)
    sizes = set()
    for number, state in enumerate([*torn_writes(states), *disk.states]):
        folder = tmp_path / f"state-{number}"
        write_state(state, folder)
        store = VectorStore.open(folder / "a.store")
        texts = ["one", "two", "three\nlines", "four"][: len(store)]
        sizes.add(len(store))
        assert store.texts(range(len(store))) == texts
        store.append(["last"], np.array([[0.0, 1]]))
        assert store.texts(range(len(store))) == [*texts, "last"]
        assert (folder / "a.store" / "texts.txt").read_text() == "\n".join([*texts, "last", ""])
    assert sizes == {2, 4}


# Atomic writes.


def replace_file(folder):
    with atomic_write(folder / "file") as temporary:
        temporary.write_text("new")


def make_folder(folder):
    with atomic_dir(folder / "made") as temporary:
        (temporary / "a").write_text("new a")
        (temporary / "b").mkdir()
        (temporary / "b" / "c").write_text("new c")


def remove_folder(folder):
    atomic_remove(folder / "old")


@pytest.mark.parametrize(
    ("work", "part", "values"),
    [
        (replace_file, "file", [{"": b"before"}, {"": b"new"}]),
        (make_folder, "made", [{}, {"": None, "/a": b"new a", "/b": None, "/b/c": b"new c"}]),
        (remove_folder, "old", [{"": None, "/a": b"1", "/b": b"2"}, {}]),
    ],
)
def test_atomic_operations_are_whole_after_a_power_loss(tmp_path, work, part, values):
    folder = tmp_path / "at"
    write_state({"file": b"before", "old": None, "old/a": b"1", "old/b": b"2"}, folder)
    disk = Disk(folder)
    with pytest.MonkeyPatch.context() as patch, disk.watched(patch):
        work(folder)
    found = [
        {name.removeprefix(part): content for name, content in state.items()
         if name == part or name.startswith(f"{part}/")}
        for state in disk.states
    ]  # fmt: skip
    assert all(each in values for each in found), [each for each in found if each not in values]
    assert values[0] in found
    assert values[1] in found
    assert all(state.get("file") in (b"before", b"new") for state in disk.states)


def test_without_a_flush_the_simulated_disk_loses_the_content(tmp_path):
    """The simulation can fail: a rename without flushes leaves an empty file or none."""
    (tmp_path / "at").mkdir()
    disk = Disk(tmp_path / "at")
    with pytest.MonkeyPatch.context() as patch, disk.watched(patch):
        (tmp_path / "at" / "temporary").write_text("new")
        (tmp_path / "at" / "temporary").replace(tmp_path / "at" / "file")
    assert {"file": b""} in disk.states
    assert {} in disk.states
    assert {"file": b"new"} not in disk.states
    assert read_state(tmp_path / "at") == {"file": b"new"}
