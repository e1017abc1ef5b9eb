"""Read texts that belong together: pairs, triplets and scored pairs, from TSV, CSV and JSON Lines.

The columns decide the kind:

- two texts: a pair, such as a question and its answer, or a sentence and its paraphrase;
- three texts: an anchor, a text that belongs to it, and one that does not;
- two texts and a number: a pair and how similar its texts are, from 0 to 1 or from 0 to 5.

A table may have a header; see `data.pair_columns`.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from minibert.data.columns import check_columns, join_names
from minibert.data.delimited import Line, header_separator, split_csv, split_tsv
from minibert.data.pair_columns import choose_columns, is_header, number_of
from minibert.data.records import check_text
from minibert.data.tables import json_objects
from minibert.io.text import read_lines, read_stdin, sanitize

log = logging.getLogger("minibert")

PairKind = Literal["pairs", "triplets", "scored pairs"]
STDIN = Path("-")
READ = (".tsv", ".csv", ".jsonl", ".json")
SCALES = (1, 5)  # the highest score of a file; 5 is that of the STS benchmarks


@dataclass(frozen=True)
class TextPairs:
    """The rows of a file, or of several.

    Attributes:
        path: the file.
        kind: pairs, triplets or scored pairs.
        rows: S rows of two texts, or of three.
        scores: S numbers as in the file; None without them.
    """

    path: Path
    kind: PairKind
    rows: list[list[str]]
    scores: list[float] | None

    def __len__(self) -> int:
        """Return S."""
        return len(self.rows)


class _Table(NamedTuple):
    """The values of a file's records, in the order of its columns.

    Attributes:
        names: of the columns; without a header: 1, 2, 3.
        records: the line of each record and its values.
        is_named: whether the file names its columns.
    """

    names: list[str]
    records: list[tuple[int, list[Any]]]
    is_named: bool


def read_pairs(path: Path, columns: Sequence[str] = ()) -> TextPairs:
    """Read the pairs, triplets or scored pairs of a file, and log what was detected.

    Args:
        path: a TSV, CSV or JSON Lines file; `-`: standard input, with tabs or with JSON objects.
        columns: names of two columns of texts, and of a third with texts or scores; empty:
            detected.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has no records, its columns fit no kind, or a record is invalid; the message
            names the line.
    """
    table = _read_table(path, columns)
    if not table.records:
        raise ValueError(f"{path}: there are no records in this file")
    values = [record for _, record in table.records]
    texts, score = choose_columns(path, table.names, values, columns)
    rows, scores = [], []
    for line, record in table.records:
        where = f"{path}, line {line}"
        rows.append(_texts_of([record[i] for i in texts], where, has_score=score is not None))
        if score is not None:
            scores.append(_score_of(record[score], where))
    kind: PairKind = "scored pairs" if scores else ("pairs" if len(texts) == 2 else "triplets")
    log.info("%s: %s %s; %s", path, f"{len(rows):,}", kind, _describe(table, texts, score))
    equal = sum(row[0] == row[1] for row in rows)  # with scores only
    if equal:
        log.warning("warning: %s: the two texts of %s pairs are equal, so their cosine is always 1",
                    path, f"{equal:,}")  # fmt: skip
    return TextPairs(path, kind, rows, scores or None)


def join_pairs(files: Sequence[TextPairs]) -> TextPairs:
    """Return the rows of files of the same kind together.

    >>> one, other = (TextPairs(Path(n), "pairs", [[n, "b"]], None) for n in ("a.tsv", "c.tsv"))
    >>> join_pairs([one, other]).rows
    [['a.tsv', 'b'], ['c.tsv', 'b']]

    Raises:
        ValueError: the files are of different kinds.
    """
    first = files[0]
    for other in files[1:]:
        if other.kind != first.kind:
            raise ValueError(
                f"{other.path}: expected {first.kind}, as in {first.path}, got {other.kind}"
            )
    rows = [row for file in files for row in file.rows]
    scores = [score for file in files for score in file.scores or ()]
    return replace(first, rows=rows, scores=scores or None)


def scale_of(scores: Sequence[float]) -> int:
    """Return the highest score of the scale that scores are on (int): 1, or 5.

    >>> scale_of([0.0, 1.0]), scale_of([0.0, 1.2])
    (1, 5)
    """
    return next(scale for scale in SCALES if max(scores) <= scale)


def _read_table(path: Path, columns: Sequence[str]) -> _Table:
    """Read all records of a file, or of standard input."""
    if path == STDIN:
        extension = ""
        lines = read_stdin()
    else:
        extension = Path(path.stem if path.suffix == ".gz" else path.name).suffix.lower()
        if extension not in READ:
            raise ValueError(f"{path}: expected a name that ends in {', '.join(READ)}")
        lines = read_lines(path)
    blank = []
    for first in lines:
        if first.strip():
            break
        blank.append(first)
    else:
        return _Table([], [], False)
    lines = chain(blank, [first], lines)
    if extension in (".jsonl", ".json") or (not extension and first.lstrip().startswith("{")):
        return _object_table(path, lines)
    usual = "," if extension == ".csv" else "\t"
    # Without a header, the first line is a text, and a comma in it need not be a separator.
    separator = header_separator(first, usual) if extension == ".csv" else usual
    is_tsv = separator == usual == "\t"
    records = split_tsv(lines) if is_tsv else split_csv(lines, separator, path)
    return _delimited_table(path, [record for record in records if any(record[1])], columns)


def _object_table(path: Path, lines: Iterator[str]) -> _Table:
    """Return the objects of JSON Lines as a table, whose columns are the keys of the first one."""
    objects = list(json_objects(path, lines))
    names = list(objects[0][1]) if objects else []
    for line, fields in objects:
        check_columns(fields, names, f"{path}, line {line}")
    return _Table(names, [(line, [of[name] for name in names]) for line, of in objects], True)


def _delimited_table(path: Path, records: list[Line], columns: Sequence[str]) -> _Table:
    """Detect a header, and check that each record has as many fields as the first one."""
    if not records:
        return _Table([], [], False)
    first, names = records[0]
    for line, values in records:
        if len(values) != len(names):
            raise ValueError(
                f"{path}, line {line}: expected {len(names)} columns, as in line {first}, got "
                f"{len(values)}"
            )
    if not columns and not is_header(names, [values for _, values in records[1:]]):
        return _Table([str(i + 1) for i in range(len(names))], list(records), False)
    if len({*names}) < len(names):
        raise ValueError(f"{path}, line {first}: a column is named twice: {join_names(names)}")
    return _Table(names, list(records[1:]), True)


def _texts_of(values: Sequence[Any], where: str, *, has_score: bool) -> list[str]:
    """Return the texts of a record; raise ValueError for an empty one, or two that are equal."""
    row = []
    for number, value in enumerate(values, start=1):
        text = check_text(value, f"text {number}", where)
        if not text.strip():
            raise ValueError(f"{where}: text {number} of this record is empty")
        row.append(text)
    if not has_score and len({*row}) < len(row):
        twice = next(text for text in row if row.count(text) > 1)
        raise ValueError(f"{where}: expected different texts, got {_shown(twice)} twice")
    return row


def _score_of(value: Any, where: str) -> float:
    number = number_of(value)
    if number is None or not math.isfinite(number):
        raise ValueError(f"{where}: expected a number as the score, got {_shown(value)}")
    if not 0 <= number <= SCALES[-1]:
        raise ValueError(
            f"{where}: expected a score from 0 to 1, or from 0 to 5, got {_shown(value)}"
        )
    return number


def _describe(table: _Table, texts: Sequence[int], score: int | None) -> str:
    """Return how the columns were read, for the log."""
    if not table.is_named:
        return "no header" if score in (None, 2) else f"no header, scores in column {score + 1}"
    roles = ("anchor", "positive", "negative")
    parts = [f"{role} from {table.names[i]!r}" for role, i in zip(roles, texts, strict=False)]
    if score is not None:
        parts.append(f"score from {table.names[score]!r}")
    return sanitize(", ".join(parts))


def _shown(value: Any) -> str:
    return sanitize(repr(value))[:80]
