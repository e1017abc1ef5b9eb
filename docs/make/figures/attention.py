"""The figure of chapter 6: attention of three tokens with all its numbers."""

import math
from collections.abc import Sequence

from docs.make.svg import Drawing

Matrix = list[list[float]]

QUERY: Matrix = [[1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 2]]
KEY: Matrix = [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]]
VALUE: Matrix = [[1, 0, 2, 0], [0, 1, 0, 2], [3, 0, 0, 0]]
NARROW, WIDE = 30, 46  # widths of a cell in pixels: of integers, and of numbers with decimals
TOKENS = ("token 0", "token 1", "token 2")


def product(left: Matrix, right: Matrix) -> Matrix:
    """Return left @ right (list of rows)."""
    columns = list(zip(*right, strict=True))
    return [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns]
            for row in left]  # fmt: skip


def softmax(row: Sequence[float]) -> list[float]:
    """Return the weights of a row of scores (list of float)."""
    exp = [math.exp(score) for score in row]
    return [each / sum(exp) for each in exp]


def attention() -> str:
    """Return the products of attention with their numbers (SVG)."""
    drawing = Drawing(600, 362, "Attention by hand, with H = 4: scores, weights and output")
    transposed = [list(column) for column in zip(*KEY, strict=True)]
    scores = [[score / 2 for score in row] for row in product(QUERY, transposed)]
    weights = [softmax(row) for row in scores]
    keys = ("key 0", "key 1", "key 2")

    def matrix(x: float, y: float, name: str, values: Matrix, labels: dict[str, Sequence[str]]):
        is_whole = all(value == int(value) for row in values for value in row)
        width = WIDE if name in ("scores", "weights", "out") else NARROW
        drawing.text(x + width * len(values[0]) / 2, y - 24, name, "strong", "middle")
        form = ".0f" if is_whole else ".2f"
        drawing.grid(x, y, values, **labels, cell=(width, 26), form=form)

    matrix(80, 92, "q", QUERY, {"rows": TOKENS})
    drawing.text(220, 135, "@", "strong", "middle")
    matrix(240, 92, "kᵀ", transposed, {})
    drawing.text(352, 135, "/ 2  =", "strong", "middle")
    matrix(384, 92, "scores", scores, {"columns": keys})
    drawing.arrow((453, 176), (453, 214), (149, 214), (149, 228))
    drawing.text(300, 208, "softmax of each row", "small", "middle")
    matrix(80, 264, "weights", weights, {"rows": TOKENS, "columns": keys})
    drawing.text(236, 307, "@", "strong", "middle")
    matrix(254, 264, "v", VALUE, {})
    drawing.text(391, 307, "=", "strong", "middle")
    matrix(408, 264, "out", product(weights, VALUE), {})
    return drawing.svg()


FIGURES = {"attention": attention}
