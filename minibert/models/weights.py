"""A checkpoint's tensors in their files: safetensors, whole or in shards, in four float formats."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from minibert.io.json import read_json
from minibert.io.text import sanitize
from minibert.models.unit import SAVE

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = ("F16", "BF16", "F32", "F64")
CODES = {"float16": "F16", "float32": "F32", "float64": "F64"}  # of those that are written


@dataclass(frozen=True)
class Tensor:
    """One tensor in a file, not read yet.

    Attributes:
        path: of the file.
        name: in the file.
        shape: of the tensor.
        dtype: as safetensors calls it, such as `F32` or `BF16`.
        file: open.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: str
    file: Any

    def read(self) -> np.ndarray:
        """Return the numbers; bfloat16 is widened to float32, the rest stays what it is.

        Raises:
            ValueError: these are no floating-point numbers.
        """
        if self.dtype not in FLOATS:
            expected = ", ".join(FLOATS)
            raise ValueError(
                f"{self.path}: {self.name}: expected one of {expected}, got {self.dtype}"
            )
        if self.dtype == "BF16":  # NumPy has no such type; it is the upper half of a float32
            words = np.memmap(self.path, "<u2", "r", _start(self.path, self.name), self.shape)
            wide = words.astype(np.uint32)
            wide <<= 16
            return wide.view(np.float32)
        return self.file.get_tensor(self.name)


def write_tensors(
    arrays: Mapping[str, np.ndarray], path: str | os.PathLike, **metadata: str
) -> None:
    """Write arrays of floats to a safetensors file, the same arrays always as the same bytes.

    The library's own writer, as of its version 0.8, gives metadata of several names a random order,
    and makes a file that only its owner may read, by way of a temporary file of another name.

    Raises:
        OSError: they can't be written.
    """
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    # Widest first, so that every array is aligned to its own width.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    for name in names:
        array = arrays[name]
        start, end = end, end + array.nbytes
        outline = {"dtype": CODES[array.dtype.name], "shape": array.shape}
        header[name] = {**outline, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with Path(path).open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            array = arrays[name]
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)


@contextmanager
def open_weights(folder: str | os.PathLike) -> Iterator[dict[str, Tensor]]:
    """Open the tensors of a checkpoint, by name; the files stay mapped, and nothing is read yet.

    Raises:
        OSError: there are no weights, or only pickled ones, or they can't be read.
        ValueError: a file is broken, or the index doesn't fit the files.
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
            raise FileNotFoundError(_nothing_in(folder))
        found = {}
        for name, shard in _weight_map(folder / INDEX).items():
            if not (folder / shard).is_file():
                raise FileNotFoundError(f"{folder / shard}: no such file; {INDEX} names it")
            if name not in tensors(folder / shard):
                raise ValueError(
                    f"{folder / shard}: lacks {sanitize(name)}, which {INDEX} says is in it"
                )
            found[name] = tensors(folder / shard)[name]
        yield found


def saves_of(tensors: Mapping[str, Tensor]) -> list[str | None]:
    """Return the checksum of the save in each file of a checkpoint; see `unit`."""
    files = {tensor.path: tensor.file for tensor in tensors.values()}
    return [(file.metadata() or {}).get(SAVE) for file in files.values()]


@contextmanager
def _open(path):
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file: {sanitize(error)}") from None


def _tensor(path, file, name):
    outline = file.get_slice(name)
    return Tensor(path, name, tuple(outline.get_shape()), str(outline.get_dtype()), file)


def _start(path, name):
    """Return at which byte of a file a tensor begins; its header has been found sound by then."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return 8 + length + header[name]["data_offsets"][0]


def _weight_map(path):
    """Read which tensor is in which file of the same folder."""
    names = read_json(path).get("weight_map")
    inside = isinstance(names, dict) and all(
        shard and Path(str(shard)).name == shard and shard.isprintable() for shard in names.values()
    )
    if not inside or not names:
        raise ValueError(f"{path}: expected a weight_map with the names of files in its folder")
    return names


def _nothing_in(folder):
    pickles = [*folder.glob("pytorch_model*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt*")]
    if pickles:
        return (
            f"{pickles[0]}: not read, for opening a pickle runs the code in it; if you trust it, "
            "convert it: transformers.AutoModel.from_pretrained(folder).save_pretrained(new_folder)"
        )
    return f"{folder / WEIGHTS}: no such file; expected the folder of a checkpoint"
