"""Where the texts of a vector store are, and reading them from there.

A row of places has five numbers: the file (-1 is the store's own), the offset and the length of
the text in it in bytes, its line, and the CRC-32 of its bytes.
"""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from minibert.inference.store_state import StoredFile, StoreState
from minibert.io.atomic import path_in_errors
from minibert.io.number_files import Numbers, blocks
from minibert.io.text import Line, decompressed, locate_lines

PLACE_WIDTH = 5
FILE, OFFSET, LENGTH, LINE, CHECKSUM = range(PLACE_WIDTH)
OWN = -1
OWN_TEXTS = "texts.txt"
MAX_TEXT_BYTES, MAX_FILE_BYTES = 1 << 30, 1 << 40  # of compressed files; damaged places are higher


def file_of(state: StoreState, folder: Path, number: int) -> Path:
    """Return the path of a file of texts by its number."""
    if number == OWN:
        return folder / OWN_TEXTS
    if not 0 <= number < len(state.files):
        raise ValueError(f"{folder}: expected {len(state.files)} files of texts, got {number}")
    return state.files[number].find(folder)


def own_places(texts: Iterable[str], offset: int, line: int) -> tuple[list[tuple[int, ...]], bytes]:
    """Return the places of texts in the store's own file, and its content from `offset` on.

    Args:
        texts: the texts to add.
        offset, line: bytes and lines in the file so far.
    """
    places: list[tuple[int, ...]] = []
    content = []
    for text in texts:
        data = text.encode()
        places.append((OWN, offset, len(data), line + 1, zlib.crc32(data)))
        content += [data, b"\n"]
        offset += len(data) + 1
        line += text.count("\n") + 1
    return places, b"".join(content)


def place_of(file: int, line: Line) -> tuple[int, ...]:
    """Return the place of a line of a file."""
    return file, line.offset, line.length, line.number, zlib.crc32(line.text.encode())


def new_lines(
    paths: Iterable[Path], files: list[StoredFile], places: Numbers, folder: Path
) -> Iterator[tuple[int, Line]]:
    """Yield the lines of files that a store does not contain yet, with the files' numbers.

    A store has the first lines of a file, because it is extended in their order.

    Args:
        paths: the files.
        files: those of the store; new ones are added to it.
        places (S, 5): those of the store's texts.
        folder: of the store.

    Raises:
        OSError, ValueError: as `locate_lines`, or a line that the store has is now another one.
    """
    numbers = {each.find(folder).resolve(): number for number, each in enumerate(files)}
    for path in dict.fromkeys(each.resolve() for each in paths):
        number = numbers.setdefault(path, len(files))
        if number == len(files):
            files.append(StoredFile.of(path, folder))
        found = [block[block[:, FILE] == number, CHECKSUM] for block in blocks(places)]
        known = np.concatenate([np.empty(0, np.int64), *found])
        count = 0
        for line in locate_lines(path):
            count = line.number
            if count > len(known):
                yield number, line
            elif zlib.crc32(line.text.encode()) != known[count - 1]:
                raise ValueError(
                    f"{path}, line {count}: is another text than in {folder}; write a new store"
                )
        if count < len(known):
            raise ValueError(
                f"{path}: expected at least {len(known):,} lines, which are in {folder}, found "
                f"{count:,}; write a new store"
            )


def read_texts(places: np.ndarray, path_of: Callable[[int], Path], folder: Path) -> list[str]:
    """Return the texts at some places, in order.

    Args:
        places (N, 5): the places.
        path_of: returns the path of a file by its number.
        folder: of the store, for messages.

    Raises:
        OSError: a file is missing or can't be read.
        ValueError: a text is no longer at its place.
    """
    texts = [""] * len(places)
    order = np.lexsort((places[:, OFFSET], places[:, FILE]))  # each file once, from its start
    for number, rows in groupby(order.tolist(), key=lambda row: int(places[row, FILE])):
        path = path_of(number)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; {folder} has the vectors of its lines, but not the lines"
            )
        with path_in_errors(path), path.open("rb") as raw, decompressed(raw, path) as file:
            # A damaged length must not ask for memory.
            most = path.stat().st_size if file is raw else MAX_FILE_BYTES
            for row in rows:
                _, offset, length, line, checksum = places[row].tolist()
                if not (0 <= offset <= most and 0 <= length <= min(most, MAX_TEXT_BYTES)):
                    offset, length = 0, 0
                try:
                    file.seek(offset)
                    data = file.read(length)
                except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
                    raise ValueError(f"{path}: invalid gzip file: {error}") from None
                if zlib.crc32(data) != checksum or len(data) != places[row, LENGTH]:
                    raise ValueError(
                        f"{path}, line {line}: is another text than in {folder}; write a new store"
                    )
                texts[row] = data.decode()
    return texts
