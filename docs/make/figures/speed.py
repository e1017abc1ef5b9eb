"""The chart of speed against other libraries, from the stored results of `benchmarks`.

A horizontal bar per ratio, with a thin line from its minimum to its maximum, in groups.
"""

import math
from collections.abc import Mapping

from benchmarks.stored import Ratio, processor, ratios, stored_result, title
from docs.make.svg import Axes, Drawing

RESULTS = ("train_step", "finetune", "finetune_long", "inference", "tokenizer")
LEFT, SCALE, RIGHT = 250, 440, 60  # widths in pixels: labels, bars, figures
TOP, ROW, GAP, BOTTOM = 54, 18, 10, 34  # heights: above the bars, a line, before a group, below
MOST_TICKS = 8
TITLE = "minibert's speed / the other side's speed (longer is faster)"


def speed() -> str:
    """Return the chart of the stored results (SVG)."""
    texts = [text for name in RESULTS if (text := stored_result(name))]
    return draw(groups(texts), sorted({processor(text) for text in texts}))


def groups(texts: list[str]) -> dict[str, dict[str, Ratio]]:
    """Return ratios by group and label (dict): the label is what differs within a group."""
    found: dict[str, dict[str, Ratio]] = {}
    for result in texts:
        for (*where, label), ratio in ratios(result).items():
            group = f"{title(result)}: {', '.join(where)}".removesuffix(": ")
            found.setdefault(group, {})[label] = ratio
    return found


def draw(bars: Mapping[str, Mapping[str, Ratio]], processors: list[str]) -> str:
    """Return a chart (SVG).

    Args:
        bars (dict): ratios by group and label.
        processors (list of str): which measured them.
    """
    most = max(ratio.high for group in bars.values() for ratio in group.values())
    step = math.ceil(most / MOST_TICKS)
    last = math.ceil(most / step) * step
    end = TOP + sum(GAP + ROW * (1 + len(group)) for group in bars.values()) + GAP
    drawing = Drawing(LEFT + SCALE + RIGHT, end + BOTTOM, TITLE)
    for tick in range(0, last + 1, step):
        x = LEFT + SCALE * tick / last
        drawing.text(x, TOP - 10, f"{tick}", "small", "middle")
    top = TOP
    for group, labels in bars.items():
        top += GAP + ROW
        height = ROW * len(labels)
        drawing.text(16, top - 5, group, "strong group")
        axes = Axes(drawing, (LEFT, top, SCALE, height), (0, last), (0, len(labels)))
        for tick in range(0, last + 1, step):
            x, _ = axes.place(tick, 0)
            drawing.line(x, top, x, top + height, "grid")
        for i, (label, ratio) in enumerate(labels.items()):
            bar(axes, len(labels) - i - 0.5, label, ratio)
        one, _ = axes.place(1, 0)
        drawing.line(one, top, one, top + height, "line one")
        top += height
    below = f"Medians, with minimum and maximum. Processor: {'; '.join(processors)}."
    drawing.text(16, drawing.height - 12, below, "small")
    return drawing.svg()


def bar(axes: Axes, row: float, label: str, ratio: Ratio) -> None:
    """Add the label, the bar, its range and its figure; `row` is counted from the bottom."""
    drawing = axes.drawing
    start, middle = axes.place(0, row)
    low, median, high = (axes.place(x, row)[0] for x in (ratio.low, ratio.median, ratio.high))
    colour = "positive faster" if ratio.median >= 1 else "negative slower"
    drawing.text(LEFT - 8, middle + 4, label, "label", "end")
    drawing.rectangle(start, middle - ROW / 2 + 3, median - start, ROW - 6, colour)
    drawing.line(low, middle, high, middle, "line range")
    x = max(high, axes.place(1, row)[0]) + 6
    drawing.text(x, middle + 4, f"{ratio.median:.2f}", "halo figure")


FIGURES = {"speed": speed}
