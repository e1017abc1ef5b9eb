"""The built-in corpus and the built-in labelled set: the installed documentation, split.

Documentation repeats itself, and text that is trained on must not come back in the test. Documents
that have ten words in a row in common are therefore joined into components, and a component stays
on one side whole.
"""

import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import regex

from minibert.data.builtin.docstrings import Document, read_documents
from minibert.data.builtin.prose import is_prose
from minibert.data.tables import write_rows
from minibert.files import creating

SHINGLE = 10  # words in a row that make two documents near-duplicates
HELD_OUT = 10  # per cent of the small components
GIANT = 25  # documents: a larger component is always trained on
PARAGRAPHS = 3  # of a document make a labelled text

WORD = regex.compile(r"[^\W\d_]+|\d+")

ALIASES = {"numpy": ("np",), "tkinter": ("tk",)}  # names that give a module away like its own


@dataclass(frozen=True)
class Corpus:
    """Documents to train on and documents held out, each a list of paragraphs."""

    train: list[list[str]]
    held_out: list[list[str]]


def builtin_corpus(documents: Sequence[Document]) -> Corpus:
    """Split `documents` for pre-training; no ten words in a row are on both sides."""
    sides: dict[bool, list[list[str]]] = {False: [], True: []}
    for document, draw in zip(documents, draws(documents), strict=True):
        sides[draw < HELD_OUT].append(list(document.paragraphs))
    return Corpus(train=sides[False], held_out=sides[True])


def builtin_labelled(
    documents: Sequence[Document], *, classes: int = 12, cap: int = 400, floor: int = 60
) -> dict[str, list[tuple[str, str]]]:
    """Make a classification task of `documents`: which module does this text document?

    The text is a document's first paragraphs without the name of its module. Test texts come from
    the held-out documents of `builtin_corpus` alone, so a model pre-trained on the others has never
    seen them; no ten words in a row are in two of the splits.

    Args:
        documents: as `read_documents` gives them.
        classes: how many modules at most: those with most texts.
        cap: how many texts of one module at most, chosen by a hash.
        floor: how many texts a module needs to be a class.

    Returns:
        (label, text) rows by split: "train", "dev" and "test".

    Raises:
        ValueError: fewer than two modules reach the floor.
    """
    rows: dict[str, dict[str, int]] = defaultdict(dict)  # label -> text -> draw
    seen: set[str] = set()
    for document, draw in zip(documents, draws(documents), strict=True):
        text = anonymous(document)
        if is_prose(text) and text.lower() not in seen:
            seen.add(text.lower())
            rows[document.module][text] = draw
    counts = Counter({label: len(texts) for label, texts in rows.items()})
    chosen = [label for label, count in counts.most_common(classes) if count >= floor]
    if len(chosen) < 2:
        raise ValueError(
            f"expected at least two modules with {floor} texts or more; most are: "
            + ", ".join(f"{label} {count}" for label, count in counts.most_common(3))
        )
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "dev": [], "test": []}
    for label in sorted(chosen):
        for text in sorted(rows[label], key=stable_hash)[:cap]:
            draw = rows[label][text]
            split = "test" if draw < HELD_OUT else "dev" if draw < 2 * HELD_OUT else "train"
            splits[split].append((label, text))
    return splits


def write_builtin(
    folder: str | os.PathLike, *, progress: bool = False
) -> tuple[Corpus, dict[str, list[tuple[str, str]]]]:
    """Write the corpus and the labelled set as text files, and return them.

    ``train.txt`` and ``held_out.txt`` have a paragraph per line and a blank line between
    documents; ``labelled/{train,dev,test}.tsv`` have the columns label and text.

    Raises:
        FileExistsError: `folder` exists already, and isn't an empty folder.
        ValueError: Python and NumPy are installed without their source files.
    """
    with creating(folder) as temporary:
        documents = read_documents(progress=progress)
        corpus, labelled = builtin_corpus(documents), builtin_labelled(documents)
        for name, side in (("train", corpus.train), ("held_out", corpus.held_out)):
            text = "\n\n".join("\n".join(paragraphs) for paragraphs in side)
            (temporary / f"{name}.txt").write_text(text + "\n", encoding="utf-8", newline="\n")
        for name, rows in labelled.items():
            write_rows(temporary / "labelled" / f"{name}.tsv", ("label", "text"), rows)
    return corpus, labelled


def draws(documents: Sequence[Document]) -> list[int]:
    """Draw a number from 0 to 99 for each document, the same within a component; 99 for a giant."""
    components = near_duplicates(
        [" ".join(document.paragraphs), anonymous(document)] for document in documents
    )
    sizes = Counter(components)
    return [
        99 if sizes[first] > GIANT else stable_hash(documents[first].paragraphs[0]) % 100
        for first in components
    ]


def near_duplicates(documents: Iterable[Sequence[str]]) -> list[int]:
    """Return, for each document (some texts), the index of the first document of its component.

    Documents that share a shingle are joined, by union-find; so are those that a chain of such
    documents joins.
    """
    parents: list[int] = []  # a document's parent; a component's first document is its own
    owners: dict[str, int] = {}  # shingle -> the first document that has it

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]  # halve the path for the next search
            index = parents[index]
        return index

    for index, texts in enumerate(documents):
        parents.append(index)
        for text in texts:
            for shingle in shingles(text):
                one, other = root(owners.setdefault(shingle, index)), root(index)
                parents[max(one, other)] = min(one, other)
    return [root(index) for index in range(len(parents))]


def shingles(text: str) -> set[str]:
    """Return all runs of `SHINGLE` words in `text`, with case, digits and punctuation folded.

    A shorter text is a run of its own.
    """
    words = ["0" if word.isdigit() else word for word in WORD.findall(text.lower())]
    starts = range(max(1, len(words) - SHINGLE + 1))
    return {" ".join(words[start : start + SHINGLE]) for start in starts}


def anonymous(document: Document) -> str:
    """Join the first paragraphs of `document`, without the name of its module.

    >>> anonymous(Document("os", "os.f", ("See os.walk and OS.name, or macos.", "Use os!")))
    'See walk and name, or macos. Use !'
    """
    names = "|".join(map(regex.escape, (document.module, *ALIASES.get(document.module, ()))))
    own_name = rf"(?<!\w)_*(?:py)?(?:{names})(?!\w)(?:\.(?=\w))?"
    text = " ".join(document.paragraphs[:PARAGRAPHS])
    return " ".join(regex.sub(own_name, "", text, flags=regex.IGNORECASE).split())


def stable_hash(text: str) -> int:
    """Hash `text` alike in every process, which `hash` doesn't."""
    return zlib.crc32(text.encode())
