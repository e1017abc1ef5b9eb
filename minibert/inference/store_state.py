"""The state of a vector store, `store.json`: which rows count, and what made them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from minibert.io.atomic import atomic_write
from minibert.io.json import read_json
from minibert.io.text import sanitize

STATE = "store.json"
FORMAT = 1
SETTINGS = {  # of the extractor, and their types
    "pooling": list,
    "layers": list,
    "combine": str,
    "max_length": int,
    "prompt": str,
    "include_prompt": bool,
    "projections": list,
}


@dataclass(frozen=True)
class StoredFile:
    """A file of texts.

    Attributes:
        path: its absolute path.
        relative: its path from the store's folder, for the two that were moved together.
    """

    path: str
    relative: str

    @classmethod
    def of(cls, path: str | os.PathLike[str], folder: Path) -> Self:
        """Describe a file as the store in `folder` names it."""
        absolute = str(Path(path).resolve())
        try:
            return cls(absolute, os.path.relpath(absolute, folder.resolve()))
        except ValueError:  # on another drive
            return cls(absolute, absolute)

    def find(self, folder: Path) -> Path:
        """Return where the file is now (path); its first place if it is nowhere."""
        path, beside = Path(self.path), folder / self.relative
        return beside if beside.exists() and not path.exists() else path


@dataclass(frozen=True)
class StoreState:
    """What counts in a store.

    Attributes:
        width: D, numbers per vector.
        count: S, the number of vectors.
        name: the model's name or folder; None: unknown.
        made_by: the `fingerprint` of the extractor; None: the vectors are the caller's.
        files: the files of texts.
        own_bytes, own_lines: the size of the store's own file of texts.
    """

    width: int
    count: int = 0
    name: str | None = None
    made_by: Mapping[str, Any] | None = None
    files: tuple[StoredFile, ...] = ()
    own_bytes: int = 0
    own_lines: int = 0

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the state of a store.

        Raises:
            FileNotFoundError: there is no store.
            OSError, ValueError: its state can't be read, is invalid, or of a later version.
        """
        path = folder / STATE
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder}: expected a vector store, found no {STATE}; minibert embed MODEL "
                "--file FILES --out NAME.store writes one"
            )
        fields = read_json(path)

        def field(name: str, kind: Any, source: Any = fields, least: int = 0) -> Any:
            value = source.get(name) if isinstance(source, dict) else None
            is_number = type(value) is int and value >= least
            if not (is_number if kind is int else isinstance(value, kind)):
                expected = f"a whole number of at least {least}" if kind is int else kind
                expected = getattr(expected, "__name__", expected)
                got = sanitize(repr(value))[:80]
                raise ValueError(f"{path}: {name}: expected {expected}, got {got}")
            return value

        version = field("format", int)
        if version != FORMAT:
            raise ValueError(
                f"{path}: format: expected {FORMAT}, got {version}; a later version of minibert "
                "may have written it"
            )
        made_by = field("made_by", dict | None)
        kinds = {"model": str, "tokenizer": str, **SETTINGS}
        if made_by is not None:
            made_by = {name: field(name, kind, made_by) for name, kind in kinds.items()}
        files = [
            StoredFile(field("path", str, each), field("relative", str, each))
            for each in field("files", list)
        ]
        return cls(
            width=field("width", int, least=1),
            count=field("count", int),
            name=field("name", str | None),
            made_by=made_by,
            files=tuple(files),
            own_bytes=field("own_bytes", int),
            own_lines=field("own_lines", int),
        )

    def write(self, folder: Path) -> None:
        """Replace the state of a store atomically."""
        fields = {"format": FORMAT, **vars(self), "files": [vars(each) for each in self.files]}
        with atomic_write(folder / STATE) as temporary:
            temporary.write_text(json.dumps(fields, indent=2) + "\n", "utf-8")
