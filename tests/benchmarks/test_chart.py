"""The chart of speed: its marks are where they belong, and its text does not overlap."""

import re
from itertools import pairwise
from xml.etree import ElementTree

from benchmarks.stored import Ratio
from docs.make.figures.speed import ROW, draw, groups, speed

BARS = {
    "Group <1>": {"fast & good": Ratio(4.0, 2.0, 5.5), "slow": Ratio(0.5, 0.25, 0.75)},
    "Group 2": {"equal": Ratio(1.0, 1.0, 1.0)},
}
SPACE = "{http://www.w3.org/2000/svg}"


def elements(image, tag, kind):
    """Return the attributes of all elements of a class (list of dict)."""
    found = ElementTree.fromstring(image).iter(SPACE + tag)
    return [
        one.attrib | {"text": one.text} for one in found if kind in one.get("class", "").split()
    ]


def test_bars_are_as_long_as_their_ratios():
    image = draw(BARS, ["a processor"])
    (one, _) = elements(image, "line", "one")
    start = float(elements(image, "rect", "slower")[0]["x"])
    unit = float(one["x1"]) - start
    widths = [
        float(bar["width"]) / unit
        for colour in ("faster", "slower")
        for bar in elements(image, "rect", colour)
    ]
    assert [round(width, 2) for width in widths] == [4.0, 1.0, 0.5]
    low, high = (
        (float(elements(image, "line", "range")[0][x]) - start) / unit for x in ("x1", "x2")
    )
    assert (round(low, 2), round(high, 2)) == (2.0, 5.5)


def test_labels_and_the_processor_are_written():
    image = draw(BARS, ["one & two", "three"])
    assert [one["text"] for one in elements(image, "text", "group")] == ["Group <1>", "Group 2"]
    labels = [one["text"] for one in elements(image, "text", "label")]
    assert labels == ["fast & good", "slow", "equal"]
    assert elements(image, "text", "small")[-1]["text"].endswith("Processor: one & two; three.")


def test_lines_of_text_do_not_overlap():
    image = speed()
    left = [*elements(image, "text", "label"), *elements(image, "text", "group")]
    heights = sorted(float(one["y"]) for one in left)
    assert min(b - a for a, b in pairwise(heights)) >= ROW - 3
    assert max(len(one["text"]) for one in elements(image, "text", "label")) <= 38
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', image).groups())
    for one in elements(image, "text", "figure"):
        assert float(one["x"]) <= width - 40
        assert float(one["y"]) < height


def test_ticks_of_large_ratios_are_few():
    image = draw({"group": {"label": Ratio(30.0, 20.0, 41.0)}}, [])
    ticks = [one["text"] for one in elements(image, "text", "small")[:-1]]
    assert ticks == ["0", "6", "12", "18", "24", "30", "36", "42"]


def test_groups_are_named_by_the_title_and_what_their_bars_have_in_common():
    head = "| model | batch | side | minibert / side |\n|---|---|---|---|\n"
    first = (
        f"# A\n\n{head}| tiny | 4 x 8 | X | 1.0 (1 to 1) |\n| mini | 4 x 8 | X | 2.0 (1 to 3) |\n"
    )
    second = "# B\n\n| job | minibert / Rust |\n|---|---|\n| j | 1.0 (1 to 1) |\n"
    found = groups([first, second])
    assert list(found) == ["A: tiny, 4 x 8", "A: mini, 4 x 8", "B"]
    assert found["A: mini, 4 x 8"] == {"X": Ratio(2.0, 1.0, 3.0)}
