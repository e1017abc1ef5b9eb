"""Tagged words from CoNLL files: one word per line, a blank line between texts."""

import logging
import os
from collections.abc import Iterator
from functools import cached_property

from minibert.io.text import read_lines

log = logging.getLogger("minibert")

CONLL = (".conll", ".bio", ".iob")  # file extensions
DOCUMENT = "-DOCSTART-"
COMMENT = "#"
MOST_WORDS = 1 << 20  # of a text; more need memory, and the file lacks its blank lines


def read_conll(
    path: str | os.PathLike[str], *, tagged: bool = True
) -> Iterator[tuple[int, list[str], list[str] | None]]:
    """Yield the line number, the words and the tags of each text.

    Columns are separated by tabs or spaces; the first is the word and the last is its tag. Other
    blanks are part of a word. Lines of `-DOCSTART-` (Tjong Kim Sang and De Meulder, 2003) and
    comments before a text's first word are skipped. The line number is that of the first word.

    Args:
        path: the file.
        tagged (bool): require a tag for each word; otherwise the file may contain words alone.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: the file is empty or not text, the number of columns changes, or a text has more
            than `MOST_WORDS` words; the message names the line.
    """
    words: list[str] = []
    tags: list[str] = []
    width, first, comments = 0, 0, 0
    shape = _Shape(path)

    for number, line in enumerate(read_lines(path), start=1):
        columns = _split(line)
        if not line.strip() or columns[0] == DOCUMENT:
            if words:
                yield first, [*words], [*tags] if width > 1 else None
                words.clear()
                tags.clear()
            continue
        if line.startswith(COMMENT) and shape.is_comment(columns):
            if not words:
                comments += 1
                continue
            if comments:
                raise ValueError(
                    f"{path}, line {number}: expected a word, found the comment {line[:80]!r}; "
                    "comments precede a text, after a blank line"
                )
        width = width or len(columns)
        if len(columns) != width or (tagged and width < 2) or not all(columns):
            expected = f"{width} columns" if width > 1 else "a word and its tag"
            raise ValueError(f"{path}, line {number}: expected {expected}, found {line[:80]!r}")
        if not words:
            first = number
        words.append(columns[0])
        tags.append(columns[-1])
        if len(words) > MOST_WORDS:
            raise ValueError(
                f"{path}, line {first}: expected a blank line after at most {MOST_WORDS:,} words"
            )
    if words:
        yield first, words, tags if width > 1 else None
    if not width:
        raise ValueError(f"{path}: there are no words in this file")
    if comments:
        log.info("%s: %s comment lines were skipped", path, f"{comments:,}")


class _Shape:
    """The number of columns and the tags of a file, in the lines that do not start with #.

    A word may start with # too, `#` or `#topic`. So a line is a comment unless it has as many
    columns as others, and a tag that others have. The file is read for this at the first #.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = path

    @cached_property
    def columns(self) -> tuple[int, set[str]]:
        """The number of columns (int) and the different tags."""
        width, tags = 0, set()
        for line in read_lines(self.path):
            columns = _split(line)
            if line.strip() and not line.startswith(COMMENT) and columns[0] != DOCUMENT:
                width = width or len(columns)
                tags.add(columns[-1])
        return width, tags

    def is_comment(self, columns: list[str]) -> bool:
        """Whether the columns of a line that starts with # are a comment."""
        width, tags = self.columns
        return len(columns) != width or (width > 1 and columns[-1] not in tags)


def _split(line: str) -> list[str]:
    r"""Return the columns of a line, which tabs or spaces separate.

    >>> _split("New York\tB-LOC"), _split("10\u00a0km  O ")
    (['New York', 'B-LOC'], ['10\xa0km', 'O'])
    """
    if "\t" in line:
        return [column.strip(" ") for column in line.split("\t")]
    return [column for column in line.split(" ") if column] or [""]
