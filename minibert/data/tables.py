r"""Labelled records from TSV, CSV and JSON Lines files with named columns; TSV output.

The format depends on the file's extension:

- ``.tsv``: a header, then one record per line, tab separated. A field is unquoted only if quotes
  enclose all of it, ``"as ""this"" is"``; any other quote is an ordinary character. So TSV files of
  pandas and spreadsheets are read correctly, and so are those of GLUE, which are not quoted.
- ``.csv``: a header, then records as the `csv` module reads them; a quoted field may span lines.
- ``.jsonl`` or ``.json``: one object per line, whose keys are the columns.
- ``.conll``, ``.bio`` or ``.iob``: one word per line, its tag in the last column; see `data.conll`.

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

from minibert.data.columns import check_columns, guess_columns, join_names
from minibert.data.conll import CONLL, read_conll
from minibert.io.atomic import atomic_write
from minibert.io.json import parse_json
from minibert.io.text import read_lines

Fields = dict[str, Any]  # the fields of a record: column -> value
Label = str | list[str]  # a list for several labels per text, or for one tag per word

QUOTED = re.compile(r'"((?:[^"]|"")*)"')
BREAK = re.compile(r"[\t\r\n\0]+")  # not allowed in a TSV field


@dataclass(frozen=True)
class Record:
    """A text or a pair of texts, with its label and its line number.

    For tagged words, the text is a list of words and the label is a list of tags.
    """

    text: str | list[str]
    label: Label | None
    pair: str | None
    line: int


def read_records(
    path: str | os.PathLike[str],
    text: str | None = None,
    label: str | None = None,
    pair: str | None = None,
    *,
    labelled: bool = False,
) -> list[Record]:
    """Return the records of a file; see `stream_records`.

    Raises:
        OSError, ValueError: as `stream_records`.
    """
    return list(stream_records(path, text, label, pair, labelled=labelled))


def stream_records(
    path: str | os.PathLike[str],
    text: str | None = None,
    label: str | None = None,
    pair: str | None = None,
    *,
    labelled: bool = False,
) -> Iterator[Record]:
    """Yield the records of a file, one at a time.

    Columns that are not named are detected by their usual names, and the result is logged.

    Args:
        path: the file.
        text: column of the text.
        label: column of the label; it may be missing or empty unless `labelled`.
        pair: column of the second text, for tasks on pairs.
        labelled (bool): require a label in every record.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: the file is empty, not text or of an unknown format, a record is invalid, or a
            column does not exist.
    """
    path = Path(path)
    extension = path.suffix.lower()
    if extension in CONLL:
        if text or label or pair:
            raise ValueError(f"{path}: a file of words and tags has no columns to name")
        for line, words, tags in read_conll(path, tagged=labelled):
            yield Record(words, tags, None, line)
        return
    readers = {".tsv": read_tsv, ".csv": read_csv, ".jsonl": read_json, ".json": read_json}
    if extension not in readers:
        names = ", ".join([*readers, *CONLL])
        raise ValueError(f"{path}: expected a name that ends in {names}")
    needed: list[str] = []
    line = 0
    for line, fields in readers[extension](path):
        where = f"{path}, line {line}"
        if text is None or not needed:
            text, label, pair = guess_columns(path, list(fields), text, label, pair, labelled)
            needed = [text, *([pair] if pair else []), *([label] if label and labelled else [])]
        check_columns(fields, needed, where)
        for column in needed:
            if fields[column] is None or fields[column] == "":
                raise ValueError(f"{where}: the {column!r} of this record is empty")
        for column in filter(None, (text, pair)):
            check_text(fields[column], column, where)
        yield Record(
            text=fields[text],
            label=parse_label(fields.get(label), label, where) if label else None,
            pair=fields[pair] if pair else None,
            line=line,
        )
    if not line:
        raise ValueError(f"{path}: there are no records in this file")


def check_text(value: Any, column: str, where: str) -> str:
    """Return `value` (str); raise ValueError unless it is a string without surrogates."""
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
    return value


def parse_label(value: Any, column: str, where: str) -> Label | None:
    """Return a label as text, or None for an empty one.

    A JSON label may be a string, a number, a boolean or a list of these. A list remains a list,
    without its empty elements.
    """
    if value is None or value == "":
        return None
    if isinstance(value, list):
        for element in value:
            if isinstance(element, list):
                raise ValueError(
                    f"{where}: expected a string as {column!r}, found a list in a list"
                )
        labels = [parse_label(element, column, where) for element in value]
        return [label for label in labels if isinstance(label, str)]
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return check_text(value, column, where)


def read_tsv(path: Path) -> Iterator[tuple[int, Fields]]:
    """Yield the line number and the fields of each record of a tab-separated file."""
    records = (
        (number, [unquote(field) for field in line.split("\t")])
        for number, line in enumerate(read_lines(path), start=1)
    )
    return name_fields(path, records)


def read_csv(path: Path) -> Iterator[tuple[int, Fields]]:
    """Yield the first line's number and the fields of each CSV record."""
    reader = csv.reader((f"{line}\n" for line in read_lines(path)), strict=True)

    def records() -> Iterator[tuple[int, list[str]]]:
        number = 1
        try:
            for values in reader:
                yield number, values
                number = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(f"{path}, line {number}: not a CSV record: {error}") from None

    return name_fields(path, records())


def read_json(path: Path) -> Iterator[tuple[int, Fields]]:
    """Yield the line number and the object of each line of a JSON Lines file."""
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            fields = parse_json(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not a JSON object: {error}") from None
        if not isinstance(fields, dict):
            raise ValueError(
                f"{path}, line {number}: expected one JSON object per line, "
                f"found a {type(fields).__name__}"
            )
        yield number, fields


def name_fields(
    path: Path, records: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, Fields]]:
    """Yield the line number and the fields of each record, named by the header."""
    columns: list[str] = []
    for line, values in records:
        if values in ([], [""]):
            continue
        if not columns:
            columns = values
            if len(set(columns)) < len(columns):
                raise ValueError(
                    f"{path}, line {line}: a column is named twice: {join_names(columns)}"
                )
        elif len(values) != len(columns):
            raise ValueError(
                f"{path}, line {line}: expected {len(columns)} columns "
                f"({join_names(columns)}), found {len(values)}"
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


def write_tsv(
    path: str | os.PathLike[str], header: Sequence[str], records: Iterable[Sequence[str]]
) -> None:
    """Write a TSV file that `read_records` and pandas read back unchanged.

    Tabs and line ends inside a field become spaces, because a TSV field cannot contain them. A
    field that starts with a quote is quoted.
    """
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        for number, fields in enumerate([header, *records]):
            if len(fields) != len(header):
                raise ValueError(
                    f"record {number}: expected {len(header)} fields "
                    f"({', '.join(header)}), found {len(fields)}"
                )
            file.write("\t".join(map(quote, fields)) + "\n")


def quote(field: str) -> str:
    r"""Return a text as a TSV field (str).

    >>> quote("two\nlines"), quote('say "so"')
    ('two lines', 'say "so"')
    >>> quote('"so').count('"')  # one at each end, and a doubled one
    4
    """
    field = BREAK.sub(" ", field)
    return '"' + field.replace('"', '""') + '"' if field.startswith('"') else field
