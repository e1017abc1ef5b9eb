"""The figures of chapter 12: the curves of a run, its gradients by layer, and two failed runs.

Their data are those of real runs on the text of `minibert demo`, the documentation installed with
Python and NumPy; so they depend on both versions, which are stored with them.
"""

import math
import platform
from collections import defaultdict
from typing import Any

from docs.make import data
from docs.make.svg import Axes, Drawing

EVERY = 20  # steps whose mean is one point
EVALUATE_EVERY = 100
FEW = 256  # sequences of the run that overfits
RUNS: dict[str, dict[str, Any]] = {  # arguments of `_train`
    "plain": {"steps": 2400},
    "demo": {"steps": 1000, "recipe": "2"},
    "few": {"steps": 1200, "sequences": FEW},
    "fast": {"steps": 600, "learning_rate": 0.02},
}
LAYERS = ("embeddings", "block 1", "block 2", "head")  # by the depth of their parameters
AREA_LEFT, AREA_WIDTH = 62, 540  # of all charts


def curves() -> str:
    """Return losses, rate and gradient norm of the plain run, and the loss of the demo (SVG)."""
    run, demo = (data.load("training")[name] for name in ("plain", "demo"))
    last = run["steps"][-1]
    drawing = Drawing(640, 600, "A run of BERT-tiny: losses, learning rate, gradient norm")
    axes = Axes(drawing, (AREA_LEFT, 60, AREA_WIDTH, 250), x=(0, last), y=(3, 9))
    axes.ticks(range(0, last + 1, 400), range(3, 10), ("", "loss in nats"))
    axes.curves(
        {
            f"training, means of {EVERY} steps": points(run, "loss"),
            "held out": list(zip(run["evaluated"], run["held_out_loss"], strict=True)),
            "unigram baseline": [(0, run["unigram_loss"]), (last, run["unigram_loss"])],
            "recipe 2: held out": list(zip(demo["evaluated"], demo["held_out_loss"], strict=True)),
        },
        corner=(400, 82),
    )
    axes = Axes(drawing, (AREA_LEFT, 352, AREA_WIDTH, 70), x=(0, last), y=(0, 0.002))
    axes.ticks(range(0, last + 1, 400), [0, 0.001, 0.002], ("", "learning rate"))
    axes.curves({"learning rate": points(run, "rate")})
    top = max(run["norm"])
    axes = Axes(drawing, (AREA_LEFT, 464, AREA_WIDTH, 90), x=(0, last), y=(0, math.ceil(top)))
    axes.ticks(range(0, last + 1, 400), range(math.ceil(top) + 1),
               ("step", "gradient norm before clipping"))  # fmt: skip
    axes.curves({"norm": points(run, "norm")})
    return drawing.svg()


def norms() -> str:
    """Return the gradient norms of embeddings, blocks and head of the plain run (SVG)."""
    run = data.load("training")["plain"]
    last, layers = run["steps"][-1], run["layers"]
    top = math.ceil(5 * max(max(layers[name]) for name in LAYERS)) / 5
    drawing = Drawing(640, 360, "Gradient norms by layer, before clipping")
    axes = Axes(drawing, (AREA_LEFT, 60, AREA_WIDTH, 250), x=(0, last), y=(0, top))
    ticks = [0.2 * i for i in range(round(5 * top) + 1)]
    axes.ticks(range(0, last + 1, 400), ticks, ("step", "gradient norm"), ("g", ".1f"))
    lines = {name: list(zip(run["steps"], layers[name], strict=True)) for name in LAYERS}
    axes.curves(lines, corner=(130, 82))
    return drawing.svg()


def failures() -> str:
    """Return the losses of a run on few texts and of one with too high a rate (SVG)."""
    runs = data.load("training")
    few, fast, unigram = runs["few"], runs["fast"], runs["plain"]["unigram_loss"]
    last, top = few["steps"][-1], math.ceil(max(few["held_out_loss"] + fast["loss"]))
    drawing = Drawing(640, 400, "Two runs that failed: too few texts, too high a learning rate")
    axes = Axes(drawing, (AREA_LEFT, 60, AREA_WIDTH, 290), x=(0, last), y=(0, top))
    axes.ticks(range(0, last + 1, 200), range(top + 1), ("step", "loss in nats"))
    axes.curves(
        {
            f"{FEW} sequences: training": points(few, "loss"),
            f"{FEW} sequences: held out": list(
                zip(few["evaluated"], few["held_out_loss"], strict=True)
            ),
            "learning rate 0.02: training": points(fast, "loss"),
            "unigram baseline": [(0, unigram), (last, unigram)],
        },
        corner=(86, 286),
    )
    return drawing.svg()


