"""An inspection as lines of text."""

from collections.abc import Iterator

from minibert.inspection.walk import Inspection
from minibert.tasks.metrics import format_table

TOKENS = 3  # that each token reads most, in the summary of a block's attention


def printed(inspection: Inspection) -> Iterator[str]:
    """Yield the lines that tell what a text went through.

    What is said, the tokens, each station with its shape and its norm, what the tokens read, and,
    where a gradient was taken, the way home.
    """
    yield f"{inspection.kind}: {inspection.text}"
    if inspection.cut:
        yield f"the last {inspection.cut} tokens don't fit into the model's positions"
    for place, answers in inspection.said:
        yield f"{place}: " + ", ".join(f"{name} {share:.1%}" for name, share in answers)
    yield ""
    yield from _tokens(inspection)
    yield ""
    header = ["", "shape", "norm"]
    rows = [[s.name, _shape(s), f"{s.norm:.4g}"] for s in inspection.stations]
    yield from _by_part(header, rows, [s.part for s in inspection.stations])
    yield ""
    yield "what [CLS] reads, the heads' mean, layer by layer:"
    for i, heads in enumerate(inspection.attentions, start=1):
        shares = heads.mean(axis=0)[0]  # (K, T, T) -> (T,)
        most = sorted(range(len(shares)), key=lambda t: -shares[t])[:TOKENS]
        yield f"  block {i}: " + ", ".join(f"{inspection.tokens[t]} {shares[t]:.1%}" for t in most)
    if inspection.score:
        yield ""
        yield f"the gradient's way home, from the score of {inspection.score}:"
        back = inspection.stations[::-1]
        rows = [[s.name, _shape(s), f"{s.gradient_norm:.4g}"] for s in back]
        yield from _by_part(["", "shape", "norm of the gradient"], rows, [s.part for s in back])


def _shape(station):
    return " x ".join(map(str, station.shape))


def _tokens(inspection):
    header = ["token", "id"]
    columns = [inspection.tokens, inspection.ids]
    if inspection.saliency is not None:
        header.append("gradient x input")
        columns.append([f"{value:+.4f}" for value in inspection.saliency])
    yield from format_table(header, zip(*columns, strict=True)).splitlines()


def _by_part(header, rows, parts):
    """Yield a table's lines, with a line before each part that names it."""
    first, *lines = format_table(
        header, [[f"  {name}", *rest] for name, *rest in rows]
    ).splitlines()
    yield first
    before = None
    for part, line in zip(parts, lines, strict=True):
        if part != before:
            yield part
            before = part
        yield line
