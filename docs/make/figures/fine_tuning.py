"""The figures of chapter 14: where the gradient of [CLS] flows, and accuracy with few labels."""

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from docs.make.data import load
from docs.make.svg import Axes, Drawing

CORPUS = Path(__file__).parents[3] / "corpora" / "situations"
BENCHMARK = CORPUS.parents[1] / "benchmarks" / "results" / "few_labels.md"  # five seeds
WATCHED = 300  # sentences of the run whose course is stored
REGULARIZATION = (1, 10, 100)  # C of the logistic regression, chosen on dev.tsv


def few_labels_record() -> dict[str, Any]:
    """Collect accuracies with few sentences of corpora/situations, and follow a run (dict)."""
    from minibert.data.tables import read_records
    from minibert.tasks import Examples

    def sentences(split: str) -> Examples:
        rows = read_records(CORPUS / f"{split}.tsv", labelled=True)
        return Examples([row.text for row in rows], None, [row.label for row in rows])

    train, dev, test = (sentences(split) for split in ("train", "dev", "test"))
    found = measured()
    parts = [train.select(range(size)) for size in found["sentences"]]
    found["features"] = of_features(parts, dev, test)
    found["run"] = course(train.select(range(WATCHED)), dev)
    return found


def measured() -> dict[str, Any]:
    """Return the medians in the stored result of `benchmarks.few_labels` (dict of lists)."""
    rows = [line.split("|")[1:5] for line in BENCHMARK.read_text("utf-8").splitlines()]
    cells = [[cell.split()[0] for cell in row] for row in rows if row and row[0].strip().isdigit()]
    sizes, tuned, scratch, tfidf = zip(*cells, strict=True)
    return {
        "sentences": [int(size) for size in sizes],
        "fine-tuned": [float(share.rstrip("%")) for share in tuned],
        "from scratch": [float(share.rstrip("%")) for share in scratch],
        "TF-IDF": [float(share.rstrip("%")) for share in tfidf],
    }


def of_features(parts: list[Any], dev: Any, test: Any) -> list[float]:
    """Return the test accuracies of logistic regression on sentence vectors (list of float)."""
    from sklearn.linear_model import LogisticRegression

    from minibert import FeatureExtractor

    extract = FeatureExtractor.from_pretrained("minilm")
    longest = max(parts, key=len)  # the others are its beginning
    vectors = extract(longest.texts)
    held_out = [(extract(each.texts), list(each.labels)) for each in (dev, test)]
    found = []
    for part in parts:
        models = [
            LogisticRegression(C=c, max_iter=1000).fit(vectors[: len(part)], part.labels)
            for c in REGULARIZATION
        ]
        best = max(models, key=lambda model: model.score(*held_out[0]))
        found.append(round(100 * float(best.score(*held_out[1])), 1))
    return found


def course(part: Any, dev: Any) -> dict[str, list[float]]:
    """Return the training loss and the dev accuracy by epoch, fine-tuning MiniLM (dict)."""
    from minibert.tasks import SingleLabelTask
    from minibert.training.finetuning import FineTuningRun, ModelSource
    from minibert.training.history import read_history

    run = FineTuningRun.start(SingleLabelTask.from_labels(part.labels), part, ModelSource("minilm"))
    with tempfile.TemporaryDirectory() as folder:
        run.train(held_out=dev, run=Path(folder))
        lines = read_history(folder)
    evaluated = [line for line in lines if "held_out_accuracy" in line]
    losses = {line["step"]: line["loss"] for line in lines if "loss" in line}
    means = [
        np.mean([losses[step] for step in range(first + 1, last + 1)])
        for first, last in pairwise([0, *(line["step"] for line in evaluated)])
    ]
    return {
        "training loss": [round(float(mean), 4) for mean in means],
        "dev accuracy": [round(line["held_out_accuracy"], 4) for line in evaluated],
        "dev macro-F1": [round(line["held_out_macro_f1"], 4) for line in evaluated],
    }


COLUMN, BOX, STEP = 92, (72, 34), 84  # pixels: from token to token, a box, from layer to layer
TOKENS = ("[CLS]", "my", "train", "##s", "[SEP]")
LAYERS = ("block 2", "block 1", "embeddings")


