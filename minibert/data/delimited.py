r"""Fields of delimited text: TSV, and CSV with any separator.

Blanks around an unquoted field are not part of it. The two dialects differ in quotes:

- TSV: a field is unquoted only if quotes enclose all of it, ``"as ""this"" is"``; any other quote
  is an ordinary character. So TSV files of pandas and spreadsheets are read correctly, and so are
  those of GLUE, which are not quoted. If all names of the header are quoted, the file is read as
  CSV with tabs as separators, so its quoted fields may contain tabs and line ends.
- CSV: a field that starts with a quote ends with the next single one and may span lines
  (RFC 4180, section 2). Python's `csv` module reads at most 131,072 characters a field, with one
  limit for the whole process, and does not tell which fields were quoted.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from minibert.data.columns import join_names
from minibert.io.text import LONGEST_LINE, read_lines

log = logging.getLogger("minibert")

QUOTED = re.compile(r'"((?:[^"]|"")*)"')
INSIDE = re.compile(r'[^"]*+(?:""[^"]*+)*+')  # of quotes
BLANKS = " \t\u00a0\u3000"  # with the spaces of web pages and of Chinese and Japanese texts
LINE_END = re.compile(r"\r\n?|\n")
BREAK = re.compile(r"[\t\r\n]+")
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}

Fields = dict[str, Any]  # the fields of a record: column -> value
Line = tuple[int, list[str]]  # the number of a record's first line, and its fields


def read_delimited(path: Path) -> Iterator[tuple[int, Fields]]:
    """Yield the line number and the fields of each record, named by the header.

    The separator is the one of the file's extension; where the header does not contain it, another
    one that the header contains is used and logged.

    Raises:
        OSError, ValueError: the file cannot be read, or a record is invalid.
    """
    lines = read_lines(path)
    blank = []
    for header in lines:
        if header.strip():
            break
        blank.append(header)
    else:
        return
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    separator = header_separator(header, usual)
    if separator != usual:
        log.info("%s: fields are separated by %s", path, SEPARATORS[separator])
    lines = chain(blank, [header], lines)
    is_tsv = separator == usual == "\t" and not _is_quoted(header)
    records = split_tsv(lines) if is_tsv else split_csv(lines, separator, path)
    yield from name_fields(path, records)


def header_separator(header: str, usual: str) -> str:
    """Return the separator of a header's columns.

    >>> header_separator("text;label", ","), header_separator('"a;b",label', ",")
    (';', ',')
    """
    bare = QUOTED.sub("", header)
    return next((each for each in (usual, *SEPARATORS) if each in bare), usual)


def _is_quoted(header: str) -> bool:
    """Return whether all columns of a TSV file's header are quoted."""
    return all(QUOTED.fullmatch(name.strip(BLANKS)) for name in header.split("\t"))


def split_tsv(lines: Iterable[str]) -> Iterator[Line]:
    """Yield the line number and the fields of each line of a TSV file; [] for a blank line."""
    for number, line in enumerate(lines, start=1):
        fields = [unquote(field.strip(BLANKS)) for field in line.split("\t")]
        yield number, fields if line else []


def split_csv(lines: Iterable[str], separator: str, path: Path) -> Iterator[Line]:
    """Yield the first line's number and the fields of each CSV record; [] for a blank line.

    Raises:
        ValueError: a quote is not closed, or is followed by more than a separator; or a record has
            more than `LONGEST_LINE` characters.
    """
    opening, closing = _quotes(separator)
    fields: list[str] = []
    parts: list[str] = []  # the lines of a quoted field
    is_open, first, length = False, 1, 0
    for number, line in enumerate(lines, start=1):
        if not is_open:
            first, fields, length = number, [], 0
            if '"' not in line:
                yield number, [each.strip(BLANKS) for each in line.split(separator)] if line else []
                continue
        at, length = 0, length + len(line)
        if length > LONGEST_LINE:  # a quote that is never closed would keep the whole file
            raise ValueError(
                f"{path}, line {first}: not a CSV record: expected at most {LONGEST_LINE:,} "
                "characters, got more; is a quote not closed?"
            )
        while at <= len(line):
            found = None if is_open else opening.match(line, at)
            if not is_open and not found:
                end = line.find(separator, at)
                end = len(line) if end < 0 else end
                fields.append(line[at:end].strip(BLANKS))
                at = end + 1
                continue
            inside = INSIDE.match(line, found.end() if found else at)
            assert inside is not None  # because it matches the empty string too
            parts.append(inside[0].replace('""', '"'))
            is_open = inside.end() == len(line)
            if is_open:
                break
            after = closing.match(line, inside.end())
            if after is None:
                got = line[inside.end() + 1 :][:20]
                raise ValueError(
                    f"{path}, line {first}: not a CSV record: expected {separator!r} after a "
                    f"closing quote, found {got!r}"
                )
            fields.append("\n".join(parts))
            parts.clear()
            at = after.end() if after[1] else len(line) + 1
        if not is_open:
            yield first, fields
    if is_open:
        raise ValueError(f"{path}, line {first}: not a CSV record: unexpected end of data")


