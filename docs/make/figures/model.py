"""The figure of chapter 0, also the README's: BERT with its shapes, forward and backward."""

from docs.make.svg import Drawing

# The sizes of the chapter's model.
SIZES = {"B": 2, "T": 5, "D": 6, "K": 3, "H": 2, "F": 8, "L": 2, "V": 9}
TOKENS = (("[CLS]", 1), ("the", 4), ("[MASK]", 3), ("[MASK]", 3), ("[SEP]", 2))
LEFT, RIGHT = 84, 464  # of the boxes
INNER_LEFT, INNER_RIGHT = 132, 446  # of those in a block
SIDE_LEFT, SIDE_RIGHT = 110, 456  # of the residuals
FORWARD, BACKWARD = 168, 362  # of the arrows
NOTES = 480  # of the column of parameters


def model() -> str:
    """Return the steps of a masked-LM BERT with their arrays, chapters and parameters (SVG)."""
    drawing = Drawing(700, 762, "BERT with its shapes: forward to the loss, gradients back")
    heads = {
        16: "chapters",
        FORWARD - 4: "↓ forward",
        BACKWARD - 4: "↑ backward",
        NOTES: "parameters",
    }
    for x, words in heads.items():
        drawing.text(x, 48, words, "small")
    _tokens(drawing, 60)
    _flow(drawing, 100, 134, "ids", "BT")
    drawing.text(BACKWARD - 4, 121, "ids have none", "small")
    _step(drawing, 134, 44, "8, 4", ["embeddings", "word + position + segment, layer norm"],
          ["word (V, D), position (T, D),", "segment (2, D), norm 2 D: 108"])  # fmt: skip
    drawing.rectangle(LEFT, 212, RIGHT - LEFT, 272, "box", ' rx="5"')
    _flow(drawing, 178, 240, "x", "BTD", label=200)
    _block(drawing)
    _flow(drawing, 468, 518, "x", "BTD", label=506)
    _step(drawing, 518, 44, "10", ["masked-LM head", "linear, GELU, layer norm, times word tableᵀ"],
          ["(D, D) + D, norm 2 D, bias V: 63", "and the word table again (tied)"])  # fmt: skip
    _tie(drawing, 148, 548)
    _flow(drawing, 562, 596, "logits", "BTV")
    _step(drawing, 596, 44, "3", ["softmax, cross-entropy",
          "labels: cat, sat, dog, at the M = 3 masked tokens"], ["none"])  # fmt: skip
    _flow(drawing, 640, 674, "loss", "")
    _step(drawing, 674, 44, "11, 12", ["one step of AdamW", "each parameter moves against its "
          "gradient"], ["all: 108 + 2 · 302 + 63 = 775"], kind="warm")  # fmt: skip
    drawing.text(16, 748, "B sequences, T tokens, D hidden size, K heads of size H, F feed-forward "
                 "size, L blocks, V vocabulary, M masked", "small")  # fmt: skip
    return drawing.svg()


def _tokens(drawing: Drawing, top: float) -> None:
    """Add the tokens of the first sentence with their ids."""
    width = (RIGHT - LEFT) / len(TOKENS)
    for i, (token, number) in enumerate(TOKENS):
        drawing.box(LEFT + width * i + 2, top, width - 4, 40, [token, f"{number}"],
                    "warm" if token == "[MASK]" else "box")  # fmt: skip
    drawing.text(16, top + 24, "13, 10", "strong")
    for i, words in enumerate(("“the cat sat”, two words masked:", "one of B = 2 sentences")):
        drawing.text(NOTES, top + 16 + 16 * i, words, "small")


def _step(
    drawing: Drawing, top: float, height: float, chapters: str, lines: list[str], notes: list[str],
    kind: str = "accent", is_inner: bool = False,
) -> None:  # fmt: skip
    """Add a step: its chapters, its box and its parameters."""
    left, right = (INNER_LEFT, INNER_RIGHT) if is_inner else (LEFT, RIGHT)
    drawing.box(left, top, right - left, height, lines, kind)
    middle = top + height / 2 + 4
    drawing.text(16, middle, chapters, "strong")
    for i, words in enumerate(notes):
        drawing.text(NOTES, middle - 8 * (len(notes) - 1) + 16 * i, words, "small")


def _flow(
    drawing: Drawing, top: float, bottom: float, name: str, letters: str, label: float = 0
) -> None:
    """Add the arrows between two steps; `label` is the base line of the names, 0: between them."""
    label = label or (top + bottom) / 2 + 4
    drawing.arrow((FORWARD, top), (FORWARD, bottom))
    shape = f" ({', '.join(letters)}) = ({', '.join(str(SIZES[one]) for one in letters)})"
    drawing.text(FORWARD + 9, label, name + (shape if letters else ", one number"))
    if name != "ids":
        drawing.arrow((BACKWARD, bottom), (BACKWARD, top), is_backward=True)
        drawing.text(BACKWARD + 9, label, f"d{name}" + ("" if letters else " = 1"))


def _block(drawing: Drawing) -> None:
    """Add the inside of a block, from y = 212 to 484."""
    drawing.text(16, 230, "L = 2", "strong")
    drawing.text(16, 246, "blocks", "strong")
    norm, added = "2 D: 12", "+ residual, layer norm"
    attention = ["attention, K heads", "q, k, v (B, K, T, H) = (2, 3, 5, 2)",
                 "weights (B, K, T, T) = (2, 3, 5, 5)"]  # fmt: skip
    _step(drawing, 240, 60, "2, 3, 6, 7", attention, ["4 maps (D, D) + D: 168"], is_inner=True)
    _step(drawing, 320, 24, "9, 4", [added], [norm], "box", is_inner=True)
    _flow(drawing, 344, 380, "h", "BTD")
    feed_forward = ["feed-forward", "linear, GELU, linear; (B, T, F) = (2, 5, 8)"]
    _step(drawing, 380, 44, "2, 5", feed_forward, ["(F, D) + F, (D, F) + D: 110"], is_inner=True)
    _step(drawing, 444, 24, "9, 4", [added], [norm + ", block: 302"], "box", is_inner=True)
    for top in (300, 424):
        drawing.arrow((FORWARD, top), (FORWARD, top + 20))
        drawing.arrow((BACKWARD, top + 20), (BACKWARD, top), is_backward=True)
    for start, end in ((222, 332), (352, 456)):
        drawing.arrow((FORWARD, start), (SIDE_LEFT, start), (SIDE_LEFT, end), (INNER_LEFT, end))
        drawing.arrow((INNER_RIGHT, end), (SIDE_RIGHT, end), (SIDE_RIGHT, start),
                      (BACKWARD, start), is_backward=True)  # fmt: skip


def _tie(drawing: Drawing, top: float, bottom: float) -> None:
    """Add an arrow to each of the two uses of the word table."""
    x = 652
    drawing.arrow((x, (top + bottom) / 2), (x, top), (x - 12, top))
    drawing.arrow((x, (top + bottom) / 2), (x, bottom), (x - 12, bottom))


FIGURES = {"model": model}
