"""A run's curves as an SVG picture, with nothing but text."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 260, 48, 28, 24
COLOURS = ("#4477aa", "#ee6677", "#228833", "#997700")  # Tol (2021), readable for all
Points = Sequence[tuple[float, float]]


def curves(title: str, lines: Mapping[str, Points], unit: str) -> str:
    """Draw lines of one unit over the steps: an <svg> element.

    Args:
        title: above them.  lines: points (step, value) by their names.  unit: of the values.

    Raises:
        ValueError: there is no point.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        raise ValueError(f"{title}: expected points to draw, got none")
    last = max(step for step, _ in points)
    low, high = (edge(value for _, value in points) for edge in (min, max))
    high = high if high > low else low + 1
    width, height = WIDTH - LEFT - 8, HEIGHT - TOP - BOTTOM

    def place(point):
        step, value = point
        x = LEFT + width * step / last
        return f"{x:.1f},{TOP + height * (high - value) / (high - low):.1f}"

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text x="{LEFT}" y="14" class="title">{escape(title)}</text>',
    ]
    for i in range(5):
        value = low + (high - low) * i / 4
        y = TOP + height * (high - value) / (high - low)
        parts.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{WIDTH - 8}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="tick end">{value:.3g}</text>')
    bottom = HEIGHT - BOTTOM + 18
    parts.append(f'<text x="{LEFT}" y="{bottom}" class="tick">step 0</text>')
    parts.append(f'<text x="{WIDTH - 8}" y="{bottom}" class="tick end">{last:,.0f}</text>')
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(map(place, line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        # To the right: losses begin high on the left.
        parts.append(f'<text x="{WIDTH - 12}" y="{TOP + 16 + 16 * i}" fill="{colour}" '
                     f'class="end">{escape(name)}, {escape(unit)}</text>')  # fmt: skip
    return "".join([*parts, "</svg>"])


def smoothed(points: Points, share: float = 0.95) -> Points:
    """Let each value count for a little and the mean of those before for the rest; thin them out.

    >>> smoothed([(1, 1.0), (2, 3.0)], 0.5)
    [(1, 1.0), (2, 2.0)]
    """
    mean, out = None, []
    for step, value in points:
        mean = value if mean is None else share * mean + (1 - share) * value
        out.append((step, mean))
    thin = max(len(out) // 400, 1)
    kept = [a for i, (a, _) in enumerate(pairwise(out)) if i % thin == 0]
    return [*kept, out[-1]] if out else []
