"""Rows of tables in memory: frames, dicts of columns, structured arrays, lists of dicts.

Iterating over a frame or a dict yields the names of its columns, not its rows. `rows_of` returns
the rows of any list, array or table with one column, and refuses the rest.
"""

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from minibert.io.text import sanitize


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
