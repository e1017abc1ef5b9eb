"""The figure of chapter 1: the error of a slope by the length of the step."""

import math

from docs.make.svg import Axes, Drawing

AT, SLOPE = 0.5, -0.64  # of f(x) = 1 / (1 + x²)
STEPS = [2.0**-k for k in range(3, 47)]  # powers of two, so that every processor rounds alike
SMALLEST = 1e-15  # errors below it are drawn there; the logarithm of 0 is -inf


def f(x: float) -> float:
    """Return 1 / (1 + x²), the function of the chapter (float)."""
    return 1 / (1 + x * x)


def one_side(h: float) -> float:
    """Return the one-sided difference (float)."""
    return (f(AT + h) - f(AT)) / h


def centred(h: float) -> float:
    """Return the centred difference (float)."""
    return (f(AT + h) - f(AT - h)) / (2 * h)


def five_points(h: float) -> float:
    """Return the centred difference on five points (float)."""
    return (4 * centred(h) - centred(2 * h)) / 3


def gradients() -> str:
    """Return the errors of three differences as a chart with logarithmic axes (SVG)."""
    drawing = Drawing(600, 370, "Error of f'(0.5) = −0.64 for f(x) = 1 / (1 + x²)")
    axes = Axes(drawing, (60, 60, 520, 250), (-14.0, 0.0), (-15.0, 0.0))
    axes.ticks(range(-14, 1, 2), range(-15, 1, 3), ("log₁₀ of the step h", "log₁₀ of the error"))
    kinds = {"one side: h": one_side, "both sides: h²": centred, "five points: h⁴": five_points}
    axes.curves(
        {
            name: [(math.log10(h), math.log10(max(abs(kind(h) - SLOPE), SMALLEST))) for h in STEPS]
            for name, kind in kinds.items()
        },
        corner=(285, 84),
    )
    drawing.text(*axes.place(-13.6, -9), "too short: rounding", "halo")
    drawing.text(*axes.place(-0.3, -14.2), "too long: truncation", "halo", "end")
    return drawing.svg()


FIGURES = {"gradients": gradients}