@cache
def _quotes(separator: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of a field's opening quote, and of its closing quote and separator.

    After blanks, a quote opens a field only if its closing quote ends the field on the same line.
    """
    sep = re.escape(separator)
    closing = rf'"[ ]*({sep}|\Z)'
    return re.compile(rf'"|[ ]+"(?={INSIDE.pattern}{closing})'), re.compile(closing)


def name_fields(path: Path, records: Iterator[Line]) -> Iterator[tuple[int, Fields]]:
    """Yield the line number and the fields of each record, named by the header.

    Blank lines are skipped; in a table with one column, each is a record with an empty field.
    """
    columns: list[str] = []
    for line, values in records:
        where = f"{path}, line {line}"
        if len(columns) == 1 and not values:
            values = [""]
        if not values or not (columns or any(values)):
            continue
        if not columns:
            columns = values
            if len(set(columns)) < len(columns):
                raise ValueError(f"{where}: a column is named twice: {join_names(columns)}")
        elif len(values) != len(columns):
            raise ValueError(
                f"{where}: expected {len(columns)} columns ({join_names(columns)}), "
                f"found {len(values)}"
            )
        else:
            yield line, dict(zip(columns, values, strict=True))


def unquote(field: str) -> str:
    """Remove the quotes of a field that is quoted as a whole.

    >>> unquote('"a ""b"" c"'), unquote('"a" or "b"'), unquote("plain")
    ('a "b" c', '"a" or "b"', 'plain')
    """
    quoted = QUOTED.fullmatch(field)
    return quoted[1].replace('""', '"') if quoted else field


def quote(field: str, *, always: bool = False) -> str:
    r"""Return a text as a field of tab-separated values (str).

    A tab or a line end, which is written as ``\n``, is quoted; `split_csv` reads it back. A NUL,
    which no text file contains, becomes a blank.

    >>> quote("a\tb"), quote("a\r\nb"), quote('say "so"'), quote(" a")
    ('"a\tb"', '"a\nb"', 'say "so"', '" a"')
    >>> quote('"so').count('"')  # one at each end, and a doubled one
    4

    Args:
        field: the text.
        always: quote every text.
    """
    field = LINE_END.sub("\n", field.replace("\0", " "))
    needs_quotes = field.startswith('"') or field != field.strip(BLANKS) or is_broken(field)
    return '"' + field.replace('"', '""') + '"' if always or needs_quotes else field


def is_broken(field: str) -> bool:
    """Return whether a text contains a tab or a line end."""
    return "\t" in field or LINE_END.search(field) is not None


def tsv_lines(header: Sequence[str], records: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a TSV file that `read_delimited` and pandas read back.

    The names of the header are quoted if a field contains a tab or a line end, which tells
    `read_delimited` how the file is read; tabs and line ends in the names themselves become blanks.

    Raises:
        ValueError: a record has another number of fields than the header.
    """
    rows = list(records)
    for number, fields in enumerate(rows, start=1):
        if len(fields) != len(header):
            raise ValueError(
                f"record {number}: expected {len(header)} fields "
                f"({', '.join(header)}), found {len(fields)}"
            )
    names = [BREAK.sub(" ", name) for name in header]
    always = any(is_broken(field) for fields in rows for field in fields)
    yield "\t".join(quote(name, always=always) for name in names) + "\n"
    for fields in rows:
        yield "\t".join(map(quote, fields)) + "\n"
