"""Read and write the tensors of a checkpoint: safetensors, in one file or in shards."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from safetensors import SafetensorError, safe_open

from minibert.io.atomic import path_in_errors
from minibert.io.json import read_json
from minibert.io.number_files import NumberFile, blocks
from minibert.io.text import sanitize
from minibert.models.unit import SAVE
from minibert.typing import Array

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}  # those that are read
CODES = {"float16": "F16", "float32": "F32", "float64": "F64"}  # the formats that are written


@dataclass(frozen=True)
class Tensor:
    """A tensor in an open file, not read yet.

    Attributes:
        path: the file's path.
        name: the tensor's name in the file.
        shape: the tensor's shape.
        dtype: the tensor's dtype in the notation of safetensors, such as `F32` or `BF16`.
        content: its bytes in the open file.
        metadata: that of the file.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    content: NumberFile
    metadata: Mapping[str, str]

    def part(self, i: int, count: int) -> "Tensor":
        """Return the i-th of `count` equal parts of the rows.

        Raises:
            ValueError: the rows are not a multiple of the count.
        """
        if not self.shape or self.shape[0] % count:
            raise ValueError(
                f"{self.path}: {self.name}: expected a multiple of {count} rows, "
                f"got the shape {self.shape}"
            )
        shape, size = (self.shape[0] // count, *self.shape[1:]), len(self.content) // count
        return replace(self, shape=shape, content=self.content[i * size : (i + 1) * size])

    def read(self) -> Array:
        """Return the tensor (array); bfloat16 becomes float32, other dtypes are unchanged.

        Raises:
            OSError, ValueError: as `read_into`.
        """
        kind = self._stored_dtype()
        own = np.dtype(np.float32) if self.dtype == "BF16" else kind.newbyteorder("=")
        array = np.empty(self.shape, own)
        self.read_into(array)
        return array

    def read_into(self, place: Array) -> None:
        """Read the tensor into an array of its shape, block by block, in the dtype of the array.

        Args:
            place: a contiguous array.

        Raises:
            OSError: the file can't be read, or it was cut.
            ValueError: the dtype in the file is not floating point.
        """
        numbers, flat, end = self.content.view(self._stored_dtype()), place.reshape(-1), 0
        if not place.flags.c_contiguous or len(flat) != len(numbers):
            raise ValueError(
                f"{self.path}: {self.name}: expected a contiguous array of {len(numbers)} numbers "
                f"to read into, got the shape {place.shape}"
            )
        for block in blocks(numbers):
            start, end = end, end + len(block)
            flat[start:end] = _widened(block) if self.dtype == "BF16" else block

    def _stored_dtype(self) -> np.dtype[Any]:
        if self.dtype not in FLOATS:
            expected = ", ".join(FLOATS)
            raise ValueError(
                f"{self.path}: {self.name}: expected one of {expected}, got {self.dtype}"
            )
        return np.dtype(FLOATS[self.dtype])


def _widened(words: Array) -> Array:
    """Return bfloat16 numbers, which NumPy lacks, as float32: they are its upper halves."""
    wide = words.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def convert_tensors(arrays: Mapping[str, Array], dtype: DTypeLike) -> dict[str, Array]:
    """Return floating-point arrays in another dtype (dict).

    >>> convert_tensors({"x": np.array([0.1])}, "float16")["x"].dtype.name
    'float16'

    Args:
        arrays (mapping): the arrays by name.
        dtype (dtype): one of the formats that are written.

    Raises:
        ValueError: the dtype is not one of them, or a finite value overflows in it.
    """
    try:
        name = np.dtype(dtype).name
    except TypeError:  # bfloat16, for example
        name = str(dtype)
    if name not in CODES:
        raise ValueError(
            f"dtype: expected one of {', '.join(CODES)}, got {sanitize(name)}; NumPy does not have "
            "bfloat16, and float16 needs the same space"
        )
    converted = {}
    for key, array in arrays.items():
        try:
            with np.errstate(over="raise", under="ignore"):
                converted[key] = array.astype(name)
        except FloatingPointError:
            raise ValueError(
                f"{key}: has values too large for {name}, whose maximum is {np.finfo(name).max:g}"
            ) from None
    return converted


def write_tensors(
    arrays: Mapping[str, Array], path: str | os.PathLike[str], **metadata: str
) -> None:
    """Write floating-point arrays to a safetensors file deterministically.

    The writer of the library `safetensors` 0.8 stores several entries of metadata in random order,
    writes to a temporary file of another name, and lets only the owner read the file.

    Args:
        arrays (mapping): the arrays by name.
        path (path): the file.
        metadata (str): entries of the file's metadata.

    Raises:
        OSError: the file can't be written.
    """
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    # Widest dtype first, so every array is aligned to its item size.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    for name in names:
        array = arrays[name]
        start, end = end, end + array.nbytes
        outline = {"dtype": CODES[array.dtype.name], "shape": array.shape}
        header[name] = {**outline, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path_in_errors(Path(path)), Path(path).open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            array = arrays[name]
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)


@contextmanager
def open_weights(folder: str | os.PathLike[str]) -> Iterator[dict[str, Tensor]]:
    """Open the files of a checkpoint and yield their unread tensors by name (dict).

    Raises:
        OSError: the weights are missing, pickled or can't be read.
        ValueError: a file is invalid, or the index doesn't match the files.
    """
    folder = Path(folder)
    with ExitStack() as stack:
        files: dict[Path, dict[str, Tensor]] = {}

        def tensors(path: Path) -> dict[str, Tensor]:
            if path not in files:
                files[path] = stack.enter_context(open_tensors(path))
            return files[path]

        if (folder / WEIGHTS).is_file():
            yield tensors(folder / WEIGHTS)
            return
        if not (folder / INDEX).is_file():
            raise FileNotFoundError(_no_weights_message(folder))
        found = {}
        for name, shard in _weight_map(folder / INDEX).items():
            if not (folder / shard).is_file():
                raise FileNotFoundError(f"{folder / shard}: no such file; {INDEX} names it")
            if name not in tensors(folder / shard):
                raise ValueError(
                    f"{folder / shard}: lacks {sanitize(name)}, which {INDEX} lists in it"
                )
            found[name] = tensors(folder / shard)[name]
        yield found


def save_checksums(tensors: Mapping[str, Tensor]) -> list[str | None]:
    """Return the checksum of the save in each file of weights (list); see `unit`."""
    files = {tensor.path: tensor.metadata for tensor in tensors.values()}
    return [metadata.get(SAVE) for metadata in files.values()]


@contextmanager
def open_tensors(path: Path) -> Iterator[dict[str, Tensor]]:
    """Open a safetensors file and yield its unread tensors by name (dict).

    The library checks the header, and maps the file for that alone: the system would end a process
    that reads a mapped file which another one has cut.

    Raises:
        OSError: the file can't be read.
        ValueError: it is invalid.
    """
    with closing(NumberFile(path, "u1", path.stat().st_size)) as content:
        try:
            with safe_open(path, framework="numpy"):
                pass
            start = 8 + int.from_bytes(bytes(np.asarray(content[:8])), "little")
            header = json.loads(bytes(np.asarray(content[8:start])))
        except (SafetensorError, ValueError) as error:
            raise ValueError(f"{path}: invalid safetensors file: {sanitize(error)}") from None
        metadata = header.pop("__metadata__", None) or {}
        tensors = {}
        for name, outline in sorted(header.items()):
            shape, dtype = tuple(outline["shape"]), outline["dtype"]
            own = content[start:][slice(*outline["data_offsets"])]
            tensors[name] = Tensor(path, name, shape, dtype, own, metadata)
        yield tensors


def _weight_map(path: Path) -> dict[str, str]:
    """Read the file name of each tensor from the index (dict)."""
    names: dict[str, str] | None = read_json(path).get("weight_map")
    is_valid = isinstance(names, dict) and all(
        shard and Path(str(shard)).name == shard and shard.isprintable() for shard in names.values()
    )
    if not is_valid or not names:
        raise ValueError(f"{path}: expected a weight_map with the names of files in its folder")
    return names


def _no_weights_message(folder: Path) -> str:
    pickles = [*folder.glob("pytorch_model*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt*")]
    if pickles:
        return (
            f"{pickles[0]}: not read, because opening a pickle runs the code in it; if you trust "
            "it, convert it: "
            "transformers.AutoModel.from_pretrained(folder).save_pretrained(new_folder)"
        )
    return f"{folder / WEIGHTS}: no such file; expected the folder of a checkpoint"
