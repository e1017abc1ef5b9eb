"""The figure of chapter 2: the three products of the linear map."""

from docs.make.svg import Drawing

UNIT = 24  # pixels of a row or column
N, I, O = 2, 3, 2  # the sizes of the chapter's example  # noqa: E741
ROWS = (("forward", ("x", N, I), ("Wᵀ", I, O), ("out", N, O)),
        ("backward", ("dout", N, O), ("W", O, I), ("dx", N, I)),
        ("backward", ("doutᵀ", O, N), ("x", N, I), ("dW", O, I)))  # fmt: skip


def linear() -> str:
    """Return the products forward and backward, each array drawn in its shape (SVG)."""
    drawing = Drawing(560, 390, "Three products: out = x Wᵀ + b, dx = dout W, dW = doutᵀ x")
    for i, (direction, *arrays) in enumerate(ROWS):
        middle = 90 + 115 * i
        drawing.text(24, middle + 4, direction, "small")
        x = 110.0
        for sign, (name, rows, columns) in zip(("", "@", "="), arrays, strict=True):
            drawing.text(x, middle + 5, sign, "strong", "middle")
            x += 26
            top = middle - UNIT * rows / 2
            kind = "warm" if name.startswith("d") else "accent"
            for row in range(rows):
                for column in range(columns):
                    drawing.rectangle(x + UNIT * column, top + UNIT * row, UNIT, UNIT, kind)
            drawing.text(x + UNIT * columns / 2, top - 6, name, "strong", "middle")
            shape = f"({rows}, {columns})"
            drawing.text(x + UNIT * columns / 2, top + UNIT * rows + 16, shape, "small", "middle")
            x += UNIT * columns + 26
    return drawing.svg()


FIGURES = {"linear": linear}
