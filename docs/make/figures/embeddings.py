"""The figures of chapter 8: a lookup as a product, and a table of sinusoidal positions."""

import math

from docs.make.svg import Drawing

IDS = (1, 3, 1)
TABLE = ((0.0, 0.5), (1, 2), (3, 4), (5, 6))  # (V, D)
GRADIENT = ((1.0, 10), (2, 20), (3, 30))  # (N, D), of the looked-up rows
ONE_HOT = [[float(v == token) for v in range(len(TABLE))] for token in IDS]  # (N, V)
LENGTH, WIDTH = 24, 16  # of the table of positions
WORDS = [f"id {token}" for token in IDS]
ROWS = [f"row {v}" for v in range(len(TABLE))]


def embeddings() -> str:
    """Return the lookup of three ids, forward and backward, as products (SVG)."""
    drawing = Drawing(560, 366, "A lookup is a product with one-hot rows: id 1 occurs twice")
    cell = {"cell": (36, 26), "form": "g", "largest": 8}
    flipped = [list(column) for column in zip(*ONE_HOT, strict=True)]
    looked_up = [TABLE[token] for token in IDS]
    summed = [
        [sum(row[i] for row, token in zip(GRADIENT, IDS, strict=True) if token == v)
         for i in range(2)]
        for v in range(len(TABLE))
    ]  # fmt: skip

    drawing.text(24, 118, "forward", "small")
    for x, name, values, rows in (
        (130, "one-hot (N, V)", ONE_HOT, WORDS),
        (346, "E (V, D)", TABLE, ROWS),
        (460, "E[ids]", looked_up, ()),
    ):
        top = 114 - 13 * len(values)
        drawing.grid(x, top, values, rows=rows, **cell)
        drawing.text(x + 18 * len(values[0]), top - 8, name, "strong", "middle")
    drawing.text(288, 118, "@", "strong", "middle")
    drawing.text(439, 118, "=", "strong", "middle")

    drawing.text(24, 268, "backward", "small")
    for x, name, values, rows in (
        (148, "one-hotᵀ (V, N)", flipped, ROWS),
        (346, "dsum (N, D)", GRADIENT, WORDS),
        (460, "dE (V, D)", summed, ()),
    ):
        top = 264 - 13 * len(values)
        largest = 8 if values is flipped else 60
        drawing.grid(x, top, values, rows=rows, cell=(36, 26), form="g", largest=largest)
        drawing.text(x + 18 * len(values[0]), top - 8, name, "strong", "middle")
    drawing.text(276, 268, "@", "strong", "middle")
    drawing.text(439, 268, "=", "strong", "middle")
    drawing.text(24, 346, "Row 1 gets (1, 10) + (3, 30), because id 1 was looked up twice.")
    return drawing.svg()


def positions() -> str:
    """Return the sinusoidal table as a heat map (SVG)."""
    drawing = Drawing(600, 390, f"Sinusoidal positions: {LENGTH} positions, D = {WIDTH}")
    table = [
        [(math.sin, math.cos)[i % 2](t / 10000 ** (i // 2 * 2 / WIDTH)) for i in range(WIDTH)]
        for t in range(LENGTH)
    ]
    rows = [str(t) if t % 4 == 0 else "" for t in range(LENGTH)]
    columns = [str(i) for i in range(WIDTH)]
    drawing.grid(90, 66, table, rows, columns, cell=(28, 12), form="", largest=1)
    drawing.text(20, 210, "position", "small")
    drawing.text(90 + 14 * WIDTH, 46, "even columns: sines, odd: cosines", "small", "middle")
    drawing.text(90, 376, "fast", "small")
    drawing.text(90 + 28 * WIDTH, 376, "slow", "small", "end")
    return drawing.svg()


FIGURES = {"embeddings": embeddings, "positions": positions}
