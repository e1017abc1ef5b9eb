"""Read the models of SentencePiece: `spm.model`, `spiece.model`, `sentencepiece.bpe.model`.

Kudo and Richardson (2018). The fields are those of `sentencepiece_model.proto`; those that only
training needs are skipped.
"""

import math
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minibert.io.atomic import path_in_errors
from minibert.io.text import require_file
from minibert.tokenization.protobuf import Value, read_fields

MODEL_TYPES = {1: "Unigram", 2: "BPE", 3: "Word", 4: "Char"}
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # the types of pieces

# Field numbers of the messages.
PIECES, TRAINER, NORMALIZER = 1, 2, 3
TEXT, SCORE, TYPE = 1, 2, 3
TRAINER_FIELDS = {
    3: "model_type",
    35: "byte_fallback",
    40: "unk_id",
    41: "bos_id",
    42: "eos_id",
}
NORMALIZER_FIELDS = {
    2: "charsmap",
    3: "add_dummy_prefix",
    4: "remove_extra_whitespaces",
    5: "escape_whitespaces",
}


@dataclass
class SentencePieceModel:
    """The content of a SentencePiece model.

    Attributes:
        pieces: text and log-probability of each piece, in the order of ids.
        types: the type of each piece, such as `CONTROL`.
        model_type (int): see `MODEL_TYPES`.
        byte_fallback (bool): unknown letters are replaced by their bytes.
        unk_id, bos_id, eos_id (int): the special tokens; -1 for none.
        charsmap (bytes): the normalizer table; see `charsmap`.
        add_dummy_prefix (bool): a space is added before the text.
        remove_extra_whitespaces (bool): spaces at both ends and repeated spaces are dropped.
        escape_whitespaces (bool): spaces become ▁.
    """

    pieces: list[tuple[str, float]] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    model_type: int = 1
    byte_fallback: bool = False
    unk_id: int = 0
    bos_id: int = 1
    eos_id: int = 2
    charsmap: bytes = b""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True


def read_sentencepiece(path: str | os.PathLike[str]) -> SentencePieceModel:
    """Return the content of a SentencePiece model.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is damaged; the message names the file.
    """
    path = Path(path)
    require_file(path, "a SentencePiece model")
    try:
        with path_in_errors(path):
            content = path.read_bytes()
        return _model(content)
    except ValueError as error:
        raise ValueError(f"{path}: not a SentencePiece model: {error}") from None


def _model(data: bytes) -> SentencePieceModel:
    """Return a model from the content of its file."""
    model = SentencePieceModel()
    for number, value in read_fields(data):
        if number == PIECES:
            text, score, kind = _piece(_bytes(value, "pieces"))
            model.pieces.append((text, score))
            model.types.append(kind)
        elif number == TRAINER:
            _set_fields(model, _bytes(value, "trainer_spec"), TRAINER_FIELDS)
        elif number == NORMALIZER:
            _set_fields(model, _bytes(value, "normalizer_spec"), NORMALIZER_FIELDS)
    if not model.pieces:
        raise ValueError("expected pieces, got none")
    if not 0 <= model.unk_id < len(model.pieces):
        raise ValueError(f"unk_id: expected 0 to {len(model.pieces) - 1}, got {model.unk_id}")
    return model


def _piece(data: bytes) -> tuple[str, float, int]:
    """Return the text, the log-probability and the type of a piece."""
    text, score, kind = "", 0.0, NORMAL
    for number, value in read_fields(data):
        if number == TEXT:
            text = _bytes(value, "piece").decode()  # UnicodeDecodeError is a ValueError
        elif number == SCORE:
            raw = _bytes(value, "score")
            if len(raw) != 4:
                raise ValueError(f"score: expected 4 bytes, got {len(raw)}")
            (score,) = struct.unpack("<f", raw)
            if not math.isfinite(score):
                raise ValueError(f"score: expected a finite number, got {score}")
        elif number == TYPE:
            kind = _integer(value, "type")
    return text, score, kind


def _set_fields(model: SentencePieceModel, data: bytes, names: dict[int, str]) -> None:
    """Set attributes of a model from the fields of a message."""
    for number, value in read_fields(data):
        name = names.get(number)
        if name is None:
            continue
        read: Any = {"charsmap": _bytes}.get(name, _integer)
        kind = type(getattr(model, name))
        setattr(model, name, kind(read(value, name)))


def _bytes(value: Value, name: str) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f"{name}: expected bytes, got an integer")
    return value


def _integer(value: Value, name: str) -> int:
    """Return an integer of a field; negative ones are stored as 2^64 less their size."""
    if not isinstance(value, int):
        raise ValueError(f"{name}: expected an integer, got bytes")
    return value - (1 << 64) if value >> 63 else value
