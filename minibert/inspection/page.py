"""An inspection as one page of HTML that needs nothing else: no network, no library."""

import base64
import json
import os
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from minibert.inspection.walk import Inspection
from minibert.io.atomic import atomic_write

# A weight takes two bytes of the page: from 0 to 1 in steps of 1/65,535; a cosine likewise from
# -1 to 1. With 128 tokens, 12 blocks and 12 heads that makes a page of 7 MB.
WEIGHT, COSINE = 65_535, 32_767


def write_page(
    path: str | os.PathLike,
    title: str,
    inspections: Sequence[Inspection],
    pictures: Sequence[str] = (),
) -> None:
    """Write a page with the inspections, and above them pictures as <svg> elements.

    Raises:
        OSError: it can't be written; what stood there stays whole.
    """
    # In a script, "<" might end it or begin a comment; as an escape it is the same JSON.
    data = json.dumps([_data(each) for each in inspections], allow_nan=False)
    page = (files(__package__) / "page.html").read_text("utf-8")
    page = page.replace("{{title}}", escape(title)).replace("{{pictures}}", "".join(pictures))
    page = page.replace("{{data}}", data.replace("<", "\\u003c"))
    with atomic_write(path) as temporary:
        temporary.write_text(page, "utf-8", newline="\n")


def _data(inspection: Inspection) -> dict[str, Any]:
    """Return what the page's script reads."""
    saliency = inspection.saliency
    return {
        "kind": inspection.kind,
        "text": inspection.text,
        "tokens": inspection.tokens,
        "ids": inspection.ids,
        "cut": inspection.cut,
        "said": inspection.said,
        "score": inspection.score,
        "saliency": None if saliency is None else [_short(value) for value in saliency],
        "stations": [
            [s.part, s.name, list(s.shape), _short(s.norm), _short(s.gradient_norm)]
            for s in inspection.stations
        ],
        "heads": inspection.attentions.shape[1],
        "attentions": _packed(inspection.attentions, WEIGHT, "<u2"),
        "similarities": _packed(inspection.similarities().clip(-1, 1), COSINE, "<i2"),
    }


def _short(number):
    return None if number is None else float(f"{number:.5g}")


def _packed(array, scale, dtype):
    """Return numbers as base64 of small integers."""
    return base64.b64encode(np.rint(array * scale).astype(dtype).tobytes()).decode()
