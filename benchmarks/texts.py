"""Real text to train on, made once and kept in the system's folder for temporary files."""

import tempfile
from pathlib import Path

import numpy as np

from minibert import WordPieceTokenizer
from minibert.data.builtin.corpus import write_builtin
from minibert.data.corpus import pack, read_corpus
from minibert.data.tables import read_records
from minibert.tasks import Examples

FOLDER = Path(tempfile.gettempdir()) / "minibert-benchmarks"  # remove it to make all of it anew


def corpus() -> Path:
    """Return the folder of the built-in corpus."""
    folder = FOLDER / "corpus"
    if not folder.exists():
        write_builtin(folder)
    return folder


def tokenizer(size: int) -> WordPieceTokenizer:
    """Return a tokenizer of so many pieces, learned from the corpus."""
    folder = FOLDER / f"tokenizer-{size}"
    if not folder.exists():
        paragraphs = (
            text for document in read_corpus([corpus() / "train.txt"]) for text in document
        )
        WordPieceTokenizer.train(paragraphs, size).save_pretrained(folder)
    return WordPieceTokenizer.from_pretrained(folder)


def packed(side: str, size: int, length: int) -> np.ndarray:
    """Return one side of the corpus, "train" or "held_out", as full rows of ids (S, T)."""
    path = FOLDER / f"{side}-{size}-{length}.npy"
    if not path.exists():
        pieces = tokenizer(size)
        rows = pack(read_corpus([corpus() / f"{side}.txt"]), pieces, length)
        np.save(path, rows[(rows != pieces.pad_token_id).all(axis=1)])
    return np.load(path)


def labelled(split: str) -> Examples:
    """Return one split of the built-in labelled texts, "train" or "test"."""
    rows = read_records(corpus() / "labelled" / f"{split}.tsv", labelled=True)
    return Examples([row.text for row in rows], None, [row.label for row in rows])
