"""The tool of chapter 1 finds bugs in copies of by_hand.py, and names the parameter above them."""

import contextlib
import io
from pathlib import Path

import pytest

from docs.make import pages

CHAPTER = Path(__file__).parents[2] / "docs" / "course" / "01-gradients.md"


@pytest.fixture(scope="module")
def chapter():
    """Return the names that the chapter's code defines (dict)."""
    namespace = {"__name__": "page"}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in pages.blocks(CHAPTER.read_text("utf-8")):
            if block.language == "python":
                exec(compile(block.text, "chapter 1", "exec"), namespace)
    return namespace


@pytest.mark.parametrize(
    ("right", "wrong", "labels", "nearest"),
    [
        ("dh = dsum + linear", "dh = linear", "words", "layer.1.attention.output.LayerNorm.bias"),
        ("return dsum + heads", "return heads", "words", "layer.0.output.LayerNorm.bias"),
        ("probability + x * density", "probability", "words", "transform.dense.bias"),
        ("dk = dscores.swapaxes(-1, -2) @", "dk = dscores @", "words", "1.attention.self.key.bias"),
        ("types, dsum)", "types, dsum / 2)", "classes", "token_type_embeddings.weight"),
        ("(1 - pooled**2)", "(1 - pooled)", "classes", "pooler.dense.bias"),
        ("/= math.sqrt(q.shape[-1])", "/= q.shape[-1]", "words", "1.attention.self.key.weight"),
    ],
)
def test_check_names_the_parameter_nearest_to_the_loss(
    right, wrong, labels, nearest, chapter, capsys
):
    chapter["check"](chapter["planted"](right, wrong), chapter[labels])
    assert capsys.readouterr().out.splitlines()[1].endswith(nearest)


def test_a_wrong_forward_with_its_right_backward_changes_the_loss_alone(chapter, capsys):
    queries = chapter["planted"]("mask[:, None, None, :])", "mask[:, None, :, None])")
    for module in (chapter["by_hand"], queries):
        chapter["check"](module, chapter["words"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(" 0 of 42 wrong")
    assert second.endswith(" 0 of 42 wrong")
    assert first != second
