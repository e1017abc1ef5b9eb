"""A tokenizer's files, `vocab.txt` and `tokenizer_config.json`, as Hugging Face names them."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minibert.files import read_lines, replacing

VOCABULARY, CONFIG = "vocab.txt", "tokenizer_config.json"
# What the configuration may say, and how.
OPTIONS: dict[str, tuple[type, ...]] = {
    "do_lower_case": (bool,),
    "strip_accents": (bool, type(None)),
    "tokenize_chinese_chars": (bool,),
    "max_input_chars_per_word": (int,),
    "unk_token": (str,),
    "sep_token": (str,),
    "pad_token": (str,),
    "cls_token": (str,),
    "mask_token": (str,),
    "model_max_length": (int, type(None)),
}
UNLIMITED = 10**9  # transformers writes 10^30 for a length without a limit; here that is None
JSON = {bool: "true or false", int: "an integer", str: "a string", type(None): "null"}


def write(folder: str | os.PathLike, pieces: Sequence[str], options: Mapping[str, Any]) -> None:
    """Write a tokenizer's files, each whole or not at all.

    Args:
        folder: made if it isn't there.
        pieces: one a line, in the order of their ids.
        options: those of `OPTIONS`; a length of None is left out.
    """
    with replacing(Path(folder) / VOCABULARY) as path:
        path.write_text("".join(f"{piece}\n" for piece in pieces), "utf-8", newline="\n")
    config = {"tokenizer_class": "BertTokenizer", **options}
    if config["model_max_length"] is None:
        del config["model_max_length"]
    with replacing(Path(folder) / CONFIG) as path:
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read(folder: str | os.PathLike) -> tuple[list[str], dict[str, Any]]:
    """Read a tokenizer's pieces, and those of its options that the configuration states.

    Raises:
        OSError: `vocab.txt` is missing or can't be read.
        ValueError: a file is broken; the message names it, and what is wrong with it.
    """
    pieces = list(read_lines(Path(folder) / VOCABULARY))
    path = Path(folder) / CONFIG
    if not path.is_file():
        return pieces, {}
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON in UTF-8: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(config).__name__}")
    options: dict[str, Any] = {}
    for name in OPTIONS.keys() & config.keys():
        value = config[name]
        if name.endswith("_token") and isinstance(value, dict):
            value = value.get("content")  # as transformers up to version 4 writes them
        if type(value) not in OPTIONS[name]:
            expected = " or ".join(JSON[kind] for kind in OPTIONS[name])
            raise ValueError(f"{path}: {name}: expected {expected}, got {value!r}")
        options[name] = value
    if (options.get("model_max_length") or 0) > UNLIMITED:
        options["model_max_length"] = None
    return pieces, options
