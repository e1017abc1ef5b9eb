"""Predictions with their texts, to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, overload

from minibert.io.html import MAX_ROWS, Markup, bar, escaped, shaded, table
from minibert.tasks.entities import OUTSIDE


@dataclass(frozen=True)
class Predictions(Sequence[dict[str, Any]]):
    """The predictions for S texts, a dict each; `pandas.DataFrame` accepts them, too.

    >>> found = Predictions([{"text": "a < b", "label": "maths", "probability": 0.75}])
    >>> found[0]["label"], len(found), "a &lt; b" in found._repr_html_()
    ('maths', 1, True)

    Args:
        rows: for texts, `text`, `pair` if there is one, and `label` with its `probability`, or
            `labels` (dict of their probabilities); for words, `words` and `tags`.
    """

    rows: list[dict[str, Any]]

    @classmethod
    def of_texts(
        cls, texts: Sequence[str], pairs: Sequence[str] | None, found: Sequence[dict[str, Any]]
    ) -> Self:
        """Return the predictions found for S texts, or for S pairs."""
        sides = [{"text": each} for each in texts]
        if pairs is not None:
            sides = [{**side, "pair": pair} for side, pair in zip(sides, pairs, strict=True)]
        return cls([{**side, **own} for side, own in zip(sides, found, strict=True)])

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """Return a prediction (dict), or several (list)."""
        return self.rows[index]

    def __len__(self) -> int:
        """Return S."""
        return len(self.rows)

    def _repr_html_(self) -> Markup:
        """Return a table for a notebook; tagged words are shaded, with their tags."""
        header = list(self.rows[0]) if self.rows else []
        if "words" in header:
            texts = [_tagged(row["words"], row["tags"]) for row in self.rows[:MAX_ROWS]]
            more = len(self.rows) - MAX_ROWS
            note = f"<p>and {more:,} more</p>" if more > 0 else ""
            return Markup(f"<div>{''.join(f'<p>{each}</p>' for each in texts)}{note}</div>")
        rows = [[_cell(name, row[name]) for name in header] for row in self.rows]
        return Markup(f"<div>{table(header, rows)}</div>")


def _cell(name: str, value: Any) -> Any:
    if name == "probability":
        return bar(value)
    if name == "labels":
        return Markup(", ".join(f"{escaped(label)} {share:.1%}" for label, share in value.items()))
    return value


def _tagged(words: Sequence[str], tags: Sequence[str]) -> str:
    """Return words as HTML; those with a tag other than O are shaded and followed by it."""
    return " ".join(
        escaped(word) if tag == OUTSIDE else f"{shaded(word, 0.4)}<sub>{escaped(tag)}</sub>"
        for word, tag in zip(words, tags, strict=True)
    )
