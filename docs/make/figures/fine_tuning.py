"""The figures of chapter 14: where the gradient of [CLS] flows, and accuracy with few labels."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from docs.make.data import load
from docs.make.svg import Axes, Drawing

CORPUS = Path(__file__).parents[3] / "corpora" / "situations"
SIZES = (50, 100, 300, 1469)  # sentences to train on
WATCHED = 300  # sentences of the run whose course is stored
FROZEN = (3, 6)  # numbers of frozen blocks; the embeddings are frozen too
REGULARIZATION = (1, 10, 100)  # C of the logistic regression, chosen on dev.tsv


def few_labels_record() -> dict[str, Any]:
    """Fine-tune MiniLM on few sentences of corpora/situations, and do without (dict)."""
    from minibert.data.tables import read_records
    from minibert.tasks import Examples, SingleLabelTask
    from minibert.training import ModelSource

    def sentences(split: str) -> Examples:
        rows = read_records(CORPUS / f"{split}.tsv", labelled=True)
        return Examples([row.text for row in rows], None, [row.label for row in rows])

    train, dev, test = (sentences(split) for split in ("train", "dev", "test"))
    task = SingleLabelTask.from_labels(train.labels)
    minilm = ModelSource("minilm")
    curve: dict[str, list[float]] = {"labels": list(SIZES)}
    for size in SIZES:
        part = train.select(range(size))
        accuracies = {
            "fine-tuned": fine_tuned(task, part, test, minilm),
            "from scratch": fine_tuned(task, part, test, ModelSource()),
            "features": of_features(task, part, dev, test),
            "TF-IDF": task.baseline(part, test)[1].figures()["accuracy"],
        }
        for name, accuracy in accuracies.items():
            curve.setdefault(name, []).append(round(accuracy, 4))
    watched = train.select(range(WATCHED))
    frozen = [fine_tuned(task, watched, test, minilm, freeze=count) for count in FROZEN]
    return {
        "curve": curve,
        "frozen": {"blocks": list(FROZEN), "accuracy": [round(value, 4) for value in frozen]},
        "run": course(task, watched, dev, minilm),
        "test sentences": len(test),
    }


def fine_tuned(task: Any, part: Any, test: Any, source: Any, **settings: Any) -> float:
    """Return the test accuracy of a model after the default recipe (float)."""
    from minibert.training import FineTuningRun, evaluate

    run = FineTuningRun.start(task, part, source, settings=settings)
    run.train()
    return evaluate(run.model, run.tokenizer, task, test).figures()["accuracy"]


def of_features(task: Any, part: Any, dev: Any, test: Any) -> float:
    """Return the test accuracy of logistic regression on sentence vectors (float)."""
    from sklearn.linear_model import LogisticRegression

    from minibert import FeatureExtractor

    extract = FeatureExtractor.from_pretrained("minilm")
    vectors = [extract(each.texts) for each in (part, dev, test)]
    labels = [[task.encode_label(label) for label in each.labels] for each in (part, dev, test)]
    models = [
        LogisticRegression(C=c, max_iter=1000).fit(vectors[0], labels[0]) for c in REGULARIZATION
    ]
    best = max(models, key=lambda model: model.score(vectors[1], labels[1]))
    return float(best.score(vectors[2], labels[2]))


def course(task: Any, part: Any, dev: Any, source: Any) -> dict[str, list[float]]:
    """Return the training loss and the dev accuracy of each epoch of a run (dict of lists)."""
    from minibert.training import FineTuningRun
    from minibert.training.history import read_history

    run = FineTuningRun.start(task, part, source)
    with tempfile.TemporaryDirectory() as folder:
        run.train(held_out=dev, run=Path(folder))
        lines = read_history(folder)
    evaluated = [line for line in lines if "held_out_accuracy" in line]
    steps = [0, *(line["step"] for line in evaluated)]
    losses = {line["step"]: line["loss"] for line in lines if "loss" in line}
    means = [
        np.mean([losses[step] for step in range(first + 1, last + 1)])
        for first, last in zip(steps, steps[1:], strict=False)
    ]
    return {
        "steps": steps[1:],
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
    curve, run = data["curve"], data["run"]
    x = np.log10(curve["labels"])
    left = Axes(drawing, (52, 62, 270, 210), (float(x[0]), float(x[-1])), (0, 1))
    left.ticks([], [0, 0.2, 0.4, 0.6, 0.8, 1], ("labelled sentences", "test accuracy"))
    for count, at in zip(curve["labels"], x, strict=True):
        place, bottom = left.place(float(at), 0)
        drawing.line(place, 62, place, bottom, "grid")
        drawing.text(place, bottom + 16, f"{count:,}", "small", "middle")
    names = ("fine-tuned", "features", "TF-IDF", "from scratch")
    lines = {name: list(zip(map(float, x), curve[name], strict=True)) for name in names}
    left.curves(lines, (212, 190))
    epochs = range(1, len(run["steps"]) + 1)
    right = Axes(drawing, (390, 62, 270, 210), (1, len(epochs)), (0, 2))
    right.ticks([1, 5, 9, 13], [0, 0.5, 1, 1.5, 2], ("epoch", f"one run on {WATCHED} sentences"))
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
