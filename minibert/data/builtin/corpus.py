"""The built-in corpus and the built-in labelled set: the installed documentation, split.

Documentation repeats itself, and training text must not occur in the test set. So documents that
share ten consecutive words are joined into components, and a component is never divided between
splits.
"""

import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import regex

from minibert.data.builtin.docstrings import Document, read_documents
from minibert.data.builtin.prose import is_prose
from minibert.data.tables import write_tsv
from minibert.io.atomic import atomic_dir

SHINGLE = 10  # consecutive words; documents that share a run of this length are near-duplicates
HELD_OUT = 10  # per cent of the components that are not giant
GIANT = 25  # documents; a larger component is always in the training set
PARAGRAPHS = 3  # first paragraphs of a document, joined to a labelled text

WORD = regex.compile(r"[^\W\d_]+|\d+")

ALIASES = {"numpy": ("np",), "tkinter": ("tk",)}  # other names that reveal the module


@dataclass(frozen=True)
class Corpus:
    """Training documents and held-out documents, each a list of paragraphs."""

    train: list[list[str]]
    held_out: list[list[str]]


def builtin_corpus(documents: Sequence[Document]) -> Corpus:
    """Split documents for pre-training; the sides share no ten consecutive words."""
    sides: dict[bool, list[list[str]]] = {False: [], True: []}
    for document, draw in zip(documents, draws(documents), strict=True):
        sides[draw < HELD_OUT].append(list(document.paragraphs))
    return Corpus(train=sides[False], held_out=sides[True])


def builtin_labelled(
    documents: Sequence[Document], *, classes: int = 12, cap: int = 400, floor: int = 60
) -> dict[str, list[tuple[str, str]]]:
    """Make a classification task: predict the module that a text documents.

    The text consists of a document's first paragraphs without the name of its module. Test texts
    are taken only from the held-out documents of `builtin_corpus`, so a model pre-trained on the
    training documents has never seen them. No two splits share ten consecutive words.

    Args:
        documents: documents from `read_documents`.
        classes (int): maximum number of modules; those with most texts are chosen.
        cap (int): maximum number of texts per module, chosen by a hash.
        floor (int): minimum number of texts per module.

    Returns:
        lists of (label, text) by split: "train", "dev" and "test".

    Raises:
        ValueError: fewer than two modules have `floor` texts.
    """
    draw_of: dict[str, dict[str, int]] = defaultdict(dict)  # label -> text -> draw
    seen: set[str] = set()
    for document, draw in zip(documents, draws(documents), strict=True):
        text = anonymous(document)
        if is_prose(text) and text.lower() not in seen:
            seen.add(text.lower())
            draw_of[document.module][text] = draw
    counts = Counter({label: len(texts) for label, texts in draw_of.items()})
    chosen = [label for label, count in counts.most_common(classes) if count >= floor]
    if len(chosen) < 2:
        raise ValueError(
            f"expected at least two modules with {floor} texts or more; most are: "
            + ", ".join(f"{label} {count}" for label, count in counts.most_common(3))
        )
    splits: dict[str, list[tuple[str, str]]] = {"train": [], "dev": [], "test": []}
    for label in sorted(chosen):
        for text in sorted(draw_of[label], key=stable_hash)[:cap]:
            draw = draw_of[label][text]
            split = "test" if draw < HELD_OUT else "dev" if draw < 2 * HELD_OUT else "train"
            splits[split].append((label, text))
    return splits


def write_builtin(
    folder: str | os.PathLike[str],
    documents: Sequence[Document] | None = None,
    *,
    progress: bool = False,
) -> tuple[Corpus, dict[str, list[tuple[str, str]]]]:
    """Write the corpus and the labelled set as text files; return both.

    ``train.txt`` and ``held_out.txt`` contain a paragraph per line and a blank line between
    documents. ``labelled/{train,dev,test}.tsv`` have the columns label and text.

    Args:
        folder (str or path): new folder.
        documents: documents to split; None: those of `read_documents`.
        progress (bool): show a progress bar on stderr while they are read.

    Raises:
        FileExistsError: `folder` exists and is not an empty folder.
        ValueError: Python and NumPy are installed without their source files.
    """
    with atomic_dir(folder) as temporary:
        if documents is None:
            documents = read_documents(progress=progress)
        corpus, labelled = builtin_corpus(documents), builtin_labelled(documents)
        for name, side in (("train", corpus.train), ("held_out", corpus.held_out)):
            text = "\n\n".join("\n".join(paragraphs) for paragraphs in side)
            (temporary / f"{name}.txt").write_text(text + "\n", encoding="utf-8", newline="\n")
        for name, pairs in labelled.items():
            write_tsv(temporary / "labelled" / f"{name}.tsv", ("label", "text"), pairs)
    return corpus, labelled


def draws(documents: Sequence[Document]) -> list[int]:
    """Return a draw (0 to 99) per document, equal within a component; 99 for giants."""
    components = near_duplicates(
        [" ".join(document.paragraphs), anonymous(document)] for document in documents
    )
    sizes = Counter(components)
    return [
        99 if sizes[first] > GIANT else stable_hash(documents[first].paragraphs[0]) % 100
        for first in components
    ]


def near_duplicates(documents: Iterable[Sequence[str]]) -> list[int]:
    """Return the index of the first document of each document's component (list of int).

    Documents that share a shingle are in one component, and so are documents that are connected by
    a chain of such pairs (union-find).

    Args:
        documents: the texts of each document.
    """
    parents: list[int] = []  # a component's first document is its own parent
    owners: dict[str, int] = {}  # shingle -> first document that contains it

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
    """Return all runs of `SHINGLE` words in a text, with case, digits and punctuation folded.

    A shorter text is a single run.
    """
    words = ["0" if word.isdigit() else word for word in WORD.findall(text.lower())]
    starts = range(max(1, len(words) - SHINGLE + 1))
    return {" ".join(words[start : start + SHINGLE]) for start in starts}


def anonymous(document: Document) -> str:
    """Return the first paragraphs of a document as text, without the name of its module.

    >>> anonymous(Document("os", "os.f", ("See os.walk and OS.name, or macos.", "Use os!")))
    'See walk and name, or macos. Use !'
    """
    names = "|".join(map(regex.escape, (document.module, *ALIASES.get(document.module, ()))))
    own_name = rf"(?<!\w)_*(?:py)?(?:{names})(?!\w)(?:\.(?=\w))?"
    text = " ".join(document.paragraphs[:PARAGRAPHS])
    return " ".join(regex.sub(own_name, "", text, flags=regex.IGNORECASE).split())


def stable_hash(text: str) -> int:
    """Return a hash (int) of a text that is equal in all processes, unlike `hash`."""
    return zlib.crc32(text.encode())
