"""The figure of chapter 7: splitting and merging heads, and the joined product."""

from collections.abc import Sequence

from docs.make.svg import Drawing

T, D, K = 3, 4, 2  # the sizes of the drawing
H = D // K
CELL, UNIT = 26, 13  # pixels of a numbered cell, and of a cell of the joined product
KINDS = ("accent", "warm")  # of the heads
NUMBERS = [str(i) for i in range(T * D)]
OUTPUTS = "abcdefghijkl"  # other labels, because attention changes the numbers
ROLES = (("query", "accent"), ("key", "warm"), ("value", "box"))


def labelled(
    drawing: Drawing, x: float, y: float, heads: tuple[int, ...], labels: Sequence[str] = NUMBERS
) -> None:
    """Draw these heads' cells of all tokens, side by side, coloured by head."""
    for t in range(T):
        for column in range(H * len(heads)):
            head = heads[column // H]
            left, top = x + CELL * column, y + CELL * t
            drawing.rectangle(left, top, CELL, CELL, KINDS[head])
            label = labels[t * D + head * H + column % H]
            drawing.text(left + CELL / 2, top + CELL / 2 + 4, label, "", "middle")


def cells(drawing: Drawing, x: float, y: float, shape: tuple[int, int], kind: str) -> None:
    """Draw a matrix of small cells."""
    for row in range(shape[0]):
        for column in range(shape[1]):
            drawing.rectangle(x + UNIT * column, y + UNIT * row, UNIT, UNIT, kind)


def moves(drawing: Drawing) -> None:
    """Draw the split and the merge of three tokens of four numbers."""
    labelled(drawing, 40, 86, (0, 1))
    drawing.text(92, 78, "(T, D)", "small", "middle")
    drawing.arrow((154, 125), (206, 125))
    drawing.text(180, 116, "split", "small", "middle")
    labelled(drawing, 220, 60, (0,))
    labelled(drawing, 220, 154, (1,))
    drawing.text(246, 52, "(K, T, H)", "small", "middle")
    for y, words in ((99, "attention of head 0"), (193, "attention of head 1")):
        drawing.arrow((282, y), (404, y))
        drawing.text(340, y - 9, words, "small", "middle")
    labelled(drawing, 416, 60, (0,), OUTPUTS)
    labelled(drawing, 416, 154, (1,), OUTPUTS)
    drawing.arrow((478, 125), (524, 125))
    drawing.text(501, 116, "merge", "small", "middle")
    labelled(drawing, 532, 86, (0, 1), OUTPUTS)
    drawing.text(584, 78, "(T, D)", "small", "middle")


def joined(drawing: Drawing, top: float) -> None:
    """Draw the product for query, key and value, and its backward."""
    middle = top + UNIT * D / 2
    drawing.text(40, middle + 4, "forward", "small")
    cells(drawing, 110, middle - UNIT * T / 2, (T, D), "box")
    drawing.text(136, middle + 40, "x (T, D)", "small", "middle")
    drawing.text(178, middle + 4, "@", "strong", "middle")
    drawing.text(362, middle + 4, "=", "strong", "middle")
    for i, (role, kind) in enumerate(ROLES):
        left = 192 + UNIT * D * i
        cells(drawing, left, top, (D, D), kind)
        drawing.text(left + UNIT * D / 2, top - 6, f"W_{role[0]}ᵀ", "strong", "middle")
        left = 376 + UNIT * D * i
        cells(drawing, left, middle - UNIT * T / 2, (T, D), kind)
        drawing.text(left + UNIT * D / 2, top - 6, role, "strong", "middle")
    drawing.text(270, middle + 40, "Wᵀ (D, 3D)", "small", "middle")
    drawing.text(454, middle + 40, "(T, 3D)", "small", "middle")

    top = top + 110
    middle = top + UNIT * D * 3 / 2
    drawing.text(40, middle + 4, "backward", "small")
    drawing.text(284, middle + 4, "@", "strong", "middle")
    drawing.text(372, middle + 4, "=", "strong", "middle")
    for i, (role, kind) in enumerate(ROLES):
        left = 110 + UNIT * D * i
        cells(drawing, left, middle - UNIT * T / 2, (T, D), kind)
        drawing.text(left + UNIT * D / 2, middle - 26, f"d{role}", "strong", "middle")
        cells(drawing, 300, top + UNIT * D * i, (D, D), kind)
    drawing.text(188, middle + 40, "(T, 3D)", "small", "middle")
    drawing.text(326, top - 6, "W (3D, D)", "small", "middle")
    cells(drawing, 390, middle - UNIT * T / 2, (T, D), "box")
    drawing.text(416, middle + 40, "dx (T, D)", "small", "middle")
    drawing.text(456, middle - 4, "= dquery W_q + dkey W_k", "")
    drawing.text(467, middle + 13, "+ dvalue W_v", "")


def heads() -> str:
    """Return the moves of the heads and the joined products (SVG)."""
    drawing = Drawing(660, 560, "Heads: the split moves numbers; one product makes q, k and v")
    moves(drawing)
    joined(drawing, 286)
    return drawing.svg()


FIGURES = {"heads": heads}
