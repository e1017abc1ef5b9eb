"""Tagged words from CoNLL files: one word per line, a blank line between texts."""

import os
from collections.abc import Iterator

from minibert.io.text import read_lines

CONLL = (".conll", ".bio", ".iob")  # file extensions
DOCUMENT = "-DOCSTART-"


def read_conll(
    path: str | os.PathLike[str], *, tagged: bool = True
) -> Iterator[tuple[int, list[str], list[str] | None]]:
    """Yield the line number, the words and the tags of each text.

    Columns are separated by tabs or spaces; the first is the word and the last is its tag. Lines of
    `-DOCSTART-` are skipped (Tjong Kim Sang and De Meulder, 2003). The line number is that of the
    text's first word.

    Args:
        path: the file.
        tagged (bool): require a tag for each word; otherwise the file may contain words alone.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: the file is empty or not text, or the number of columns changes; the message
            names the line.
    """
    words: list[str] = []
    tags: list[str] = []
    width, first = 0, 0

    def text() -> tuple[int, list[str], list[str] | None]:
        return first, list(words), list(tags) if width > 1 else None

    for number, line in enumerate(read_lines(path), start=1):
        columns = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or columns[0] == DOCUMENT:
            if words:
                yield text()
                words.clear()
                tags.clear()
            continue
        width = width or len(columns)
        if len(columns) != width or (tagged and width < 2) or not all(map(str.strip, columns)):
            expected = f"{width} columns" if width > 1 else "a word and its tag"
            raise ValueError(f"{path}, line {number}: expected {expected}, found {line[:80]!r}")
        if not words:
            first = number
        words.append(columns[0].strip())
        tags.append(columns[-1].strip())
    if words:
        yield text()
    if not width:
        raise ValueError(f"{path}: there are no words in this file")