def points(run: dict[str, Any], name: str) -> list[tuple[float, float]]:
    """Return the points of a curve (list of pairs)."""
    return list(zip(run["steps"], run[name], strict=True))


def training() -> dict[str, Any]:
    """Train by recipe 1, as the demo does, and once each with few texts and too high a rate.

    Returns:
        by run: steps, and at each of them the mean over `EVERY` steps of training loss, learning
        rate, gradient norm, and gradient norm by layer; and the losses and accuracies held out.
    """
    import numpy as np

    from minibert.cli.demo import LENGTH, VOCABULARY
    from minibert.data.builtin.corpus import builtin_corpus
    from minibert.data.builtin.docstrings import read_documents
    from minibert.data.corpus import pack
    from minibert.tokenization import WordPieceTokenizer

    corpus = builtin_corpus(read_documents())
    paragraphs = [text for document in corpus.train for text in document]
    tokenizer = WordPieceTokenizer.train(paragraphs, VOCABULARY)
    rows, held_out = (pack(side, tokenizer, LENGTH) for side in (corpus.train, corpus.held_out))
    versions = {"Python": platform.python_version(), "NumPy": np.__version__}
    sizes = {"sequences": len(rows), "held out": len(held_out), "tokens": len(tokenizer)}
    found = {name: _train(tokenizer, rows, held_out, **run) for name, run in RUNS.items()}
    return {"versions": versions, "sizes": sizes, **found}


def _train(
    tokenizer: Any,
    rows: Any,
    held_out: Any,
    steps: int,
    *,
    recipe: str = "1",
    sequences: int | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return the curves of one run on some sequences; None: on all."""
    from minibert import BertForMaskedLM
    from minibert.cli.demo import BATCH, LENGTH, SHARDS
    from minibert.objectives import MaskedLM
    from minibert.training import Engine
    from minibert.training.defaults import fresh_config
    from minibert.training.initialization import initialize_from_text
    from minibert.training.pretraining import optimizer_for
    from minibert.training.recipes import RECIPES

    config = fresh_config(
        "tiny", tokenizer, LENGTH, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    settings = RECIPES[recipe].settings(config, steps, batch_size=BATCH, shards=SHARDS, **changes)
    model = BertForMaskedLM(config)
    if settings.initialization == "text":
        initialize_from_text(model, rows[:, 1:-1].reshape(-1), tokenizer)  # (S, T - 2) -> (N,)
    objective = MaskedLM(model, tokenizer, rows[:sequences], held_out, settings)
    optimizer = optimizer_for(model, settings)
    engine = Engine(model, optimizer, clip=settings.clip, objective=objective)
    sums: dict[str, float] = defaultdict(float)
    found: dict[str, Any] = defaultdict(list)
    with engine.running():
        for step in range(settings.steps + 1):
            if step % EVALUATE_EVERY == 0:
                metrics = objective.metrics()
                found["evaluated"].append(step)
                found["held_out_loss"].append(round(metrics.loss, 4))
                found["held_out_accuracy"].append(round(metrics.accuracy, 4))
            if step == settings.steps:
                break
            result = engine.step(objective.shards(step), settings.rate(step))
            figures = {"loss": result.loss, "rate": settings.rate(step), "norm": result.norm}
            for name, figure in (figures | _layer_norms(engine)).items():
                sums[name] += figure / EVERY
            if step == 0:
                found["first_loss"] = round(result.loss, 4)
            if (step + 1) % EVERY == 0:
                found["steps"].append(step + 1)
                for name, mean in sums.items():
                    found[name].append(float(f"{mean:.4g}"))
                sums.clear()
    layers = {name: found.pop(name) for name in LAYERS}
    assert objective.baseline is not None
    baseline = round(objective.baseline.loss, 4)
    return {"unigram_loss": baseline, **found, "layers": layers}


def _layer_norms(engine: Any) -> dict[str, float]:
    """Return the gradient norm of each layer of the latest step, before clipping."""
    model, gradient = engine.model, engine.grads.filled()
    squares = dict.fromkeys(LAYERS, 0.0)
    for name, depth in model.depths().items():
        part = gradient[model.params.slices[name]].astype(float)
        squares[LAYERS[depth]] += float(part @ part)
    return {name: math.sqrt(square) for name, square in squares.items()}


FIGURES = {"curves": curves, "norms": norms, "failures": failures}
RECORDS = {"training": training}
