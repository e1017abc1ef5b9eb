"""Rows of tables in memory: frames, dicts of columns, structured arrays, lists of dicts.

Iterating over a frame or a dict yields the names of its columns, not its rows. `rows_of` returns
the rows of any list, array or table with one column, and refuses the rest.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from minibert.io.text import sanitize

BLOCK_CHARACTERS = 1 << 21  # of the texts that are in memory at a time, and one more text

Row = TypeVar("Row")


def take_block(
    rows: Iterator[Row], most: int, text_of: Callable[[Row], str] = lambda row: str(row)
) -> list[Row]:
    """Return the next rows, fewer of them if their texts are long; none at the end.

    >>> rows = iter(["a", "b", "c"])
    >>> take_block(rows, 2), take_block(rows, 2), take_block(rows, 2)
    (['a', 'b'], ['c'], [])

    Args:
        rows: an iterator.
        most: the largest number of rows.
        text_of: returns the text of a row.
    """
    block: list[Row] = []
    length = 0
    for row in islice(rows, most):
        block.append(row)
        length += len(text_of(row))
        if length >= BLOCK_CHARACTERS:
            break
    return block


def rows_of(table: Any, name: str) -> list[Any]:
    """Return the rows of a list, an array or a table with one column.

    >>> rows_of(["a", "b"], "X"), rows_of({"text": ["a", "b"]}, "X"), rows_of([{"text": "a"}], "X")
    (['a', 'b'], ['a', 'b'], ['a'])

    Args:
        table: an ordered iterable of S rows; a frame (pandas, polars, `datasets`), a dict of
            columns, a structured array or S dicts, with one column.
        name: the name of the argument, for messages.

    Raises:
        TypeError: the table has several columns or no order, or is not iterable.
    """
    is_ordered = hasattr(table, "__iter__") and not isinstance(table, str | bytes | Set)
    if not is_ordered or getattr(table, "ndim", 1) == 0:
        raise TypeError(f"{name}: expected a list of rows, got {table!r:.80}")
    columns = column_names(table)
    if columns is not None:
        return rows_of(table[_only(columns, name)], name)
    rows = list(table)
    if not rows or not isinstance(rows[0], Mapping):
        return rows
    column = _only(list(rows[0]), name)
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping) or list(row) != [column]:
            raise TypeError(f"{name}[{i}]: expected a dict of {column!r} alone, got {row!r:.80}")
    return [row[column] for row in rows]


def texts_of(table: Any, name: str) -> list[Any]:
    """Return the rows of a table, with each row of an array (S, 1) replaced by its cell.

    Args:
        table, name: as in `rows_of`.

    Raises:
        TypeError: as `rows_of`.
    """
    rows = rows_of(table, name)
    return [row[0] if isinstance(row, np.ndarray) and row.shape == (1,) else row for row in rows]


def texts_and_pairs(X: Iterable[Any]) -> tuple[list[str], list[str] | None]:
    """Return texts and second texts (lists of str); None where X has no pairs.

    >>> texts_and_pairs(["one", "two"]), texts_and_pairs([("one", "more")])
    ((['one', 'two'], None), (['one'], ['more']))

    Args:
        X: S strings; or S tuples, lists or rows of two strings; or a table with one column, such as
            a frame, a dict or an array (S, 1).

    Raises:
        TypeError: an item of X is neither, or a table has several columns.
        ValueError: X is empty, or a text is empty.
    """
    if isinstance(X, str) or not hasattr(X, "__iter__"):
        raise TypeError(f"X: expected a list of texts, got {X!r:.80}")
    texts: list[str] = []
    pairs: list[str] = []
    for i, row in enumerate(texts_of(X, "X")):
        single = isinstance(row, str)
        has_parts = hasattr(row, "__iter__") and not isinstance(row, str | Mapping | Set)
        parts = list(row) if has_parts else [row]
        if not all(isinstance(part, str) for part in parts) or len(parts) != (1 if single else 2):
            raise TypeError(f"X[{i}]: expected a string, or a pair of strings, got {row!r:.80}")
        if not all(part.strip() for part in parts):
            raise ValueError(f"X[{i}]: the text is empty")
        texts.append(str(parts[0]))
        pairs += map(str, parts[1:])
    if not texts:
        raise ValueError("X: expected at least one text, got 0 sample(s)")
    if pairs and len(pairs) != len(texts):
        raise TypeError("X: expected pairs of strings everywhere, or nowhere")
    return texts, pairs or None


def column_names(table: Any) -> list[Any] | None:
    """Return the names of a table's columns; None for a list or an array without names."""
    if isinstance(table, Mapping):
        return list(table)
    fields = getattr(getattr(table, "dtype", None), "names", None)
    for names in (fields, getattr(table, "columns", None), getattr(table, "column_names", None)):
        if names is not None and not callable(names):
            return list(names)
    return None


def _only(columns: list[Any], name: str) -> Any:
    """Return the only column of a table."""
    if len(columns) != 1:
        names = sanitize(", ".join(map(str, columns)))
        got = f"the columns {names}" if columns else "no column"
        raise TypeError(
            f"{name}: expected a list, or a table with one column, got {got:.200}; "
            f"select a column, {name}['text'] for example"
        )
    return columns[0]
