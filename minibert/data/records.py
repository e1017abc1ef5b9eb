"""Records: a text with its label, parsed from the fields of a table."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minibert.data.columns import check_columns, indicator, join_names
from minibert.data.delimited import Fields

log = logging.getLogger("minibert")

Label = str | list[str]  # a list for several labels per text, or for one tag per word


@dataclass(frozen=True)
class Record:
    """A text or a pair of texts, with its label and its line number.

    For tagged words, the text is a list of words and the label is a list of tags.
    """

    text: str | list[str]
    label: Label | None
    pair: str | None
    line: int


@dataclass
class RecordParser:
    """Parses the fields of one file's records.

    Attributes:
        path: the file.
        text, label, pair: the columns of the text, the label and the second text.
        indicators: columns of 0 and 1, in place of the label.
        labelled (bool): require texts and labels that are not empty.
        may_be_empty (bool): accept empty labels; without `labelled`, refuse those that are not
            text, numbers or lists of these.
        is_detected (bool): the label's column was detected by the header of a table.
        kind: str or list, the type of all texts.
        seen: the labels of 0 and 1 that occurred.
    """

    path: Path
    text: str
    label: str | None
    pair: str | None
    indicators: Sequence[str]
    labelled: bool
    may_be_empty: bool
    is_detected: bool
    kind: type | None = None
    seen: set[str] = field(default_factory=set)

    def parse(self, line: int, fields: Fields) -> Record:
        """Return the record of the fields on a line."""
        where = f"{self.path}, line {line}"
        texts = [self.text, *([self.pair] if self.pair else [])]
        labels = [self.label] if self.label and self.labelled else []
        check_columns(fields, [*texts, *labels, *(self.indicators if self.labelled else [])], where)
        for column in [*texts, *([] if self.may_be_empty else labels)]:
            if self.labelled and (fields[column] is None or fields[column] == ""):
                raise ValueError(f"{where}: the {column!r} of this record is empty")
        text = self.parse_text(fields[self.text], where)
        pair = None
        if self.pair:
            pair = check_text(fields[self.pair] or "", self.pair, where)
        return Record(text, self.parse_label(text, fields, where), pair, line)

    def parse_text(self, value: Any, where: str) -> str | list[str]:
        """Return a text, or a list of words; an empty text for None."""
        if value is None:
            return ""
        words = value if isinstance(value, list) else [value]
        for word in words:
            check_text(word, self.text, where)
        if not (all(words) and (words or not self.labelled)) and isinstance(value, list):
            raise ValueError(f"{where}: expected words that are not empty as {self.text!r}")
        self.kind = self.kind or type(value)
        if not isinstance(value, self.kind):
            raise ValueError(f"{where}: expected {self.text!r} to be a {self.kind.__name__}, as in "
                             f"the first record, found a {type(value).__name__}")  # fmt: skip
        return words if isinstance(value, list) else words[0]

    def parse_label(self, text: str | list[str], fields: Fields, where: str) -> Label | None:
        """Return the label of a text; the tags of words."""
        if self.indicators:
            found = [name for name in self.indicators if self.is_set(fields.get(name), name, where)]
            self.seen.update(found)
            return found
        if self.label is None:
            return None
        value = fields.get(self.label)
        if self.is_detected and self.labelled and value == self.label:
            raise ValueError(
                f"{where}: the label {value!r} is also the column's name; is the header line "
                "repeated or missing? If it is not, use --label"
            )
        if not self.labelled:
            try:
                return parse_label(value, self.label, where)
            except ValueError:
                if self.may_be_empty:
                    raise
                return None  # predictions need no label
        label = parse_label(value, self.label, where)
        if isinstance(text, list):
            tags = value if isinstance(value, list) else [value]
            if not isinstance(label, list) or not len(label) == len(tags) == len(text):
                raise ValueError(
                    f"{where}: expected {len(text)} tags as {self.label!r}, one for each word, "
                    f"found {_shown(value)}"
                )
        return label

    def is_set(self, value: Any, column: str, where: str) -> bool:
        """Return the boolean in a column of 0 and 1; False of other values without `labelled`."""
        found = indicator(value)
        if found is None and self.labelled:
            raise ValueError(f"{where}: expected 0 or 1 as {column!r}, found {_shown(value)}")
        return bool(found)

    def finish(self) -> None:
        """Warn of columns of 0 and 1 without a 1."""
        missing = [column for column in self.indicators if column not in self.seen]
        if missing and self.labelled:
            log.warning("warning: %s: no text has the label %s", self.path,
                        join_names(map(repr, missing)))  # fmt: skip


def check_text(value: Any, column: str, where: str) -> str:
    """Return `value` (str); raise ValueError unless it is a string without surrogates."""
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected a string as {column!r}, found {_shown(value)}")
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


def _shown(value: Any) -> str:
    """Return the start of a value's JSON, for a message."""
    try:
        return json.dumps(value)[:80]
    except RecursionError:
        return f"a {type(value).__name__}"
