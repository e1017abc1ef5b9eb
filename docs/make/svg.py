"""Elements of SVG drawings: boxes, arrows, grids of numbers and charts, as text.

All drawings share one style sheet. They have their own background, so they are readable on any
page, and follow the reader's dark mode. Coordinates are in pixels and rounded to a tenth; the same
calls always give the same bytes.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
text { font: 12px sans-serif; fill: #1f2328; }
.title { font-size: 14px; font-weight: bold; } .strong { font-weight: bold; }
.small { font-size: 11px; fill: #59636e; } .code { font-family: monospace; }
.halo { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
.back { fill: #ffffff; } .grid { stroke: #d1d9e0; } .line { stroke: #1f2328; stroke-width: 1.5; }
.box { fill: #f6f8fa; stroke: #818b98; } .accent { fill: #ddf4ff; stroke: #0969da; }
.warm { fill: #fff1e5; stroke: #bc6c00; } .arrow { fill: none; stroke: #59636e; stroke-width: 1.5; }
.back-arrow { fill: none; stroke: #bc6c00; stroke-width: 1.5; stroke-dasharray: 5 3; }
.head { fill: #59636e; } .back-head { fill: #bc6c00; }
.positive { fill: #0969da; } .negative { fill: #bc6c00; } .cell { fill: none; stroke: #d1d9e0; }
.curve { fill: none; stroke-width: 2; } .c0 { stroke: #0969da; } .c1 { stroke: #bc6c00; }
.c2 { stroke: #1a7f37; } .c3 { stroke: #8250df; }
.f0 { fill: #0969da; } .f1 { fill: #bc6c00; } .f2 { fill: #1a7f37; } .f3 { fill: #8250df; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .small { fill: #9198a1; } .halo { stroke: #0d1117; }
  .back { fill: #0d1117; } .grid { stroke: #3d444d; } .line { stroke: #f0f6fc; }
  .box { fill: #151b23; stroke: #656c76; } .accent { fill: #0c2d55; stroke: #388bfd; }
  .warm { fill: #3d2300; stroke: #db6d28; } .arrow { stroke: #9198a1; } .head { fill: #9198a1; }
  .back-arrow { stroke: #db6d28; } .back-head { fill: #db6d28; }
  .positive { fill: #388bfd; } .negative { fill: #db6d28; } .cell { stroke: #3d444d; }
  .c0 { stroke: #388bfd; } .c1 { stroke: #db6d28; } .c2 { stroke: #3fb950; }
  .c3 { stroke: #ab7df8; }
  .f0 { fill: #388bfd; } .f1 { fill: #db6d28; } .f2 { fill: #3fb950; } .f3 { fill: #ab7df8; }
}
"""
COLOURS = 4
LINE_HEIGHT = 16
ARROW_LENGTH, ARROW_WIDTH = 8, 4  # of an arrow's head
HEAT_OPACITY = 0.75  # of the largest value's cell, so that its number stays readable


