"""Small pieces of HTML for notebooks: tables and curves, escaped, without scripts.

Every piece is well-formed XML, too, and its bytes depend on nothing but the arguments.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from minibert.io.text import sanitize

MAX_ROWS = 50  # of a table; the others are counted
WIDTH, HEIGHT, MARGIN = 160, 36, 2  # of a curve, in pixels


class Markup(str):
    """HTML that is not escaped again."""


def escaped(value: Any) -> Markup:
    """Return a value as escaped text; control characters are replaced.

    >>> escaped("a < b & c")
    'a &lt; b &amp; c'
    """
    return value if isinstance(value, Markup) else Markup(escape(sanitize(str(value))))


def table(header: Sequence[Any], rows: Sequence[Iterable[Any]]) -> Markup:
    """Return a table; rows beyond `MAX_ROWS` are left out and counted below it.

    Args:
        header: the names of the columns.
        rows: the cells; numbers are rounded to four digits.
    """
    lines = [_row("th", header), *(_row("td", cells) for cells in rows[:MAX_ROWS])]
    more = len(rows) - MAX_ROWS
    note = f"<p>and {more:,} more</p>" if more > 0 else ""
    return Markup(f"<table>{''.join(lines)}</table>{note}")


def _row(tag: str, cells: Iterable[Any]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escaped(_short(cell))}</{tag}>' for cell in cells)}</tr>"


def _short(cell: Any) -> Any:
    return f"{cell:.4g}" if isinstance(cell, float) else cell


def bar(share: float) -> Markup:
    """Return a bar for a share from 0 to 1, with the share in percent."""
    width = 60 * min(max(share, 0.0), 1.0)
    return Markup(
        '<span style="display:inline-block;height:0.7em;background:#4477aa;'
        f'width:{width:.1f}px"></span> {share:.1%}'
    )


def shaded(part: str, share: float) -> Markup:
    """Return a text on a background: blue for a share up to 1, red for one down to -1."""
    colour = "68,119,170" if share > 0 else "238,102,119"
    alpha = min(abs(share), 1.0)
    return Markup(f'<span style="background:rgba({colour},{alpha:.2f})">{escaped(part)}</span>')


def curve(name: str, values: Sequence[float]) -> Markup:
    """Return a small curve of finite values, an <svg> element; "" for fewer than two values."""
    if len(values) < 2:
        return Markup("")
    low, high = min(values), max(values)
    across, up = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    points = " ".join(
        f"{MARGIN + across * i / (len(values) - 1):.1f},"
        f"{MARGIN + up * (high - value) / ((high - low) or 1):.1f}"
        for i, value in enumerate(values)
    )
    label = escaped(f"{name}: {values[0]:.4g} to {values[-1]:.4g}")
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{label}"><title>{label}</title>'
        f'<polyline points="{points}" fill="none" stroke="#4477aa" stroke-width="2"/></svg>'
    )
