"""The figure of chapter 5: Φ as an area, GELU and ReLU, their slopes, and the tanh form's error."""

import math
from collections.abc import Callable

from docs.make.svg import Axes, Drawing

LEFT, RIGHT = 50, 350  # of the charts' areas, in pixels
TOP, BOTTOM = 75, 325
WIDTH, HEIGHT = 235, 160
BAR = 0.25  # width of a bar of the density
MARK = 1.0  # the area is coloured to the left of it


def gelu() -> str:
    """Return four charts: density, functions, slopes, difference of both forms (SVG)."""
    drawing = Drawing(620, 540, "GELU multiplies x by Φ(x), the area to the left of x")
    _draw_area(drawing)
    functions = Axes(drawing, (RIGHT, TOP, WIDTH, HEIGHT), (-4, 4), (-1, 4))
    functions.ticks(range(-4, 5, 2), range(-1, 5), ("x", "the functions"))
    functions.curves(
        {"GELU": _points(_gelu), "ReLU": _points(lambda x: max(x, 0))}, (RIGHT + 16, TOP + 24)
    )
    slopes = Axes(drawing, (LEFT, BOTTOM, WIDTH, HEIGHT), (-4, 4), (-0.25, 1.25))
    slopes.ticks(range(-4, 5, 2), [-0.25, 0, 0.25, 0.5, 0.75, 1, 1.25], ("x", "their slopes"))
    step = [(-4.0, 0.0), (0.0, 0.0), (0.0, 1.0), (4.0, 1.0)]
    slopes.curves({"GELU": _points(_slope), "ReLU": step}, (LEFT + 16, BOTTOM + 24))
    error = Axes(drawing, (RIGHT, BOTTOM, WIDTH, HEIGHT), (-4, 4), (-5, 5))
    error.ticks(
        range(-4, 5, 2), [-5, -2.5, 0, 2.5, 5], ("x", "tanh form − GELU, in units of 0.0001")
    )
    error.curves({"difference": _points(lambda x: 1e4 * (_gelu_new(x) - _gelu(x)))})
    return drawing.svg()


def _draw_area(drawing: Drawing) -> None:
    axes = Axes(drawing, (LEFT, TOP, WIDTH, HEIGHT), (-3.5, 3.5), (0, 0.5))
    axes.ticks(range(-3, 4), [0, 0.1, 0.2, 0.3, 0.4, 0.5], ("t", "the density φ(t)"))
    for i in range(round(7 / BAR)):
        start = -3.5 + BAR * i
        left, top = axes.place(start, _density(start + BAR / 2))
        right, bottom = axes.place(start + BAR, 0)
        opacity = 0.6 if start < MARK else 0.15
        drawing.rectangle(
            left, top, right - left, bottom - top, "positive", f' fill-opacity="{opacity}"'
        )
    drawing.line(*axes.place(MARK, 0), *axes.place(MARK, 0.45))
    drawing.text(*axes.place(MARK + 0.15, 0.41), f"x = {MARK:.0f}", "halo")
    drawing.text(*axes.place(-3.3, 0.41), f"Φ({MARK:.0f}) = {_cdf(MARK):.4f}", "halo")


def _points(function: Callable[[float], float]) -> list[tuple[float, float]]:
    return [(i / 25, function(i / 25)) for i in range(-100, 101)]


def _density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _cdf(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def _gelu(x: float) -> float:
    return x * _cdf(x)


def _slope(x: float) -> float:
    return _cdf(x) + x * _density(x)


def _gelu_new(x: float) -> float:
    return x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


FIGURES = {"gelu": gelu}
