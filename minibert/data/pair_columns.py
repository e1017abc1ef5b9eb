"""Detect the columns of a table of pairs: a header, two or three texts, and a score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minibert.data.columns import NAME, check_columns, join_names

# Usual column names, by the role of the text, in order of preference.
ANCHORS = [
    "anchor", "query", "question", "sentence1", "sentence_1", "text1", "text_1", "text_a",
    "sentence_a", "premise", "question1", "first", "source", "sentence", "text", "title",
]  # fmt: skip
POSITIVES = [
    "positive", "pos", "answer", "sentence2", "sentence_2", "text2", "text_2", "text_b",
    "sentence_b", "hypothesis", "question2", "second", "paraphrase", "target", "document",
    "passage", "response",
]  # fmt: skip
NEGATIVES = ["negative", "neg", "hard_negative", "sentence3", "text3", "third"]
SCORES = ["score", "similarity", "similarity_score", "relatedness_score", "label", "rating", "gold"]
USUAL = {*ANCHORS, *POSITIVES, *NEGATIVES, *SCORES}


def is_header(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row of a table names its columns (bool).

    It does if all of its fields are usual names; if a field that is not a number is above a column
    of numbers; or if all of its fields are single words and most texts below are not.

    >>> is_header(["anchor", "positive"], []), is_header(["en", "fr"], [["a cat", "un chat"]])
    (True, True)
    >>> is_header(["a cat", "a kitten"], [["one", "two"]]), is_header(["up", "down"], [["a", "b"]])
    (False, False)

    Args:
        first: the fields of the first row.
        others: the fields of the other rows, as many in each.
    """
    if {name.lower() for name in first} <= USUAL:
        return True
    columns = list(zip(*others, strict=True))
    has_numbers = [is_score(column) for column in columns]
    if any(numbers and number_of(first[i]) is None for i, numbers in enumerate(has_numbers)):
        return True
    texts = [
        field
        for column, numbers in zip(columns, has_numbers, strict=True)
        for field in column
        if not numbers
    ]
    several = sum(len(text.split()) > 1 for text in texts)
    return all(map(NAME.fullmatch, first)) and several > len(texts) / 2


def choose_columns(
    path: Path, names: Sequence[str], records: Sequence[Sequence[Any]], columns: Sequence[str]
) -> tuple[list[int], int | None]:
    """Return the indices of the columns of texts, two or three, and that of the score, or None.

    Args:
        path: the file, for messages.
        names: of all columns.
        records: the values of each row.
        columns: names of the columns to read; empty: their usual names, or all columns.

    Raises:
        ValueError: a named column does not exist, or the columns fit no kind of pairs.
    """
    check_columns(names, columns, str(path))
    chosen = [names.index(name) for name in columns]
    chosen = chosen or _usual_columns(names) or list(range(len(names)))
    score = None
    if len(chosen) == 3:
        # A column called "score" is one, whatever it contains; so is one of numbers.
        found = [i for i in chosen if names[i].lower() in SCORES]
        found += [i for i in chosen if is_score([record[i] for record in records])]
        score = next(iter(found), None)
    texts = [i for i in chosen if i != score]
    if len(texts) not in (2, 3):
        hint = "; name those to read with --columns" if len(names) > 3 else ""
        raise ValueError(
            f"{path}: expected 2 texts, 3 texts, or 2 texts and a score in each record, got "
            f"{len(names)} columns ({join_names(names)}){hint}"
        )
    return texts, score


def _usual_columns(names: Sequence[str]) -> list[int]:
    """Return the indices of an anchor, a positive and a negative or a score, by their names.

    >>> _usual_columns(["id", "sentence1", "sentence2", "score"]), _usual_columns(["en", "fr"])
    ([1, 2, 3], [])
    """
    lower = [name.lower() for name in names]

    def found(*usual: str) -> list[int]:
        return [lower.index(name) for name in usual if name in lower][:1]

    anchor, positive = found(*ANCHORS), found(*POSITIVES)
    if not anchor or not positive:
        return []
    return [*anchor, *positive, *found(*NEGATIVES, *SCORES)]


def is_score(column: Sequence[Any]) -> bool:
    """Return whether most values of a column are numbers (bool)."""
    return sum(number_of(value) is not None for value in column) > len(column) / 2


def number_of(value: Any) -> float | None:
    """Return a number, or a text that is one, as a float; None for any other value.

    >>> number_of("0.5"), number_of(3), number_of("three"), number_of(True)
    (0.5, 3.0, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
