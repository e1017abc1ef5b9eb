"""An inspection as lines of text."""

from collections.abc import Iterator, Sequence
from typing import Any

from minibert.inspection.activations import shape_text
from minibert.inspection.walk import Inspection
from minibert.io.text import printable
from minibert.tasks.metrics import format_table

TOKENS = 3  # with the largest attention weights, in the summary of a block


def printed(inspection: Inspection) -> Iterator[str]:
    """Yield the lines of an inspection.

    The predictions, the tokens, each activation with its shape and norm, the attention weights of
    [CLS], and the gradient norms if there are gradients.
    """
    yield from map(printable, _lines(inspection))


def _lines(inspection: Inspection) -> Iterator[str]:
    yield f"{inspection.kind}: {inspection.text}"
    if inspection.cut:
        yield f"the last {inspection.cut} tokens are cut; the model has no positions for them"
    for place, answers in inspection.predictions:
        yield f"{place}: " + ", ".join(f"{name} {share:.1%}" for name, share in answers)
    yield ""
    yield from _tokens(inspection)
    yield ""
    header = ["", "shape", "norm"]
    rows = [[a.name, shape_text(a.shape), f"{a.norm:.4g}"] for a in inspection.activations]
    yield from _by_part(header, rows, [a.part for a in inspection.activations])
    yield ""
    yield "attention weights of [CLS], mean of the heads, by block:"
    for i, heads in enumerate(inspection.attentions, start=1):
        shares = heads.mean(axis=0)[0]  # (K, T, T) -> (T,)
        most = sorted(range(len(shares)), key=lambda t: -shares[t])[:TOKENS]
        yield f"  block {i}: " + ", ".join(f"{inspection.tokens[t]} {shares[t]:.1%}" for t in most)
    if inspection.score:
        yield ""
        yield f"gradients, output to input, of the score of {inspection.score}:"
        back = inspection.activations[::-1]
        rows = [[a.name, shape_text(a.shape), _number(a.gradient_norm)] for a in back]
        yield from _by_part(["", "shape", "gradient norm"], rows, [a.part for a in back])


def _number(norm: float | None) -> str:
    return "-" if norm is None else f"{norm:.4g}"


def _tokens(inspection: Inspection) -> Iterator[str]:
    """Yield a table of the tokens, with their saliency."""
    header = ["token", "id"]
    columns: list[Sequence[Any]] = [inspection.tokens, inspection.ids]
    if inspection.saliency is not None:
        header.append("gradient x input")
        columns.append([f"{value:+.4f}" for value in inspection.saliency])
    yield from format_table(header, zip(*columns, strict=True)).splitlines()


def _by_part(
    header: Sequence[str], rows: Sequence[Sequence[str]], parts: Sequence[str]
) -> Iterator[str]:
    """Yield a table's lines, with a heading before each part."""
    table = format_table(header, [[f"  {name}", *rest] for name, *rest in rows])
    first, *lines = table.splitlines()
    yield first
    before = None
    for part, line in zip(parts, lines, strict=True):
        if part != before:
            yield part
            before = part
        yield line
