"""Read and write the tensors of a checkpoint: safetensors, in one file or in shards."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike
from safetensors import SafetensorError, safe_open

from minibert.io.atomic import path_in_errors
from minibert.io.json import read_json
from minibert.io.text import sanitize
from minibert.models.unit import SAVE
from minibert.typing import Array

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = ("F16", "BF16", "F32", "F64")
CODES = {"float16": "F16", "float32": "F32", "float64": "F64"}  # the formats that are written


@dataclass(frozen=True)
class Tensor:
    """A tensor in an open file, not read yet.

    Attributes:
        path: the file's path.
        name: the tensor's name in the file.
        shape: the tensor's shape.
        dtype: the tensor's dtype in the notation of safetensors, such as `F32` or `BF16`.
        file: the open file.
        rows: the rows of a tensor in the file that are this one; None: all.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    file: Any
    rows: slice | None = None

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
        size = self.shape[0] // count
        rows = slice(i * size, (i + 1) * size)
        return replace(self, shape=(size, *self.shape[1:]), rows=rows)

    def read(self) -> Array:
        """Return the tensor (array); bfloat16 becomes float32, other dtypes are unchanged.

        Raises:
            ValueError: the dtype is not floating point.
        """
        if self.dtype not in FLOATS:
            expected = ", ".join(FLOATS)
            raise ValueError(
                f"{self.path}: {self.name}: expected one of {expected}, got {self.dtype}"
            )
        if self.dtype == "BF16":  # not in NumPy: the upper half of a float32
            shape = tuple(self.file.get_slice(self.name).get_shape())
            words = np.memmap(self.path, "<u2", "r", _start(self.path, self.name), shape)
            wide = words[... if self.rows is None else self.rows].astype(np.uint32)
            wide <<= 16
            return wide.view(np.float32)
        if self.rows is not None:
            return cast(Array, self.file.get_slice(self.name)[self.rows])
        return cast(Array, self.file.get_tensor(self.name))


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
                file = stack.enter_context(_open(path))
                files[path] = {name: _tensor(path, file, name) for name in sorted(file.keys())}
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
    files = {tensor.path: tensor.file for tensor in tensors.values()}
    return [(file.metadata() or {}).get(SAVE) for file in files.values()]


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path}: invalid safetensors file: {sanitize(error)}") from None


def _tensor(path: Path, file: Any, name: str) -> Tensor:
    outline = file.get_slice(name)
    return Tensor(path, name, tuple(outline.get_shape()), str(outline.get_dtype()), file)


def _start(path: Path, name: str) -> int:
    """Return the offset of a tensor in its file in bytes (int); the header is known to be valid."""
    with path_in_errors(path), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return 8 + length + int(header[name]["data_offsets"][0])


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
