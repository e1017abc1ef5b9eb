"""The figure of chapter 11: the updates of one parameter, and the learning rate of a run."""

import math
from collections.abc import Sequence

from docs.make.svg import Axes, Drawing

STEPS = 50
TOTAL, WARMUP, PEAK = 2400, 240, 2e-3  # of the run of chapter 12
GRADIENTS = {
    "always 1": [1.0] * STEPS,
    "1 and −1 in turn": [(-1.0) ** i for i in range(STEPS)],
    "1 once, then 0": [1.0] + [0.0] * (STEPS - 1),
}


def adamw() -> str:
    """Return updates in learning rates, and a schedule (SVG)."""
    drawing = Drawing(640, 440, "AdamW: the size of an update, and the learning rate")
    axes = Axes(drawing, (56, 66, 330, 300), x=(0, STEPS), y=(-1, 7))
    axes.ticks(range(0, STEPS + 1, 10), range(-1, 8), ("step", "update / learning rate"))
    lines = {f"gradient {name}": updates(gradients) for name, gradients in GRADIENTS.items()}
    lines["always 1, not corrected"] = updates(GRADIENTS["always 1"], is_corrected=False)
    points = {name: list(enumerate(line, 1)) for name, line in lines.items()}
    axes.curves(points, corner=(150, 206))
    axes = Axes(drawing, (456, 66, 160, 300), x=(0, TOTAL), y=(0, PEAK))
    axes.ticks((0, 800, 1600, TOTAL), (0, 5e-4, 1e-3, 1.5e-3, PEAK), ("step", ""))
    drawing.text(456, 58, "learning rate, 240 steps up", "small")
    axes.curves({"rate": [(0, 0), (WARMUP, PEAK), (TOTAL, 0)]})
    words = "The update of a parameter is m̂ / (√v̂ + ε) learning rates, without weight decay."
    drawing.text(16, 426, words, "small")
    return drawing.svg()


def updates(gradients: Sequence[float], is_corrected: bool = True) -> list[float]:
    """Return a parameter's updates in learning rates, with or without bias correction."""
    m, v, found = 0.0, 0.0, []
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        shares = (1 - 0.9**t, 1 - 0.999**t) if is_corrected else (1.0, 1.0)
        found.append(m / shares[0] / (math.sqrt(v / shares[1]) + 1e-8))
    return found


FIGURES = {"adamw": adamw}