def classifier() -> str:
    """Return the path from [CLS] to the logits, and the gradient's way back (SVG)."""
    drawing = Drawing(620, 440, "The classifier reads [CLS]; its gradient reaches every token")
    left, top = 110.0, 134.0
    centres = [left + COLUMN * i + BOX[0] / 2 for i in range(len(TOKENS))]
    tops = [top + STEP * i for i in range(len(LAYERS))]
    for words, y in zip(LAYERS, tops, strict=True):
        drawing.text(16, y + 21, words, "small")
    for x in centres[1:]:
        drawing.arrow((centres[0] + 10, tops[0] + BOX[1]), (x, tops[1] - 1), is_backward=True)
    drawing.arrow((centres[0], tops[0] + BOX[1]), (centres[0], tops[1] - 1), is_backward=True)
    for start in centres:
        for end in centres:
            drawing.line(start, tops[1] + BOX[1], end, tops[2], "back-arrow")
    for i, y in enumerate(tops):
        for j, (token, x) in enumerate(zip(TOKENS, centres, strict=True)):
            is_idle = i == 0 and j > 0
            words = ["not read"] if is_idle else [token if i == 2 else f"x[{j}]"]
            kind = "accent" if j == 0 else "box"
            drawing.box(x - BOX[0] / 2, y, *BOX, words, kind)
    drawing.box(left - 10, 50, 92, 40, ["pooler", "tanh(linear)"], "accent")
    drawing.box(left + 130, 50, 92, 40, ["classifier", "linear"], "accent")
    drawing.box(left + 270, 50, 110, 40, ["loss", "cross-entropy"], "warm")
    drawing.arrow((centres[0] - 14, tops[0]), (centres[0] - 14, 91))
    drawing.arrow((centres[0] + 14, 90), (centres[0] + 14, tops[0] - 1), is_backward=True)
    for x in (left + 82, left + 222):
        drawing.arrow((x, 62), (x + 47, 62))
        drawing.arrow((x + 48, 78), (x + 1, 78), is_backward=True)
    drawing.text(16, 372, "Solid: forward. Dashed: the gradient. Above block 2 only [CLS] has one.")
    drawing.text(16, 392, "Attention of block 2 gives it to the keys and values of all tokens,")
    drawing.text(16, 412, "attention of block 1 from each token to each token.")
    return drawing.svg()


def few_labels() -> str:
    """Return the accuracies by number of labels, and the course of one run (SVG)."""
    data = load("few_labels")
    drawing = Drawing(680, 330, "Few labels: six classes of everyday sentences, MiniLM")
    run = data["run"]
    x = np.log10(data["sentences"])
    left = Axes(drawing, (52, 62, 270, 210), (float(x[0]), float(x[-1])), (0, 100))
    left.ticks([], [0, 20, 40, 60, 80, 100], ("labelled sentences", "test accuracy, %"))
    for count, at in zip(data["sentences"], x, strict=True):
        place, bottom = left.place(float(at), 0)
        drawing.line(place, 62, place, bottom, "grid")
        drawing.text(place, bottom + 16, f"{count:,}", "small", "middle")
    names = ("fine-tuned", "features", "TF-IDF", "from scratch")
    lines = {name: list(zip(map(float, x), data[name], strict=True)) for name in names}
    left.curves(lines, (222, 220))
    epochs = range(1, len(run["training loss"]) + 1)
    right = Axes(drawing, (390, 62, 270, 210), (1, len(epochs)), (0, 2))
    right.ticks([1, 5, 9, 13], [0, 0.5, 1, 1.5, 2], ("epoch", f"a run on {WATCHED} sentences"))
    right.curves(
        {
            "training loss (nats)": list(zip(epochs, run["training loss"], strict=True)),
            "dev accuracy (share)": list(zip(epochs, run["dev accuracy"], strict=True)),
        },
        (490, 80),
    )
    return drawing.svg()


FIGURES = {"classifier": classifier, "few_labels": few_labels}
RECORDS = {"few_labels": few_labels_record}
