"""The figure of chapter 3: probabilities, the gradient of each logit, and the loss curve."""

import math

from docs.make.svg import Axes, Drawing

EXPONENTIALS, LABEL = (1.0, 2.0, 5.0), 1  # row 0 of the chapter's example
MARKED = {"row 0": 0.25, "row 2": 0.6}  # the probabilities of its right classes
LEAST = 0.01  # the smallest probability of the curve


def softmax() -> str:
    """Return the probabilities of a row with arrows from p to y, and −log p (SVG)."""
    drawing = Drawing(620, 350, "Each logit is pushed by y − p, and the loss is −log p")
    _draw_probabilities(drawing)
    _draw_loss(drawing)
    return drawing.svg()


def _draw_probabilities(drawing: Drawing) -> None:
    axes = Axes(drawing, (50, 75, 285, 185), (0, 3), (0, 1))
    axes.ticks([], [0, 0.25, 0.5, 0.75, 1], ("", "probability p (bar), and the way to y (arrow)"))
    for j, exponential in enumerate(EXPONENTIALS):
        p, y = exponential / sum(EXPONENTIALS), float(j == LABEL)
        (left, top), (right, bottom) = axes.place(j + 0.2, p), axes.place(j + 0.5, 0)
        drawing.rectangle(left, top, right - left, bottom - top, "accent")
        x = axes.place(j + 0.7, 0)[0]
        drawing.arrow((x, axes.place(0, p)[1]), (x, axes.place(0, y)[1]))
        middle = axes.place(j + 0.5, 0)[0]
        right_class = " (right)" if y else ""
        signed = f"{p - y:.3f}".replace("-", "−")
        lines = (f"class {j}{right_class}", f"p = {p:.3f}", f"p − y = {signed}")
        for i, words in enumerate(lines):
            drawing.text(middle, bottom + 20 + 17 * i, words, "" if i else "strong", "middle")


def _draw_loss(drawing: Drawing) -> None:
    axes = Axes(drawing, (400, 75, 195, 185), (0, 1), (0, 5))
    axes.ticks(
        [0, 0.25, 0.5, 0.75, 1], range(6), ("probability p of the right class", "loss −log p, nats")
    )
    steps = 150
    points = [LEAST * (1 / LEAST) ** (i / steps) for i in range(steps + 1)]
    axes.curves({"loss": [(p, -math.log(p)) for p in points]})
    for name, p in MARKED.items():
        x, y = axes.place(p, -math.log(p))
        drawing.dot(x, y, 4, colour=1)
        drawing.text(x + 8, y - 8, f"{name}: {-math.log(p):.2f}", "halo")


FIGURES = {"softmax": softmax}
