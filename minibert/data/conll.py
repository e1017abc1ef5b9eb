"""Tagged words from CoNLL files: a word per line, a blank line between texts."""

import os
from collections.abc import Iterator

from minibert.files import read_lines

CONLL = (".conll", ".bio", ".iob")
DOCUMENT = "-DOCSTART-"


def read_conll(
    path: str | os.PathLike, *, tagged: bool = True
) -> Iterator[tuple[int, list[str], list[str] | None]]:
    """Yield the number of the first line, the words and the tags of each text.

    Columns are separated by a tab or by blanks; the first is the word and the last its tag. Lines
    of `-DOCSTART-` are skipped (Tjong Kim Sang and De Meulder, 2003).

    Args:
        path: the file.
        tagged: whether words must have a tag; without, the file may have words alone.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is empty, not text, or a line has another number of columns than the first;
            the message names the line.
    """
    words: list[str] = []
    tags: list[str] = []
    width, first, line = 0, 0, 0

    def text():
        return first, list(words), list(tags) if width > 1 else None

    for line, row in enumerate(read_lines(path), start=1):
        columns = row.split("\t") if "\t" in row else row.split()
        if not row.strip() or columns[0] == DOCUMENT:
            if words:
                yield text()
                words.clear()
                tags.clear()
            continue
        width = width or len(columns)
        if len(columns) != width or (tagged and width < 2) or not all(map(str.strip, columns)):
            expected = f"{width} columns" if width > 1 else "a word and its tag"
            raise ValueError(f"{path}, line {line}: expected {expected}, found {row[:80]!r}")
        if not words:
            first = line
        words.append(columns[0].strip())
        tags.append(columns[-1].strip())
    if words:
        yield text()
    if not width:
        raise ValueError(f"{path}: there are no words in this file")
