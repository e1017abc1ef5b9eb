"""Read JSON strictly."""

import json
import os
from pathlib import Path
from typing import Any

from minibert.io.atomic import path_in_errors


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: it is invalid, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: str | os.PathLike[str], kind: type = dict) -> Any:
    """Read a JSON file whose top level is of type `kind`.

    Args:
        path (path): the file.
        kind (type): dict for an object, list for an array.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is invalid or contains another type; the message names the file.
    """
    try:
        with path_in_errors(Path(path)):
            content = parse_json(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON in UTF-8: {error}") from None
    if not isinstance(content, kind):
        expected = "object" if kind is dict else kind.__name__
        raise ValueError(f"{path}: expected a JSON {expected}, got {type(content).__name__}")
    return content
