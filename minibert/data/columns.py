"""Detect the columns of a table: text, label and second text."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

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
# The column of the second text, by the column of the first.
SECOND = {
    "sentence1": "sentence2", "sentence_1": "sentence_2", "text1": "text2", "text_a": "text_b",
    "premise": "hypothesis", "question1": "question2", "question": "sentence",
}  # fmt: skip


def guess_columns(
    path: Path,
    columns: list[str],
    text: str | None,
    label: str | None,
    pair: str | None,
    labelled: bool,
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

    Raises:
        ValueError: a named column does not exist, or a required column is not detected.
    """
    check_columns(columns, [name for name in (text, label, pair) if name], str(path))
    given = text, label, pair
    lower = {column.lower(): column for column in columns if column not in given}

    def first_of(names: Sequence[str]) -> str | None:
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
    for name, found, is_required in (("text", text, True), ("label", label, labelled)):
        if found is None and is_required:
            raise ValueError(
                f"{path}: which column is the {name}? There are: {join_names(columns)}; "
                f"name it with --{name}"
            )
    assert text is not None
    is_usual = text == "text" and label in ("label", None) and pair is None
    if (text, label, pair) != given and not is_usual:
        roles = (("text", text), ("second text", pair), ("label", label))
        message = ", ".join(f"{name} from {column!r}" for name, column in roles if column)
        log.info("%s: %s", path, message)
    return text, label, pair


def check_columns(columns: Iterable[str], needed: Sequence[str], where: str) -> None:
    """Raise ValueError unless all needed columns exist."""
    columns = list(columns)
    for column in needed:
        if column not in columns:
            raise ValueError(f"{where}: no column {column!r}; there are: {join_names(columns)}")


def join_names(columns: Iterable[str]) -> str:
    """Return column names for a message, safe to print to a terminal."""
    return sanitize(", ".join(columns))
