"""The figure of chapter 4: a row before and after layer norm, and its gradient as a projection."""

import math

from docs.make.svg import Axes, Drawing

ROW, WEIGHT, BIAS = (-3.0, 3.0, 3.0, 5.0), (1.0, 2.0, 1.0, 0.5), (0.0, 0.0, 1.0, 0.0)
CENTRE, RADIUS = (150, 395), 95  # of the circle, in pixels
ANGLE = math.radians(20)  # of x̂ on the circle
ALONG, ACROSS = 50, 75  # the parts of g along x̂ and along the circle, in pixels
LEGEND = 320  # left edge of the text beside the circle


def layer_norm() -> str:
    """Return the steps of layer norm as bars, and the parts of its gradient (SVG)."""
    drawing = Drawing(620, 515, "Layer norm: what it does to a row, and what it does to a gradient")
    _draw_steps(drawing)
    _draw_projection(drawing)
    return drawing.svg()


def _draw_steps(drawing: Drawing) -> None:
    mean = sum(ROW) / len(ROW)
    centred = [x - mean for x in ROW]
    std = math.sqrt(sum(x * x for x in centred) / len(ROW))
    normed = [x / std for x in centred]
    out = [x * w + b for x, w, b in zip(normed, WEIGHT, BIAS, strict=True)]
    steps = {
        "x": ROW,
        f"x − m, m = {mean:.0f}": centred,
        f"x̂ = (x − m)/σ, σ = {std:.0f}": normed,
        "out = x̂ · w + b": out,
    }
    for i, (name, values) in enumerate(steps.items()):
        axes = Axes(drawing, (24 + 148 * i, 70, 128, 150), (0, len(ROW)), (-6, 6))
        drawing.text(axes.place(len(ROW) / 2, 0)[0], 60, name, "strong", "middle")
        left, zero = axes.place(0, 0)
        for j, value in enumerate(values):
            x, y = axes.place(j + 0.2, value)
            kind = "positive" if value >= 0 else "negative"
            width = axes.place(j + 0.8, 0)[0] - x
            drawing.rectangle(x, min(y, zero), width, abs(y - zero), kind, ' fill-opacity="0.6"')
            words = f"{value:.2f}".rstrip("0").rstrip(".").replace("-", "−")
            at = y - 5 if value >= 0 else y + 14
            drawing.text(x + width / 2, at, words, "small", "middle")
        drawing.line(left, zero, axes.place(len(ROW), 0)[0], zero)


def _draw_projection(drawing: Drawing) -> None:
    (x, y), along = CENTRE, (math.cos(ANGLE), -math.sin(ANGLE))
    across = (-math.sin(ANGLE), -math.cos(ANGLE))
    circle = [
        (x + RADIUS * math.cos(i * math.pi / 36), y + RADIUS * math.sin(i * math.pi / 36))
        for i in range(73)
    ]
    drawing.curve(circle, 3)
    drawing.dot(x, y, 2.5, 3)
    drawing.text(x - 8, y + 16, "0", "small", "middle")
    tip = (x + RADIUS * along[0], y + RADIUS * along[1])
    drawing.arrow((x, y), tip)
    drawing.text((x + tip[0]) / 2, (y + tip[1]) / 2 + 18, "x̂", "strong", "middle")
    outward = (tip[0] + ALONG * along[0], tip[1] + ALONG * along[1])
    kept = (tip[0] + ACROSS * across[0], tip[1] + ACROSS * across[1])
    whole = (outward[0] + ACROSS * across[0], outward[1] + ACROSS * across[1])
    drawing.arrow(tip, whole)
    drawing.arrow(tip, outward, is_backward=True)
    drawing.curve([tip, kept], 0)
    drawing.dot(*kept, 4, 0)
    _draw_legend(drawing)


def _draw_legend(drawing: Drawing) -> None:
    lines = [
        ("", "The plane of the rows of three with mean 0:"),
        ("", "every x̂ is on the circle of radius √3."),
        ("arrow", "g − mean(g): the gradient of x̂ in this plane"),
        ("dashed", "its part along x̂: removed, because"),
        ("", "stretching the row does not change x̂"),
        ("kept", "what is left: σ · dx, along the circle"),
    ]
    for i, (mark, words) in enumerate(lines):
        top = 325 + 27 * i
        if mark in ("arrow", "dashed"):
            drawing.arrow((LEGEND, top - 4), (LEGEND + 28, top - 4), is_backward=mark == "dashed")
        elif mark:
            drawing.curve([(LEGEND, top - 4), (LEGEND + 24, top - 4)], 0)
            drawing.dot(LEGEND + 24, top - 4, 4, 0)
        left = LEGEND + 36 if i > 1 else LEGEND
        drawing.text(left, top, words)


FIGURES = {"layer_norm": layer_norm}