class Drawing:
    """An SVG image that grows by calls.

    Args:
        width (int): in pixels.
        height (int): in pixels.
        title (str): what the image shows, for readers who cannot see it; also drawn at the top.
    """

    def __init__(self, width: int, height: int, title: str):
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []
        self.text(16, 22, title, "title")

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        """Add one line of text; y is its base line, `anchor` start, middle or end."""
        self.parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{escape(words)}</text>"
        )

    def line(self, x: float, y: float, x2: float, y2: float, kind: str = "line") -> None:
        """Add a straight line."""
        self.parts.append(
            f'<line class="{kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
        )

    def rectangle(
        self, x: float, y: float, width: float, height: float, kind: str = "box", extra: str = ""
    ) -> None:
        """Add a rectangle; `extra` is further attributes."""
        self.parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}"{extra}/>'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        lines: Sequence[str],
        kind: str = "box",
    ) -> None:
        """Add a box with centred lines of text, the first one bold."""
        self.rectangle(x, y, width, height, kind, ' rx="5"')
        top = y + height / 2 - LINE_HEIGHT * (len(lines) - 1) / 2 + 4
        for i, words in enumerate(lines):
            weight = "small" if i else "strong"
            self.text(x + width / 2, top + LINE_HEIGHT * i, words, weight, "middle")

    def arrow(self, *points: tuple[float, float], is_backward: bool = False) -> None:
        """Add an arrow along points (x, y); a backward pass is dashed."""
        (x, y), (x2, y2) = points[-2:]
        length = math.hypot(x2 - x, y2 - y)
        ux, uy = (x2 - x) / length, (y2 - y) / length
        left, top = x2 - ARROW_LENGTH * ux, y2 - ARROW_LENGTH * uy
        prefix = "back-" if is_backward else ""
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in [*points[:-1], (left, top)])
        corners = [
            (x2, y2),
            (left - ARROW_WIDTH * uy, top + ARROW_WIDTH * ux),
            (left + ARROW_WIDTH * uy, top - ARROW_WIDTH * ux),
        ]
        head = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
        self.parts.append(f'<polyline class="{prefix}arrow" points="{path}"/>')
        self.parts.append(f'<polygon class="{prefix}head" points="{head}"/>')

    def dot(self, x: float, y: float, radius: float = 3, colour: int = 0) -> None:
        """Add a filled circle of one of the four colours."""
        self.parts.append(
            f'<circle class="f{colour % COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        )

    def curve(self, points: Sequence[tuple[float, float]], colour: int = 0) -> None:
        """Add a line through points of one of the four colours."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline class="curve c{colour % COLOURS}" points="{path}"/>')

    def grid(
        self,
        x: float,
        y: float,
        values: Sequence[Sequence[float]],
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
        cell: tuple[float, float] = (44, 26),
        form: str = ".2f",
        largest: float | None = None,
    ) -> None:
        """Add a matrix as coloured cells: positive numbers blue, negative ones orange.

        Args:
            x, y: the upper left corner of the first cell.
            values: rows of numbers.
            rows, columns: labels, to the left and above.
            cell: width and height of a cell.
            form: format of the numbers; "": no numbers.
            largest: the absolute value of full colour; None: the largest one.
        """
        largest = largest or max(abs(value) for row in values for value in row) or 1.0
        width, height = cell
        for j, words in enumerate(columns):
            self.text(x + width * (j + 0.5), y - 6, words, "small", "middle")
        for i, row in enumerate(values):
            top = y + height * i
            if rows:
                self.text(x - 8, top + height / 2 + 4, rows[i], "small", "end")
            for j, value in enumerate(row):
                kind = "positive" if value >= 0 else "negative"
                share = min(abs(value) / largest, 1) * HEAT_OPACITY
                opacity = f' fill-opacity="{share:.2f}"'
                self.rectangle(x + width * j, top, width, height, kind, opacity)
                self.rectangle(x + width * j, top, width, height, "cell")
                if form:
                    words = f"{value:{form}}".replace("-", "−")
                    self.text(x + width * (j + 0.5), top + height / 2 + 4, words, "", "middle")

    def svg(self) -> str:
        """Return the image (str)."""
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img">',
            f"<title>{escape(self.title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{self.width}" height="{self.height}" rx="6"/>',
            *self.parts,
            "</svg>\n",
        ])  # fmt: skip


class Axes:
    """The axes of a chart inside a drawing, which turn data into pixels.

    Args:
        drawing (Drawing): where to draw.
        left, top, width, height: the area of the data in pixels.
        x, y: the lowest and the highest value of each axis.
    """

    def __init__(
        self,
        drawing: Drawing,
        area: tuple[float, float, float, float],
        x: tuple[float, float],
        y: tuple[float, float],
    ):
        self.drawing, self.area, self.x, self.y = drawing, area, x, y

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a point (pair of float)."""
        left, top, width, height = self.area
        return (
            left + width * (x - self.x[0]) / (self.x[1] - self.x[0]),
            top + height * (self.y[1] - y) / (self.y[1] - self.y[0]),
        )

    def ticks(
        self,
        x: Sequence[float],
        y: Sequence[float],
        labels: tuple[str, str] = ("", ""),
        forms: tuple[str, str] = ("g", "g"),
    ) -> None:
        """Add grid lines with their values, and the names of the axes."""
        left, top, width, height = self.area
        for value in x:
            at = self.place(value, self.y[0])[0]
            self.drawing.line(at, top, at, top + height, "grid")
            words = f"{value:{forms[0]}}".replace("-", "−")
            self.drawing.text(at, top + height + 16, words, "small", "middle")
        for value in y:
            at = self.place(self.x[0], value)[1]
            self.drawing.line(left, at, left + width, at, "grid")
            words = f"{value:{forms[1]}}".replace("-", "−")
            self.drawing.text(left - 6, at + 4, words, "small", "end")
        self.drawing.text(left + width / 2, top + height + 34, labels[0], "small", "middle")
        self.drawing.text(left, top - 8, labels[1], "small")

    def curves(
        self,
        lines: Mapping[str, Sequence[tuple[float, float]]],
        corner: tuple[float, float] | None = None,
    ) -> None:
        """Add curves by name, and a legend whose upper left pixel is `corner` (None: no legend)."""
        for i, (name, points) in enumerate(lines.items()):
            self.drawing.curve([self.place(x, y) for x, y in points], i)
            if corner:
                x, y = corner[0], corner[1] + LINE_HEIGHT * i
                self.drawing.line(x, y - 4, x + 18, y - 4, f"curve c{i % COLOURS}")
                self.drawing.text(x + 24, y, name, "halo")
