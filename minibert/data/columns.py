"""Detect the columns of a table: text, second text, and one or several columns of labels."""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minibert.io.text import sanitize

log = logging.getLogger("minibert")

# Usual column names, in order of preference.
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
    "words",
    "tokens",
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
    "ner_tags",
]
# The column of the second text, by the column of the first.
SECOND = {
    "sentence1": "sentence2", "sentence_1": "sentence_2", "text1": "text2", "text_a": "text_b",
    "premise": "hypothesis", "question1": "question2", "question": "sentence",
}  # fmt: skip
NAME = re.compile(r"[^\W\d]\S*")  # of a column that is detected because no other one remains
INDICATORS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


def guess_columns(
    path: Path,
    columns: list[str],
    text: str | None,
    label: str | None,
    pair: str | None,
    labelled: bool,
    indicators: Sequence[str] = (),
) -> tuple[str, str | None, str | None]:
    """Return the columns of text, label and second text.

    The result is logged, unless the columns are named or are `text` and `label`.

    Args:
        path: the file, for messages.
        columns: names of the table's columns.
        text: column of the text; None to detect it.
        label: column of the label; None to detect it.
        pair: column of the second text; None to detect it.
        labelled (bool): require a label column.
        indicators: columns of 0 and 1, one for each label; the label's column is then None.

    Raises:
        ValueError: a named column does not exist, or a required column is not detected.
    """
    check_columns(columns, [*filter(None, (text, label, pair)), *indicators], str(path))
    given = text, label, pair
    lower = {column.lower(): column for column in columns if column not in (*given, *indicators)}

    def first_of(names: Sequence[str]) -> str | None:
        return next((lower[name] for name in names if name in lower), None)

    def only(names: Sequence[str]) -> str | None:
        return names[0] if len(names) == 1 and NAME.fullmatch(names[0]) else None

    label = label or (None if indicators else first_of(LABELS))
    lower = {name: column for name, column in lower.items() if column != label}
    if text is None:
        text = first_of(TEXTS) or only(list(lower.values()))
        if text is not None and pair is None:
            pair = lower.get(SECOND.get(text.lower(), ""))
    needs_label = labelled and not indicators
    if needs_label and label is None:
        label = only([column for column in columns if column not in (text, pair)])
    for name, found, is_required in (("text", text, True), ("label", label, needs_label)):
        if found is None and is_required:
            has_header = not str(path).lower().endswith((".jsonl", ".json"))
            raise ValueError(
                f"{path}: which column is the {name}? There are: {join_names(columns)}; "
                f"name it with --{name}"
                f"{', or add the header line if it is missing' if has_header else ''}"
            )
    assert text is not None
    is_usual = text == "text" and label in ("label", None) and pair is None
    if indicators or ((text, label, pair) != given and not is_usual):
        labels = join_names(map(repr, indicators))
        roles = (("text", text), ("second text", pair), ("label", label))
        found_in = [f"{name} from {column!r}" for name, column in roles if column]
        found_in += [f"labels from the columns of 0 and 1 {labels}"] * bool(labels)
        log.info("%s: %s", path, ", ".join(found_in))
    return text, label, pair


def has_usual_label(columns: Iterable[str]) -> bool:
    """Whether a column has a usual name of a label."""
    return any(column.lower() in LABELS for column in columns)


def indicator_columns(records: Iterable[tuple[int, dict[str, Any]]]) -> list[str]:
    """Return the columns that contain 0 and 1 alone in all records; none if there is only one."""
    found: list[str] | None = None
    for _, fields in records:
        found = [
            column
            for column in (fields if found is None else found)
            if indicator(fields.get(column)) is not None
        ]
        if len(found) < 2:
            return []
    return found or []


def indicator(value: Any) -> bool | None:
    """Return the boolean that a field of 0 or 1 contains; None for any other field.

    >>> indicator("1"), indicator(0.0), indicator("False"), indicator("2")
    (True, False, False, None)
    """
    return INDICATORS.get(str(value).lower()) if isinstance(value, str | int | float) else None


def check_columns(columns: Iterable[str], needed: Sequence[str], where: str) -> None:
    """Raise ValueError unless all needed columns exist."""
    columns = list(columns)
    for column in needed:
        if column not in columns:
            raise ValueError(f"{where}: no column {column!r}; there are: {join_names(columns)}")


def join_names(columns: Iterable[str]) -> str:
    """Return column names for a message, safe to print to a terminal."""
    return sanitize(", ".join(columns))
