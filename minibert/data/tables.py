r"""Labelled rows from TSV, CSV and JSON Lines files with named columns, and TSV back.

How a file is read depends on its extension:

- ``.tsv``: a header, then one row per line, tab separated. A field is unquoted only when it is
  quoted whole, ``"as ""this"" is"``; any other quote is an ordinary character. So both what pandas
  and spreadsheets write and what GLUE ships without any quoting read as meant.
- ``.csv``: a header, then rows as the `csv` module reads them; a quoted field may span lines.
- ``.jsonl`` or ``.json``: one object per line, whose keys are the columns.
- ``.conll``, ``.bio`` or ``.iob``: a word per line, its tag in the last column; see `data.conll`.

Blank lines are skipped. Every error names the file and the line.
"""

import csv
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.data.conll import CONLL, read_conll
from minibert.files import parse_json, read_lines, replacing, shown

log = logging.getLogger("minibert")

Fields = dict[str, Any]  # one row: column -> value
Label = str | list[str]  # several, where a text may have several labels or each word has a tag

QUOTED = re.compile(r'"((?:[^"]|"")*)"')
BREAK = re.compile(r"[\t\r\n\0]+")  # what a TSV field can't hold

# What columns are called by those who don't say it; the first one that is there is meant.
TEXTS = [
    "text",
    "sentence",
    "sentence1",
    "sentence_1",
    "text1",
    "text_a",
    "premise",
    "question1",
    "question",
    "review",
    "content",
    "message",
    "comment",
    "body",
    "utterance",
    "query",
    "tweet",
    "document",
    "description",
    "title",
]
LABELS = [
    "label",
    "labels",
    "class",
    "category",
    "target",
    "intent",
    "sentiment",
    "score",
    "rating",
    "topic",
    "tag",
    "tags",
    "type",
    "gold",
    "answer",
    "y",
]
SECOND = {
    "sentence1": "sentence2", "sentence_1": "sentence_2", "text1": "text2", "text_a": "text_b",
    "premise": "hypothesis", "question1": "question2", "question": "sentence",
}  # fmt: skip


@dataclass(frozen=True)
class Record:
    """One row of a table: a text or a pair of texts, its label if it has one, and its line.

    Where words are tagged, the text is a list of words and the label one of tags.
    """

    text: str | list[str]
    label: Label | None
    pair: str | None
    line: int


def read_records(
    path: str | os.PathLike,
    text: str | None = None,
    label: str | None = None,
    pair: str | None = None,
    *,
    labelled: bool = False,
) -> list[Record]:
    """Read the rows of a file; see `stream_records`.

    Raises:
        OSError, ValueError: as `stream_records`.
    """
    return list(stream_records(path, text, label, pair, labelled=labelled))


