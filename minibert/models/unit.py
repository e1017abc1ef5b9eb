"""Files that belong together: a model's weights, its configuration and its tokenizer.

`save_pretrained` renames two files, one after the other. A process that is killed between the two
leaves the weights of one save with the configuration of another, which may fit by their shapes and
still be wrong: new weights with the old names of the classes. So each save computes a checksum of
its configuration and its weights, and writes it into both: into `config.json` as `minibert_save`,
and under the same name into the metadata of `model.safetensors`. It is a checksum, not a random
number, so that the same model gives the same bytes. When the model is read, the two are compared;
the content of the files is not, so an edited file still opens:

| config.json | weights   | then                                                                   |
|-------------|-----------|------------------------------------------------------------------------|
| A           | A         | one save; `config.json` may have been edited                           |
| A           | B         | refused: a save was cut off, or files were copied together             |
| A or none   | none      | opened: other programs keep or drop the field, and drop the metadata   |
| none        | A         | opened with a warning: a save was cut off over a model of version 1,   |
|             |           | or `config.json` was replaced                                          |

A tokenizer is saved by a call of its own, before the model or after it, and its files stay as other
programs expect them. So where a model is saved into a folder with a tokenizer, `config.json` names
the vocabulary of the model as `minibert_vocabulary`: a checksum of the pieces and their ids. For a
model that was read from a folder with a tokenizer it is that tokenizer's vocabulary; for a new
model, that of the tokenizer which is in the folder. If the folder has another vocabulary when the
model is read, one save of the two was cut off, or the tokenizer was replaced since: a warning names
the folder. Only the order "tokenizer, then model" is safe for a new model in the place of an old
one: a new model that is saved first can't know that the tokenizer there is not its own.
"""

import hashlib
import logging
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minibert.io.json import read_json
from minibert.io.text import read_lines

SAVE, VOCABULARY = "minibert_save", "minibert_vocabulary"
# A tokenizer's files, in the order in which they are looked for.
TOKENIZER, PIECES = "tokenizer.json", "vocab.txt"

log = logging.getLogger("minibert")


def checksum_of_save(config: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Return the checksum of one save (str).

    Args:
        config: the text of the configuration.
        arrays: the weights by name.
    """
    digest = hashlib.blake2b(config.encode(), digest_size=8)
    for name, array in arrays.items():
        # The CRC is five times as fast as the digest.
        checksum = zlib.crc32(np.ascontiguousarray(array).data)
        digest.update(repr((name, array.dtype.str, array.shape, checksum)).encode())
    return digest.hexdigest()


def checksum_of_vocabulary(folder: Path) -> str | None:
    """Return the checksum of the vocabulary in a folder; None if there is none to be read."""
    try:
        if (folder / TOKENIZER).is_file():
            ids = read_json(folder / TOKENIZER)["model"]["vocab"]
            pairs = sorted((i, piece) for piece, i in ids.items())
        else:
            pairs = list(enumerate(read_lines(folder / PIECES)))
        return hashlib.blake2b(repr(pairs).encode(), digest_size=8).hexdigest()
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # the tokenizer's own reader reports what is broken


def fields_of_save(
    folder: Path, config: str, arrays: Mapping[str, np.ndarray], vocabulary: str | None
) -> dict[str, str]:
    """Return the fields that join a save's files: `minibert_save`, and perhaps the vocabulary.

    Args:
        folder: in which the model is saved.
        config: the text of the configuration.
        arrays: the weights by name.
        vocabulary: the checksum of the vocabulary that the model was read with, if it was.
    """
    fields = {SAVE: checksum_of_save(config, arrays)}
    present = checksum_of_vocabulary(folder)
    return fields if present is None else {**fields, VOCABULARY: vocabulary or present}


def check_unit(folder: Path, fields: Mapping[str, Any], saves: Iterable[str | None]) -> str | None:
    """Refuse weights and a configuration of two saves; warn of another tokenizer.

    Args:
        folder: of the model.
        fields: those of `config.json`, read before the weights were opened.
        saves: the checksum in each file of weights; None where there is none.

    Returns:
        the checksum of the vocabulary in the folder; None if there is none.

    Raises:
        ValueError: they are of two saves.
    """
    ours, theirs = fields.get(SAVE), [save for save in saves if save is not None]
    vocabulary = checksum_of_vocabulary(folder)
    if not theirs:
        return vocabulary
    if ours is None:
        log.warning(
            "%s: config.json does not say that it is of the same save as the weights; if a save "
            "was cut off, save the model again",
            folder,
        )
    elif any(save != ours for save in theirs):
        raise ValueError(
            f"{folder}: config.json and the weights are of two saves, one of which was cut off; "
            f"save the model again, or remove {SAVE} from config.json if they belong together"
        )
    elif vocabulary is not None and fields.get(VOCABULARY, vocabulary) != vocabulary:
        log.warning(
            "%s: its vocabulary is not the one that the model was saved with; if a save was cut "
            "off, save both again, the tokenizer first",
            folder,
        )
    return vocabulary
