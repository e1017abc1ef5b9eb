"""Draw the README's chart, `docs/figures/speed.svg`, from the stored results.

A horizontal bar per ratio, with a thin line from its minimum to its maximum, in groups. The chart
has its own background, so it is readable on any page, and follows the reader's dark mode. The same
results always give the same bytes.
"""

import math
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from benchmarks.stored import Ratio, processor, ratios, stored_result, title

FILE = Path(__file__).parents[1] / "docs" / "figures" / "speed.svg"
RESULTS = ("train_step", "finetune", "finetune_long", "inference", "tokenizer")
LEFT, SCALE, RIGHT = 250, 440, 60  # widths in pixels: labels, bars, figures
TOP, ROW, GAP, BOTTOM = 54, 18, 10, 34  # heights: above the bars, a line, before a group, below
MOST_TICKS = 8
STYLE = """
text { font: 12px sans-serif; fill: #1f2328; }
.title { font-size: 14px; font-weight: bold; } .group { font-weight: bold; }
.small { font-size: 11px; fill: #59636e; }
.figure { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
.back { fill: #ffffff; } .grid { stroke: #d1d9e0; } .one { stroke: #1f2328; stroke-width: 1.5; }
.faster { fill: #0969da; } .slower { fill: #bc6c00; } .range { stroke: #818b98; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .small { fill: #9198a1; } .figure { stroke: #0d1117; }
  .back { fill: #0d1117; } .grid { stroke: #3d444d; } .one { stroke: #f0f6fc; }
  .faster { fill: #388bfd; } .slower { fill: #db6d28; } .range { stroke: #b7bdc8; }
}
"""


def draw_stored() -> str:
    """Return the chart of the stored results (str)."""
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
    """Return an SVG image (str).

    Args:
        bars (dict): ratios by group and label.
        processors (list of str): which measured them.
    """
    most = max(ratio.high for group in bars.values() for ratio in group.values())
    step = math.ceil(most / MOST_TICKS)
    last = math.ceil(most / step) * step
    ticks = range(0, last + 1, step)
    end = TOP + sum(GAP + ROW * (1 + len(group)) for group in bars.values()) + GAP
    width, height = LEFT + SCALE + RIGHT, end + BOTTOM
    heading = "minibert's speed / the other side's speed (longer is faster)"
    below = f"Medians, with minimum and maximum. Processor: {'; '.join(processors)}."
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">',
        f"<title>{heading}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="back" width="{width}" height="{height}" rx="6"/>',
        text(16, 22, heading, "title"),
        *(text(x_of(tick, last), TOP - 10, f"{tick}", "small", "middle") for tick in ticks),
        *rows(bars, ticks, last),
        text(16, height - 12, below, "small"),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def rows(bars: Mapping[str, Mapping[str, Ratio]], ticks: range, last: int) -> Iterator[str]:
    """Yield the headings, the bars and the vertical lines, from top to bottom."""
    top = TOP
    for group, labels in bars.items():
        top += GAP + ROW
        bottom = top + ROW * len(labels)
        yield text(16, top - 5, group, "group")
        for tick in ticks:
            yield rule(x_of(tick, last), top, x_of(tick, last), bottom, "grid")
        for i, (label, ratio) in enumerate(labels.items()):
            yield from bar(top + ROW * i, label, ratio, last)
        yield rule(x_of(1, last), top, x_of(1, last), bottom, "one")
        top = bottom


def bar(y: float, label: str, ratio: Ratio, last: int) -> Iterator[str]:
    """Yield the label, the bar, its range and its figure."""
    start, end, middle = x_of(0, last), x_of(ratio.median, last), y + ROW / 2
    colour = "faster" if ratio.median >= 1 else "slower"
    yield text(LEFT - 8, middle + 4, label, "label", "end")
    yield (
        f'<rect class="{colour}" x="{start:.1f}" y="{y + 3:.1f}" width="{end - start:.1f}" '
        f'height="{ROW - 6}"/>'
    )
    yield rule(x_of(ratio.low, last), middle, x_of(ratio.high, last), middle, "range")
    yield text(x_of(max(ratio.high, 1), last) + 6, middle + 4, f"{ratio.median:.2f}", "figure")


def x_of(ratio: float, last: int) -> float:
    """Return the horizontal position of a ratio (float)."""
    return LEFT + SCALE * ratio / last


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    """Return a text element (str)."""
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def rule(x: float, y: float, x2: float, y2: float, kind: str) -> str:
    """Return a line element (str)."""
    return f'<line class="{kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
