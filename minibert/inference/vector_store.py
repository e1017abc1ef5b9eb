"""A store of sentence vectors in a folder: extended at its end, searched exactly.

Its files are plain, and NumPy opens the arrays:

    store.json    which rows count, the model, checksums of it, and the files of texts
    vectors.npy   float32 (S, D), each of length 1
    places.npy    int64 (S, 5): file, offset, length, line and CRC-32 of each text
    texts.txt     the texts that are in no other file

Rows are written behind those that count and are on the disk before `store.json` is replaced. So the
state after a kill or a power loss is the one before or after an extension, and the next extension
removes what was left behind.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from minibert.inference.features import FeatureExtractor
from minibert.inference.fingerprint import fingerprint
from minibert.inference.nearest import DamagedRows, nearest
from minibert.inference.store_state import STATE, StoredFile, StoreState
from minibert.inference.stored_texts import (
    FILE,
    LINE,
    OWN_TEXTS,
    PLACE_WIDTH,
    file_of,
    new_lines,
    own_places,
    place_of,
    read_texts,
)
from minibert.inference.unit_vectors import NoDirection, require_texts, unit_vectors
from minibert.io.atomic import flush, flush_path, own_file, path_in_errors, refuse_existing
from minibert.io.locks import run_lock
from minibert.io.row_files import RowFile
from minibert.io.rows import take_block, texts_of
from minibert.typing import Array

TEXTS_PER_COMMIT = 8192  # embedded and then written; a kill loses at most these

Model = FeatureExtractor | str | os.PathLike[str]


class VectorStore:
    """Vectors of texts in a folder, for exact search by cosine.

    `VectorStore.create` makes one and `VectorStore.open` opens it. The model is read when it is
    first needed, and refused if it would make other vectors than those in the store.

    Args:
        folder: the store's folder.
        state: its content.
        extractor: the model of its vectors; None: read by its name.
    """

    def __init__(self, folder: Path, state: StoreState, extractor: FeatureExtractor | None = None):
        self.folder = folder
        self._state, self._extractor = state, extractor
        self._vector_file = RowFile(folder / "vectors.npy", "<f4", state.width)
        self._place_file = RowFile(folder / "places.npy", "<i8", PLACE_WIDTH)
        self._mapped: Array | None = None

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        model: Model | None = None,
        *,
        name: str | os.PathLike[str] | None = None,
        width: int | None = None,
    ) -> Self:
        """Make an empty store.

        Args:
            folder: a new folder.
            model: a `FeatureExtractor`, or the name of a model as `FeatureExtractor.
                from_pretrained` reads it; None: the vectors are given, too.
            name: the name or folder of an extractor's model, by which it is read again; None: the
                one that the extractor was given.
            width: numbers per vector, without a model.

        Raises:
            FileExistsError: the folder exists and is not empty.
            OSError, ValueError: the model can't be read, or the width is below 1.
        """
        folder = Path(folder)
        extractor = None
        if isinstance(model, FeatureExtractor):
            extractor, given = model, model.get_params()["model"]
            name = given if name is None and isinstance(given, str | os.PathLike) else name
        elif model is not None:
            extractor, name = FeatureExtractor.from_pretrained(model), model
        if extractor is not None:
            width = extractor.width
        if width is None or width < 1:
            raise ValueError(f"width: expected a model, or at least 1, got {width}")
        if name is not None:  # a path may be relative
            name = str(Path(name).resolve() if Path(name).exists() else name)
        made_by = None if extractor is None else fingerprint(extractor)
        state = StoreState(width, name=name, made_by=made_by)
        refuse_existing(folder)
        with run_lock(folder, resume=True):
            refuse_existing(folder)
            state.write(folder)
        return cls(folder, state, extractor)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], model: Model | None = None) -> Self:
        """Open a store.

        Args:
            folder: the store's folder.
            model: the model of its vectors if it has another name now; or a `FeatureExtractor`.

        Raises:
            OSError, ValueError: there is no store, it is damaged or of a later version, or the
                model is not the one that computed its vectors.
        """
        store = cls(Path(folder), StoreState.read(Path(folder)))
        store._check()
        if isinstance(model, FeatureExtractor):
            store._require_same(model)
            store._extractor = model
        elif model is not None:
            store._extractor = store._load(model)
        return store

    @staticmethod
    def is_store(folder: str | os.PathLike[str]) -> bool:
        """Return whether a folder contains a store."""
        return (Path(folder) / STATE).is_file()

    def __len__(self) -> int:
        """Return S, the number of vectors."""
        return self._state.count

    def __repr__(self) -> str:
        """Return the folder and the size."""
        return f"VectorStore({str(self.folder)!r}: {len(self):,} vectors of {self.width} numbers)"

    @property
    def width(self) -> int:
        """D, the number of numbers per vector."""
        return self._state.width

    @property
    def vectors(self) -> Array:
        """The vectors, float32 (S, D), each of length 1, mapped from their file.

        The system ends a process that reads a mapped file which another one has cut. `search` does
        not: it reads blocks of the file.
        """
        if self._mapped is None or len(self._mapped) != len(self):
            self._mapped = self._vector_file.map(len(self))
        return self._mapped

    @property
    def extractor(self) -> FeatureExtractor:
        """The model of the vectors.

        Raises:
            OSError, ValueError: it can't be read, or is another one now.
        """
        if self._extractor is None:
            if self._state.name is None:
                raise ValueError(f"{self.folder}: expected the model of its vectors, got none")
            self._extractor = self._load(self._state.name)
        return self._extractor

    def append(
        self,
        texts: Sequence[str],
        vectors: Array | None = None,
        *,
        threads: int | None = None,
        progress: bool = False,
    ) -> Array:
        """Append texts, which the store keeps in a file of its own; return their numbers (N,).

        Args:
            texts: N texts.
            vectors (N, D): their vectors, of any length but 0; None: the model makes them, and
                writes them after each 8,192 texts.
            threads, progress: as in `FeatureExtractor`.

        Raises:
            BlockingIOError: another process extends the store.
            OSError, TypeError, ValueError: the texts or vectors are invalid, or can't be written.
        """
        rows = texts_of(texts, "texts")
        require_texts(rows)
        if vectors is not None:
            vectors = self._units("vectors", vectors)
            if len(vectors) != len(rows):
                raise ValueError(f"vectors: expected one for each of {len(rows)} texts, "
                                 f"got {len(vectors)}")  # fmt: skip
        size = TEXTS_PER_COMMIT if vectors is None else len(rows)
        with self._writing():
            first = len(self)
            for start in range(0, len(rows), max(size, 1)):
                part = rows[start : start + size]
                units = vectors
                if units is None:
                    made = self.extractor(part, threads=threads, progress=progress)
                    units = self._units("texts", made, start)
                state = self._state
                places, content = own_places(part, state.own_bytes, state.own_lines)
                self._commit(units, places, content)
        return np.arange(first, first + len(rows))

    def append_files(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        threads: int | None = None,
        progress: bool = False,
    ) -> int:
        """Append the lines of text files that are not in the store yet; return their number.

        The texts stay in their files. After each 8,192 lines, or fewer long ones, they are written,
        so a call that was killed is continued by the same call; lines that were added to a file are
        new.

        Args:
            paths: the files, one text per line.
            threads, progress: as in `FeatureExtractor`.

        Raises:
            BlockingIOError: another process extends the store.
            TypeError: one path instead of several.
            OSError, ValueError: a file can't be read, or a line is another one than in the store.
        """
        if isinstance(paths, str | os.PathLike):
            raise TypeError(f"paths: expected several, got one, {str(paths)!r}; put it in a list")
        with self._writing():
            first, files = len(self), list(self._state.files)
            table = self._place_file.rows(first)  # (S, 5)
            lines = new_lines(map(Path, paths), files, table, self.folder)
            while block := take_block(lines, TEXTS_PER_COMMIT, lambda line: line[1].text):
                made = self.extractor(
                    [line.text for _, line in block], threads=threads, progress=progress
                )
                try:
                    units = self._units("texts", made)
                except NoDirection as error:
                    file, line = block[error.row]
                    raise ValueError(
                        f"{files[file].path}, line {line.number}: {error.reason}"
                    ) from None
                self._commit(units, [place_of(*each) for each in block], files=tuple(files))
            return len(self) - first

    def search(
        self, queries: Sequence[str] | Array, top_k: int = 5, *, threads: int | None = None
    ) -> tuple[Array, Array]:
        """Return the cosines of the most similar texts to each query, and their numbers.

        The search is exact, and its result is the same for any number of threads. Texts with the
        same cosine are in the order of the store.

        Args:
            queries: Q texts; or their vectors (Q, D), of any length but 0.
            top_k: K, texts per query; at most S are found.
            threads: None: one for each core.

        Returns:
            The cosines (Q, K), falling; and the numbers of the texts (Q, K).

        Raises:
            OSError, TypeError, ValueError: a query is invalid, or the store is damaged.
        """
        if isinstance(queries, np.ndarray) and queries.dtype.kind in "fiu":
            units = self._units("queries", queries)
        else:
            texts = texts_of(queries, "queries")
            units = self._units("queries", self.extractor(texts, threads=threads))
        try:
            return nearest(self._vector_file.rows(len(self)), units, top_k, threads=threads)
        except DamagedRows as error:
            raise ValueError(f"{self._vector_file.path}: {error}; it is damaged") from None

    def texts(self, ids: Sequence[int] | Array) -> list[str]:
        """Return the texts of some numbers, in order (list of str).

        Raises:
            OSError: the file of a text is missing or can't be read.
            ValueError: a number is out of range, or a text is no longer at its place.
        """
        return read_texts(self._places(ids), self._path_of, self.folder)

    def locations(self, ids: Sequence[int] | Array) -> list[tuple[Path, int]]:
        """Return the file and the line of the texts of some numbers (list of pairs)."""
        return [(self._path_of(int(row[FILE])), int(row[LINE])) for row in self._places(ids)]

    def _path_of(self, number: int) -> Path:
        return file_of(self._state, self.folder, number)

    def _places(self, ids: Sequence[int] | Array) -> Array:
        """Return the places of the texts of some numbers (N, 5)."""
        numbers = np.asarray(ids, np.int64).reshape(-1)
        wrong = numbers[(numbers < 0) | (numbers >= len(self))]
        if len(wrong):
            raise ValueError(f"ids: expected 0 to {len(self) - 1}, got {wrong[0]}")
        places = self._place_file.rows(len(self))
        found = [np.asarray(places[i : i + 1]) for i in numbers.tolist()]  # (1, 5) each
        return np.concatenate([np.empty((0, PLACE_WIDTH), np.int64), *found])

    def _check(self) -> None:
        """Raise OSError or ValueError if a file is shorter than the state says."""
        if count := self._state.count:  # `len` would refuse one that no file can have
            self._vector_file.check(count)
            self._place_file.check(count)
        own, path = self._state.own_bytes, self.folder / OWN_TEXTS
        if own and path.stat().st_size < own:
            raise ValueError(
                f"{path}: expected {own:,} bytes, found {path.stat().st_size:,}; the file was cut"
            )

    def _load(self, name: str | os.PathLike[str]) -> FeatureExtractor:
        """Return the extractor of a model with the store's settings."""
        made_by = self._state.made_by
        if made_by is None:
            raise ValueError(f"{self.folder}: has vectors of no model; search with vectors")
        settings: dict[str, Any] = {
            name: made_by[name] for name in ("layers", "combine", "max_length", "prompt")
        }
        modes = made_by["pooling"]
        settings["pooling"] = modes[0] if len(modes) == 1 else modes
        settings["include_prompt"] = made_by["include_prompt"]
        try:
            extractor = FeatureExtractor.from_pretrained(name, **settings)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.folder}: the model of its vectors: {error}") from None
        self._require_same(extractor)
        return extractor

    def _require_same(self, extractor: FeatureExtractor) -> None:
        """Raise ValueError unless an extractor makes the vectors of the store."""
        expected = self._state.made_by
        if expected is None:
            raise ValueError(f"{self.folder}: has vectors of no model; search with vectors")
        for name, got in fingerprint(extractor).items():
            if got != expected[name]:
                raise ValueError(
                    f"{self.folder}: {name}: expected {expected[name]}, of which its vectors are, "
                    f"got {got}; vectors of different models cannot be compared"
                )

    def _units(self, name: str, vectors: Array, first: int = 0) -> Array:
        return unit_vectors(name, vectors, self.width, first)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Lock the store, and read what another process may have added."""
        if not self.is_store(self.folder):
            StoreState.read(self.folder)  # which raises the error
        with run_lock(self.folder, resume=True):
            state = StoreState.read(self.folder)
            if (state.width, state.made_by) != (self.width, self._state.made_by):
                raise ValueError(f"{self.folder}: is another store now; open it again")
            self._state = state
            self._check()
            self._seal()  # which a killed process may not have reached
            yield

    def _commit(
        self,
        vectors: Array,
        places: Sequence[tuple[int, ...]],
        own: bytes = b"",
        files: tuple[StoredFile, ...] | None = None,
    ) -> None:
        """Write rows behind those that count, and then the state by which they count."""
        before = self._state
        self._vector_file.write(before.count, vectors)
        self._place_file.write(before.count, np.array(places, np.int64).reshape(-1, PLACE_WIDTH))
        if own:
            path = self.folder / OWN_TEXTS
            mode = "r+b" if before.own_bytes else "wb"
            with path_in_errors(path), open(path, mode, opener=own_file) as file:
                file.truncate(before.own_bytes)
                file.seek(0, os.SEEK_END)
                file.write(own)
                flush(file)
        flush_path(self.folder)  # the names of new files
        state = replace(
            before,
            count=before.count + len(vectors),
            files=before.files if files is None else files,
            own_bytes=before.own_bytes + len(own),
            own_lines=before.own_lines + own.count(b"\n"),
        )
        state.write(self.folder)
        self._state = state
        self._seal()

    def _seal(self) -> None:
        """Write the number of rows to the headers of the arrays."""
        for file in (self._vector_file, self._place_file) if len(self) else ():
            file.seal(len(self))
