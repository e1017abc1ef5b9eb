r"""Labelled rows from TSV, CSV and JSON Lines files with named columns, and TSV back.

How a file is read depends on its extension:

- ``.tsv``: a header, then one row per line, tab separated. A field is unquoted only when it is
  quoted whole, ``"as ""this"" is"``; any other quote is an ordinary character. So both what pandas
  and spreadsheets write and what GLUE ships without any quoting read as meant.
- ``.csv``: a header, then rows as the `csv` module reads them; a quoted field may span lines.
- ``.jsonl`` or ``.json``: one object per line, whose keys are the columns.

Blank lines are skipped. Every error names the file and the line.
"""

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.files import read_lines, replacing

Fields = dict[str, Any]  # one row: column -> value

QUOTED = re.compile(r'"((?:[^"]|"")*)"')
BREAK = re.compile(r"[\t\r\n\0]+")  # what a TSV field can't hold


@dataclass(frozen=True)
class Row:
    """One row of a table: a text or a pair of texts, its label if it has one, and its line."""

    text: str
    label: str | None
    pair: str | None
    line: int


def read_rows(
    path: str | os.PathLike,
    text: str = "text",
    label: str = "label",
    pair: str | None = None,
    *,
    labelled: bool = False,
) -> list[Row]:
    """Read the rows of a `.tsv`, `.csv`, `.jsonl` or `.json` file.

    Args:
        path: the file.
        text: the column of the text.
        label: the column of the label; it may be missing or empty unless `labelled`.
        pair: the column of the second text, for tasks on pairs.
        labelled: whether every row must have a label.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is empty, not text, of an unknown kind, or has a bad row or no such column.
    """
    path = Path(path)
    readers = {".tsv": read_tsv, ".csv": read_csv, ".jsonl": read_json, ".json": read_json}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(readers)}")
    texts = [text, *([pair] if pair else [])]
    needed = [*texts, *([label] if labelled else [])]
    rows = []
    for line, fields in reader(path, needed):
        where = f"{path}, line {line}"
        for column in needed:
            if fields[column] is None or fields[column] == "":
                raise ValueError(f"{where}: the {column!r} of this row is empty")
        for column in texts:
            check_text(fields[column], column, where)
        rows.append(
            Row(
                text=fields[text],
                label=label_text(fields.get(label), label, where),
                pair=fields[pair] if pair else None,
                line=line,
            )
        )
    if not rows:
        raise ValueError(f"{path}: there are no rows in this file")
    return rows


def check_text(value: Any, column: str, where: str) -> None:
    """Raise ValueError unless `value` is a string that can be written as UTF-8."""
    if not isinstance(value, str):
        raise ValueError(
            f"{where}: expected a string as {column!r}, found {json.dumps(value)[:80]}"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where}: half a surrogate pair, \\u{ord(value[error.start]):04x}, in {column!r}"
        ) from None


def check_columns(columns: Iterable[str], needed: Sequence[str], where: str) -> None:
    """Raise ValueError unless all columns that are needed are there."""
    columns = list(columns)
    for column in needed:
        if column not in columns:
            raise ValueError(f"{where}: no column {column!r}; there are: {', '.join(columns)}")


def label_text(value: Any, column: str, where: str) -> str | None:
    """Return a label as text: JSON may give it as a string, a number or a truth value."""
    if value is None or value == "":
        return None
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    check_text(value, column, where)
    return value


def read_tsv(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, Fields]]:
    """Yield the line number and the fields of each row of a tab-separated file."""
    rows = (
        (line, [unquote(field) for field in row.split("\t")])
        for line, row in enumerate(read_lines(path), start=1)
    )
    return with_header(path, rows, needed)


def read_csv(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, Fields]]:
    """Yield the number of the first line and the fields of each row of a CSV file."""
    reader = csv.reader((f"{row}\n" for row in read_lines(path)), strict=True)

    def rows() -> Iterator[tuple[int, list[str]]]:
        line = 1
        try:
            for row in reader:
                yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(f"{path}, line {line}: not a CSV row: {error}") from None

    return with_header(path, rows(), needed)


def read_json(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, Fields]]:
    """Yield the line number and the object of each line of a JSON Lines file."""
    for line, row in enumerate(read_lines(path), start=1):
        if not row.strip():
            continue
        try:
            fields = json.loads(row)
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: not a JSON object: {error}") from None
        if not isinstance(fields, dict):
            raise ValueError(
                f"{path}, line {line}: expected one JSON object per line, "
                f"found a {type(fields).__name__}"
            )
        check_columns(fields, needed, f"{path}, line {line}")
        yield line, fields


def with_header(
    path: Path, rows: Iterator[tuple[int, list[str]]], needed: Sequence[str]
) -> Iterator[tuple[int, Fields]]:
    """Name the fields of each row by the first row."""
    columns: list[str] = []
    for line, row in rows:
        if row in ([], [""]):
            continue
        if not columns:
            columns = row
            if len(set(columns)) < len(columns):
                raise ValueError(
                    f"{path}, line {line}: a column is named twice: {', '.join(columns)}"
                )
            check_columns(columns, needed, f"{path}, line {line}")
        elif len(row) != len(columns):
            raise ValueError(
                f"{path}, line {line}: expected {len(columns)} columns "
                f"({', '.join(columns)}), found {len(row)}"
            )
        else:
            yield line, dict(zip(columns, row, strict=True))


def unquote(field: str) -> str:
    """Undo the quotes of a field that is quoted whole.

    >>> unquote('"a ""b"" c"'), unquote('"a" or "b"'), unquote("plain")
    ('a "b" c', '"a" or "b"', 'plain')
    """
    quoted = QUOTED.fullmatch(field)
    return quoted[1].replace('""', '"') if quoted else field


def write_rows(
    path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Write a TSV file that `read_rows` and pandas read back alike.

    Tabs and line ends inside a field become spaces, since a TSV field can't hold them, and a field
    that starts with a quote is quoted.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for number, row in enumerate([header, *rows]):
            if len(row) != len(header):
                raise ValueError(
                    f"row {number}: expected {len(header)} fields "
                    f"({', '.join(header)}), found {len(row)}"
                )
            file.write("\t".join(map(quote, row)) + "\n")


def quote(field: str) -> str:
    r"""Make a TSV field of a text.

    >>> quote("two\nlines"), quote('say "so"')
    ('two lines', 'say "so"')
    >>> quote('"so').count('"')  # one at either end, and one doubled
    4
    """
    field = BREAK.sub(" ", field)
    return '"' + field.replace('"', '""') + '"' if field.startswith('"') else field
