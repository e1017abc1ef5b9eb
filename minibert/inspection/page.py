"""An inspection as one HTML page without a network or a library."""

import base64
import json
import os
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from minibert.inspection.chapters import chapter_of
from minibert.inspection.walk import Inspection
from minibert.io.outputs import output_file
from minibert.io.text import printable

# Attention weights, from 0 to 1, are stored as uint16; cosines, and hidden states as parts of the
# largest number, from -1 to 1, as int16. With 128 tokens, 12 blocks, 12 heads and 768 units the
# page is 11 MB.
WEIGHT, COSINE = 65_535, 32_767
# The address of the folder docs/course, with a slash at its end, to which the names of chapters are
# links; empty: they are text.
COURSE_URL = ""


def write_page(
    path: str | os.PathLike,
    title: str,
    inspections: Sequence[Inspection],
    pictures: Sequence[str] = (),
) -> None:
    """Write a page with inspections.

    Args:
        path: the file.
        title: of the page.
        inspections: in order.
        pictures: <svg> elements above them.

    Raises:
        OSError: it can't be written; an existing file is left as it is.
    """
    # In a script, "<" might end it or begin a comment; as an escape it is the same JSON.
    data = json.dumps([_data(each) for each in inspections], allow_nan=False)
    parts = {
        "title": escape(printable(title)),
        "pictures": "".join(pictures),
        "data": data.replace("<", "\\u003c"),
    }
    page = (files(__package__) / "page.html").read_text("utf-8")
    # In one pass: a text that contains {{data}} is a text.
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)
    with output_file(path) as temporary:
        temporary.write_text(page, "utf-8", newline="\n")


def _data(inspection: Inspection) -> dict[str, Any]:
    """Return the data (dict) for the page's script."""
    saliency = inspection.saliency
    predicts_tokens = any(a.name == "transform" for a in inspection.activations)
    scales = [float(np.abs(state).max()) or 1.0 for state in inspection.hidden_states]
    states = inspection.hidden_states / np.reshape(scales, (-1, 1, 1))  # (L+1, T, D)
    return {
        "kind": inspection.kind,
        "text": inspection.text,
        "tokens": inspection.tokens,
        "ids": inspection.ids,
        "cut": inspection.cut,
        "predictions": inspection.predictions,
        "score": inspection.score,
        "saliency": None if saliency is None else [_short(value) for value in saliency],
        "activations": [
            [
                *(a.part, a.name, list(a.shape), _short(a.norm), _short(a.gradient_norm)),
                _chapter(a.name, predicts_tokens),
            ]
            for a in inspection.activations
        ],
        "heads": inspection.attentions.shape[1],
        "attentions": _packed(inspection.attentions, WEIGHT, "<u2"),
        "similarities": _packed(inspection.similarities().clip(-1, 1), COSINE, "<i2"),
        "states": _packed(states, COSINE, "<i2"),
        "scales": [_short(scale) for scale in scales],
    }


def _chapter(name: str, predicts_tokens: bool) -> tuple[str, str]:
    """Return the name of the chapter that explains an activation, and its address."""
    chapter = chapter_of(name, predicts_tokens=predicts_tokens)
    if chapter is None:
        return "", ""
    address = COURSE_URL + chapter.file if COURSE_URL else ""
    return f"chapter {chapter.number}, {chapter.title}", address


def _short(number: float | None) -> float | None:
    """Round a number to five digits."""
    return None if number is None else float(f"{number:.5g}")


def _packed(array: np.ndarray, scale: int, dtype: str) -> str:
    """Encode numbers as base64 of small integers."""
    return base64.b64encode(np.rint(array * scale).astype(dtype).tobytes()).decode()
