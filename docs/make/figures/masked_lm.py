"""The figure of chapter 10: the word table is used twice, so two gradients are added."""

import numpy as np

from docs.make.svg import Drawing
from minibert import by_hand

TOKENS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "cat", "dog", "sat")
STEPS = (
    ("look-up", "x = E[ids] + …"),
    ("blocks", "x"),
    ("transform", "h"),
    ("product", "h Eᵀ + c"),
)
WIDTH, TOP, BOTTOM = 112, 66, 112  # of the steps' boxes
FORWARD, BACKWARD = 80, 98  # heights of the arrows
CELL = (22, 18)


def masked_lm() -> str:
    """Return both uses of the word table, and both gradients of chapter 0's batch (SVG)."""
    drawing = Drawing(640, 432, "One table, two uses, two gradients")
    drawing.text(16, FORWARD + 4, "ids")
    starts = [56 + (WIDTH + 28) * i for i in range(len(STEPS))]
    for start, lines in zip(starts, STEPS, strict=True):
        uses_table = start in (starts[0], starts[-1])
        kind = "accent" if uses_table else "box"
        drawing.box(start, TOP, WIDTH, BOTTOM - TOP, lines, kind)
        drawing.arrow((max(start - 28, 36), FORWARD), (start, FORWARD))
        if start > starts[0]:
            drawing.arrow((start, BACKWARD), (start - 28, BACKWARD), is_backward=True)
    end = starts[-1] + WIDTH
    drawing.text(end - WIDTH / 2, TOP - 10, "logits, then the loss", "small", "middle")
    _table(drawing, starts[0] + WIDTH / 2, starts[-1] + WIDTH / 2)
    _gradients(drawing)
    return drawing.svg()


def _table(drawing: Drawing, first: float, last: float) -> None:
    """Add the table, and the arrows to both uses and back."""
    drawing.box(250, 142, 140, 44, ["E, the word table", "(V, D) = (9, 6)"], "accent")
    for x, edge, name in ((first, 250, "dE₁"), (last, 390, "dE₂")):
        drawing.arrow((edge, 155), (x - 6, 155), (x - 6, BOTTOM))
        drawing.arrow((x + 6, BOTTOM), (x + 6, 173), (edge, 173), is_backward=True)
        drawing.text((x + edge) / 2, 190, name, "strong", "middle")


def _gradients(drawing: Drawing) -> None:
    """Add both gradients of the table and their sum."""
    lookup, head = table_gradients()
    largest = float(np.abs(lookup + head).max())
    titles = {"dE₁: rows of the ids shown": lookup, "dE₂: every row": head,
              "dE = dE₁ + dE₂": lookup + head}  # fmt: skip
    for i, (title, gradient) in enumerate(titles.items()):
        x = 74 + 194 * i
        rows = TOKENS if i == 0 else ()
        drawing.text(x, 232, title, "strong")
        drawing.grid(x, 242, gradient.tolist(), rows, cell=CELL, form="", largest=largest)
        if i:
            drawing.text(x - 31, 242 + CELL[1] * 4.5 + 4, "+="[i - 1], "strong", "middle")
    words = "Blue: positive, orange: negative. The batch is that of chapter 0."
    drawing.text(16, 422, words, "small")


def table_gradients() -> tuple[np.ndarray, np.ndarray]:
    """Return the word table's gradients from the look-up and from the head, (V, D) each."""
    ids, types, mask = by_hand.encode([["the", "cat", "sat"], ["a", "dog"]], list(TOKENS))
    hidden = ids >= TOKENS.index("cat")
    shown, labels = np.where(hidden, by_hand.MASK, ids), np.where(hidden, ids, by_hand.IGNORED)
    p = by_hand.initial_params(V=9, D=6, F=8, L=2, T=5, C=2, std=0.4, seed=0)
    g = {name: np.zeros_like(array) for name, array in p.items()}
    x, body_cache = by_hand.body_forward(p, (shown, types, mask), K=3)
    logits, head_cache = by_hand.mlm_head_forward(p, x)
    _, loss_cache = by_hand.cross_entropy_forward(logits, labels)
    dx = by_hand.mlm_head_backward(by_hand.cross_entropy_backward(loss_cache), head_cache, p, g)
    head = g[by_hand.WORD].copy()
    by_hand.body_backward(dx, body_cache, p, g)
    return g[by_hand.WORD] - head, head


FIGURES = {"masked-lm": masked_lm}
