"""The figure of chapter 13: five words in pieces, after each merge."""

from docs.make.svg import Drawing
from minibert.tokenization.trainer import merge_pairs

COUNTS = {"play": 5, "plays": 3, "played": 2, "stay": 3, "stayed": 2}  # the chapter's words
MERGES = 6
LETTER, HEIGHT, GAP = 15, 24, 14  # pixels: a letter, a row of pieces, between two words
LEFT, TOP, ROW = 150, 72, 40
START = 5 + 8 + 7  # entries before the first merge: special tokens, first and other letters


def vocabulary() -> str:
    """Return the pieces of five words after each of six merges (SVG)."""
    words = {word: list(word) for word in COUNTS}
    width = sum(LETTER * len(word) + GAP for word in COUNTS)
    drawing = Drawing(
        LEFT + width + 110, TOP + ROW * (MERGES + 1) + 4,
        "A growing vocabulary: each merge makes one new piece (orange)",
    )  # fmt: skip
    x: float = LEFT
    for word, count in COUNTS.items():
        drawing.text(x + LETTER * len(word) / 2, 54, f"{count} times", "small", "middle")
        x += LETTER * len(word) + GAP
    drawing.text(LEFT + width, 54, "tokens", "small")
    drawing.text(LEFT + width + 50, 54, "entries", "small")
    draw_row(drawing, 0, "letters", "", words)
    for step, merged in enumerate(merge_pairs(COUNTS), start=1):
        if step > MERGES:
            break
        words = {word: merge(pieces, merged) for word, pieces in words.items()}
        draw_row(drawing, step, f"{step}. new: {merged}", merged, words)
    return drawing.svg()


def merge(pieces: list[str], merged: str) -> list[str]:
    """Return the pieces of a word, without ##, after the merge that makes a piece (list of str)."""
    begins, text = not merged.startswith("##"), merged.removeprefix("##")
    for i in range(len(pieces) - 1):
        if pieces[i] + pieces[i + 1] == text and begins == (i == 0):
            return merge([*pieces[:i], text, *pieces[i + 2 :]], merged)
    return pieces


def draw_row(
    drawing: Drawing, step: int, label: str, merged: str, words: dict[str, list[str]]
) -> None:
    """Draw all words in pieces, with the number of tokens and of vocabulary entries."""
    y, x = TOP + ROW * step, float(LEFT)
    drawing.text(16, y + HEIGHT / 2 + 4, label, "strong" if merged else "")
    for pieces in words.values():
        for i, piece in enumerate(pieces):
            is_new = merged == (piece if i == 0 else "##" + piece)
            width = LETTER * len(piece)
            drawing.rectangle(x, y, width, HEIGHT, "warm" if is_new else "box", ' rx="4"')
            for j, letter in enumerate(piece):
                drawing.text(x + LETTER * (j + 0.5), y + HEIGHT / 2 + 4, letter, "code", "middle")
            x += width
        x += GAP
    tokens = sum(COUNTS[word] * len(pieces) for word, pieces in words.items())
    drawing.text(x + 18, y + HEIGHT / 2 + 4, f"{tokens}", "", "middle")
    drawing.text(x + 70, y + HEIGHT / 2 + 4, f"{START + step}", "", "middle")


FIGURES = {"vocabulary": vocabulary}