def stream_records(
    path: str | os.PathLike,
    text: str | None = None,
    label: str | None = None,
    pair: str | None = None,
    *,
    labelled: bool = False,
) -> Iterator[Record]:
    """Yield the rows of a file, one at a time.

    Columns that aren't named are guessed from what they are called, and the guess is logged.

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
    kind = path.suffix.lower()
    if kind in CONLL:
        if text or label or pair:
            raise ValueError(f"{path}: a file of words and tags has no columns to name")
        for line, words, tags in read_conll(path, tagged=labelled):
            yield Record(words, tags, None, line)
        return
    readers = {".tsv": read_tsv, ".csv": read_csv, ".jsonl": read_json, ".json": read_json}
    if kind not in readers:
        names = ", ".join([*readers, *CONLL])
        raise ValueError(f"{path}: expected a name that ends in {names}")
    needed: list[str] = []
    line = 0
    for line, fields in readers[kind](path):
        where = f"{path}, line {line}"
        if text is None or not needed:
            text, label, pair = guess_columns(path, list(fields), text, label, pair, labelled)
            needed = [text, *([pair] if pair else []), *([label] if label and labelled else [])]
        check_columns(fields, needed, where)
        for column in needed:
            if fields[column] is None or fields[column] == "":
                raise ValueError(f"{where}: the {column!r} of this row is empty")
        for column in filter(None, (text, pair)):
            check_text(fields[column], column, where)
        yield Record(
            text=fields[text],
            label=label_text(fields.get(label), label, where) if label else None,
            pair=fields[pair] if pair else None,
            line=line,
        )
    if not line:
        raise ValueError(f"{path}: there are no rows in this file")


def guess_columns(
    path: Path,
    columns: list[str],
    text: str | None,
    label: str | None,
    pair: str | None,
    labelled: bool,
) -> tuple[str, str | None, str | None]:
    """Find the columns of text, label and second text among those that there are, and say so.

    Raises:
        ValueError: a column that was named isn't there, or one that is needed can't be guessed.
    """
    check_columns(columns, [name for name in (text, label, pair) if name], str(path))
    given = text, label, pair
    lower = {column.lower(): column for column in columns if column not in given}

    def first_of(names):
        return next((lower[name] for name in names if name in lower), None)

    label = label or first_of(LABELS)
    lower = {name: column for name, column in lower.items() if column != label}
    if text is None:
        text = first_of(TEXTS) or (next(iter(lower.values())) if len(lower) == 1 else None)
        if text is not None and pair is None:
            pair = lower.get(SECOND.get(text.lower(), ""))
    rest = [column for column in columns if column not in (text, label, pair)]
    if labelled and label is None and len(rest) == 1:
        (label,) = rest
    for name, found, option in (("text", text, True), ("label", label, labelled)):
        if found is None and option:
            raise ValueError(
                f"{path}: which column is the {name}? There are: {listed(columns)}; "
                f"name it with --{name}"
            )
    assert text is not None
    usual = text == "text" and label in ("label", None) and pair is None
    if (text, label, pair) != given and not usual:
        found = (("text", text), ("second text", pair), ("label", label))
        said = ", ".join(f"{name} from {column!r}" for name, column in found if column)
        log.info("%s: %s", path, said)
    return text, label, pair


def listed(columns: Iterable[str]) -> str:
    """Return columns' names as a message lists them."""
    return shown(", ".join(columns))


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
            raise ValueError(f"{where}: no column {column!r}; there are: {listed(columns)}")


def label_text(value: Any, column: str, where: str) -> Label | None:
    """Return a label as text: JSON may give a string, a number, a truth value, or a list of them.

    A list stays one, without what is empty in it.
    """
    if value is None or value == "":
        return None
    if isinstance(value, list):
        for each in value:
            if isinstance(each, list):
                raise ValueError(
                    f"{where}: expected a string as {column!r}, found a list in a list"
                )
        texts = [label_text(each, column, where) for each in value]
        return [text for text in texts if isinstance(text, str)]
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    check_text(value, column, where)
    return value


def read_tsv(path: Path) -> Iterator[tuple[int, Fields]]:
    """Yield the line number and the fields of each row of a tab-separated file."""
    rows = (
        (line, [unquote(field) for field in row.split("\t")])
        for line, row in enumerate(read_lines(path), start=1)
    )
    return with_header(path, rows)


def read_csv(path: Path) -> Iterator[tuple[int, Fields]]:
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

    return with_header(path, rows())


def read_json(path: Path) -> Iterator[tuple[int, Fields]]:
    """Yield the line number and the object of each line of a JSON Lines file."""
    for line, row in enumerate(read_lines(path), start=1):
        if not row.strip():
            continue
        try:
            fields = parse_json(row)
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: not a JSON object: {error}") from None
        if not isinstance(fields, dict):
            raise ValueError(
                f"{path}, line {line}: expected one JSON object per line, "
                f"found a {type(fields).__name__}"
            )
        yield line, fields


def with_header(path: Path, rows: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, Fields]]:
    """Name the fields of each row by the first row."""
    columns: list[str] = []
    for line, row in rows:
        if row in ([], [""]):
            continue
        if not columns:
            columns = row
            if len(set(columns)) < len(columns):
                raise ValueError(f"{path}, line {line}: a column is named twice: {listed(columns)}")
        elif len(row) != len(columns):
            raise ValueError(
                f"{path}, line {line}: expected {len(columns)} columns "
                f"({listed(columns)}), found {len(row)}"
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


def write_tsv(
    path: str | os.PathLike, header: Sequence[str], rows: Iterable[Sequence[str]]
) -> None:
    """Write a TSV file that `read_records` and pandas read back alike.

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
