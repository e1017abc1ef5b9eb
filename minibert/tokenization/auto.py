"""Choose the kind of tokenizer by the files of a folder."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from minibert.io.json import read_json
from minibert.io.text import sanitize
from minibert.models.hub import checkpoint_folder, pinned
from minibert.tokenization.base import PreTrainedTokenizer
from minibert.tokenization.saved import CONFIG, WHOLE

# The class of each kind, and its module, which is imported when it is used.
CLASSES = {
    "WordPieceTokenizer": "minibert.tokenization.wordpiece",
    "ByteLevelBPETokenizer": "minibert.tokenization.byte_level_bpe",
    "UnigramTokenizer": "minibert.tokenization.unigram",
}
# By the type of the model in tokenizer.json.
MODELS = {
    "WordPiece": "WordPieceTokenizer",
    "BPE": "ByteLevelBPETokenizer",
    "Unigram": "UnigramTokenizer",
}
# By the class in tokenizer_config.json, without "Fast" at its end.
NAMES = {
    "BertTokenizer": "WordPieceTokenizer",
    "DistilBertTokenizer": "WordPieceTokenizer",
    "ElectraTokenizer": "WordPieceTokenizer",
    "MPNetTokenizer": "WordPieceTokenizer",
    "RobertaTokenizer": "ByteLevelBPETokenizer",
    "GPT2Tokenizer": "ByteLevelBPETokenizer",
    "XLMRobertaTokenizer": "UnigramTokenizer",
    "CamembertTokenizer": "UnigramTokenizer",
    "AlbertTokenizer": "UnigramTokenizer",
    "DebertaV2Tokenizer": "UnigramTokenizer",
}
# Classes of any kind: the files decide.
GENERIC = {"PreTrainedTokenizer", "TokenizersBackend"}
# By the files of a folder without tokenizer.json.
FILES = {
    "vocab.txt": "WordPieceTokenizer",
    "merges.txt": "ByteLevelBPETokenizer",
    "sentencepiece.bpe.model": "UnigramTokenizer",
    "spm.model": "UnigramTokenizer",
    "spiece.model": "UnigramTokenizer",
}


class AutoTokenizer:
    """Opens a tokenizer of any kind, as Hugging Face's `AutoTokenizer`.

    >>> from tempfile import TemporaryDirectory
    >>> from minibert import AutoTokenizer, WordPieceTokenizer
    >>> tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    >>> with TemporaryDirectory() as folder:
    ...     tokenizer.save_pretrained(folder)
    ...     type(AutoTokenizer.from_pretrained(folder)).__name__
    'WordPieceTokenizer'
    """

    def __init__(self) -> None:
        raise TypeError("AutoTokenizer: call AutoTokenizer.from_pretrained(folder)")

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, revision: str | None = None, **changes: Any
    ) -> PreTrainedTokenizer:
        """Return the tokenizer of a folder, of the kind that its files state.

        The kind is the type of the model in `tokenizer.json`. Without this file, it is that of
        `tokenizer_class` in `tokenizer_config.json`, or that of the files that are present.

        Args:
            folder: a folder, or a name that `models.hub.find_folder` finds.
            revision (str or None): of a name on the hub: a commit, a branch or a tag.
            changes: options of the tokenizer with other values than in the files.

        Raises:
            OSError: the folder contains no tokenizer, or a file cannot be read.
            ValueError: the kind is not among those that can be opened, or a file is invalid; the
                message names the file.
        """
        folder = checkpoint_folder(pinned(folder, revision))
        name = class_of(folder)
        kind = getattr(import_module(CLASSES[name]), name)
        return kind.from_pretrained(folder, **changes)


def class_of(folder: str | os.PathLike[str]) -> str:
    """Return the name of a tokenizer's class (str) by its files; see `AutoTokenizer`."""
    folder = Path(folder)
    if (folder / WHOLE).is_file():
        model = read_json(folder / WHOLE).get("model")
        model = model if isinstance(model, dict) else {}
        # Old files do not state the type.
        untyped = "BPE" if "merges" in model else "WordPiece" if "vocab" in model else "none"
        untyped = "Unigram" if isinstance(model.get("vocab"), list) else untyped
        kind = model.get("type", untyped)
        if not isinstance(kind, str) or kind not in MODELS:
            raise ValueError(
                f"{folder / WHOLE}: model: expected {' or '.join(MODELS)}, got {sanitize(kind)}"
            )
        return MODELS[kind]
    present = [name for name in FILES if (folder / name).is_file()]
    if (folder / CONFIG).is_file():
        stated = read_json(folder / CONFIG).get("tokenizer_class")
        if isinstance(stated, str) and stated.removesuffix("Fast") in NAMES:
            return NAMES[stated.removesuffix("Fast")]
        if stated is not None and str(stated).removesuffix("Fast") not in GENERIC:
            raise ValueError(
                f"{folder / CONFIG}: tokenizer_class: expected one of {', '.join(NAMES)}, got "
                f"{sanitize(stated)}"
            )
    if not present:
        raise FileNotFoundError(f"{folder}: no tokenizer; expected {WHOLE}, {', '.join(FILES)}")
    return FILES[present[0]]
