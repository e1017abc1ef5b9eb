"""Check that weights, configuration and tokenizer in a folder belong together.

`save_pretrained` renames two files, one after the other. A process that is killed between the two
renames leaves the weights of one save with the configuration of another. Their shapes may match
although the pair is wrong: new weights with the old class names. Therefore each save computes a
checksum of its configuration and its weights, and writes it to both files: to `config.json` as
`minibert_save`, and under the same name to the metadata of `model.safetensors`. A checksum is used
instead of a random number, because then the same model is written as the same bytes. Loading
compares the two stored checksums but does not recompute them, so an edited file can still be read:

| config.json | weights   | result                                                                 |
|-------------|-----------|------------------------------------------------------------------------|
| A           | A         | loaded: one save; `config.json` may have been edited                   |
| A           | B         | refused: a save was interrupted, or files of two models were combined  |
| A or none   | none      | loaded: other programs keep or drop the field, and drop the metadata   |
| none        | A         | loaded with a warning: a save over a model of version 1 was            |
|             |           | interrupted, or `config.json` was replaced                             |

A tokenizer is saved by a separate call, before or after the model, and the format of its files is
fixed by other programs. Therefore, when a model is saved to a folder with a tokenizer,
`config.json` stores the checksum of the model's vocabulary (pieces and ids) as
`minibert_vocabulary`. For a model that was loaded from a folder with a tokenizer, this is the
vocabulary of that tokenizer; for a new model, the vocabulary of the tokenizer in the folder. If the
folder contains another vocabulary when the model is loaded, one of the two saves was interrupted or
the tokenizer was replaced; a warning names the folder. To replace an old model by a new one, save
the tokenizer first: a new model that is saved first cannot know that the tokenizer in the folder
belongs to the old model.
"""

import hashlib
import logging
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minibert.io.json import read_json
from minibert.io.text import read_pieces
from minibert.typing import Array

SAVE, VOCABULARY = "minibert_save", "minibert_vocabulary"
# Files of a tokenizer; the first one that exists is read.
TOKENIZER, PIECES, BYTE_PIECES = "tokenizer.json", "vocab.txt", "vocab.json"

log = logging.getLogger("minibert")


def save_checksum(config: str, arrays: Mapping[str, Array]) -> str:
    """Return the checksum of one save (str).

    Args:
        config (str): the text of the configuration.
        arrays (mapping): the weights by name.
    """
    digest = hashlib.blake2b(config.encode(), digest_size=8)
    for name, array in arrays.items():
        # CRC-32 of the numbers, because it is five times as fast as BLAKE2.
        checksum = zlib.crc32(np.ascontiguousarray(array).data)
        digest.update(repr((name, array.dtype.str, array.shape, checksum)).encode())
    return digest.hexdigest()


def vocabulary_checksum(folder: Path) -> str | None:
    """Return the checksum of the vocabulary in a folder (str); None without a valid one.

    A folder with only a SentencePiece model has none: its ids depend on the class of its tokenizer.

    Raises:
        OSError: the vocabulary can't be read.
    """
    try:
        if (folder / TOKENIZER).is_file():
            ids = read_json(folder / TOKENIZER)["model"]["vocab"]
        elif (folder / PIECES).is_file():
            ids = {piece: i for i, piece in enumerate(read_pieces(folder / PIECES))}
        else:
            ids = read_json(folder / BYTE_PIECES)
        if isinstance(ids, list):  # Unigram: pieces and scores, in the order of ids
            ids = {piece: i for i, (piece, _) in enumerate(ids)}
        pairs = sorted((i, piece) for piece, i in ids.items())
        return hashlib.blake2b(repr(pairs).encode(), digest_size=8).hexdigest()
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        return None  # loading the tokenizer reports the error


def save_fields(
    folder: Path, config: str, arrays: Mapping[str, Array], vocabulary: str | None
) -> dict[str, str]:
    """Return the fields of config.json that identify a save and its vocabulary (dict).

    Args:
        folder (path): the folder to which the model is saved.
        config (str): the text of the configuration.
        arrays (mapping): the weights by name.
        vocabulary (str): checksum of the vocabulary with which the model was loaded; None: the
            vocabulary in the folder, if it contains one.
    """
    fields = {SAVE: save_checksum(config, arrays)}
    present = vocabulary_checksum(folder)
    return fields if present is None else {**fields, VOCABULARY: vocabulary or present}


def check_same_save(
    folder: Path, fields: Mapping[str, Any], saves: Iterable[str | None]
) -> str | None:
    """Check that weights and configuration are of one save; warn of another vocabulary.

    Args:
        folder (path): the folder of the model.
        fields (mapping): the fields of `config.json`, read before the weights were opened.
        saves (iterable of str): the checksum in each file of weights, or None.

    Returns:
        the checksum of the vocabulary in the folder (str); None without one.

    Raises:
        ValueError: the files are of two saves.
    """
    in_config, in_weights = fields.get(SAVE), [save for save in saves if save is not None]
    vocabulary = vocabulary_checksum(folder)
    if not in_weights:
        return vocabulary
    if in_config is None:
        log.warning(
            "%s: config.json lacks the checksum of the save that the weights have; if a save was "
            "interrupted, save the model again",
            folder,
        )
    elif any(save != in_config for save in in_weights):
        raise ValueError(
            f"{folder}: config.json and the weights are of two saves, one was interrupted; "
            f"save the model again, or remove {SAVE} from config.json if they belong together"
        )
    elif vocabulary is not None and fields.get(VOCABULARY, vocabulary) != vocabulary:
        log.warning(
            "%s: its vocabulary is not the one with which the model was saved; if a save was "
            "interrupted, save both again, the tokenizer first",
            folder,
        )
    return vocabulary
