r"""Labelled records from TSV, CSV and JSON Lines files with named columns; TSV output.

The format depends on the file's extension:

- ``.tsv`` or ``.csv``: a header, then one record per line; see `data.delimited`. A quoted field of
  a CSV file may span lines.
- ``.jsonl`` or ``.json``: one object per line, whose keys are the columns. A list of words as text
  has a list of tags as label.
- ``.conll``, ``.bio`` or ``.iob``: one word per line, its tag in the last column; see `data.conll`.
- ``.txt``: one text per line, without labels.

Blank lines are skipped, except in files with one text on each line, where they are empty texts.
Every error names the file and the line.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, tee
from pathlib import Path

from minibert.data.columns import guess_columns, has_usual_label, indicator_columns
from minibert.data.conll import CONLL, read_conll
from minibert.data.delimited import Fields, read_delimited, tsv_lines
from minibert.data.records import Record, RecordParser, check_text
from minibert.io.json import parse_json
from minibert.io.outputs import output_file
from minibert.io.text import read_lines

log = logging.getLogger("minibert")

LINES = ".txt"  # extension of files with one text on each line


def read_records(
    path: str | os.PathLike[str],
    text: str | None = None,
    label: str | Sequence[str] | None = None,
    pair: str | None = None,
    *,
    labelled: bool = False,
    may_be_empty: bool = False,
    indicators: bool = False,
) -> list[Record]:
    """Return the records of a file; see `stream_records`.

    Raises:
        OSError, ValueError: as `stream_records`.
    """
    options = {"labelled": labelled, "may_be_empty": may_be_empty, "indicators": indicators}
    return list(stream_records(path, text, label, pair, **options))


def stream_records(
    path: str | os.PathLike[str],
    text: str | None = None,
    label: str | Sequence[str] | None = None,
    pair: str | None = None,
    *,
    labelled: bool = False,
    may_be_empty: bool = False,
    indicators: bool = False,
) -> Iterator[Record]:
    """Yield the records of a file, one at a time.

    Columns that are not named are detected by their usual names, and the result is logged. Without
    `labelled`, texts may be empty.

    Args:
        path: the file.
        text: column of the text.
        label: column of the label; it may be missing or empty unless `labelled`. Or several
            columns of 0 and 1; the label is then the list of the columns with 1.
        pair: column of the second text, for tasks on pairs.
        labelled (bool): require a label in every record.
        may_be_empty (bool): the label of a record may be None nevertheless. Without `labelled` too,
            a label of another type is then an error; otherwise it is None.
        indicators (bool): several columns of 0 and 1 are labels, as they are with `labelled`; all
            records are read before the first one is yielded.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: the file is empty, not text or of an unknown format, a record is invalid, or a
            column does not exist.
    """
    path = Path(path)
    extension = path.suffix.lower()
    if extension in CONLL or (extension == LINES and not labelled):
        if text or label or pair:
            raise ValueError(f"{path}: a file of words or of lines has no columns to name")
        yield from _stream_lines(path) if extension == LINES else _stream_words(path, labelled)
        return
    readers = {
        ".tsv": read_delimited, ".csv": read_delimited, ".jsonl": read_json, ".json": read_json
    }  # fmt: skip
    if extension not in readers:
        names = ", ".join([*readers, *CONLL, *([] if labelled else [LINES])])
        raise ValueError(f"{path}: expected a name that ends in {names}")
    records = readers[extension](path)
    first = next(records, None)
    if first is None:
        raise ValueError(f"{path}: there are no records in this file")
    line, fields = first
    labels = [label] if isinstance(label, str) else list(label or ())
    if (labelled or indicators) and not labels and not has_usual_label(fields):
        records, ahead = tee(records)
        labels = indicator_columns(chain([first], ahead))
        del ahead  # or `tee` would keep the whole file
    several = labels if len(labels) > 1 else []
    one = labels[0] if len(labels) == 1 else None
    found = guess_columns(path, list(fields), text, one, pair, labelled, several)
    for name in several:
        check_text(name, "the name of a label", f"{path}, line {line}")
    is_detected = label is None and extension in (".tsv", ".csv")
    parser = RecordParser(path, *found, several, labelled, may_be_empty, is_detected)
    for line, fields in chain([first], records):
        yield parser.parse(line, fields)
    parser.finish()


def _stream_words(path: Path, labelled: bool) -> Iterator[Record]:
    """Yield the texts of a CoNLL file."""
    for line, words, tags in read_conll(path, tagged=labelled):
        yield Record(words, tags, None, line)


def _stream_lines(path: Path) -> Iterator[Record]:
    """Yield the lines of a text file."""
    log.info("%s: one text on each line", path)
    for number, line in enumerate(read_lines(path), start=1):
        yield Record(line, None, None, number)


def read_json(path: Path) -> Iterator[tuple[int, Fields]]:
    """Yield the line number and the object of each line of a JSON Lines file."""
    return json_objects(path, read_lines(path))


def json_objects(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, Fields]]:
    """Yield the number and the object of each line; blank lines are skipped.

    Raises:
        ValueError: a line is not a JSON object; the message names the file and the line.
    """
    for number, line in enumerate(lines, start=1):
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


def write_tsv(
    path: str | os.PathLike[str], header: Sequence[str], records: Iterable[Sequence[str]]
) -> None:
    r"""Write a TSV file that `read_records` and pandas read back unchanged; see `tsv_lines`.

    Line ends inside a field become ``\n``.

    Raises:
        OSError: the file can't be written.
        ValueError: a record has another number of fields than the header.
    """
    with (
        output_file(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.writelines(tsv_lines(header, records))
