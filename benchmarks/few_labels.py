"""How accurate is a pre-trained model with few labels, and is transformers as accurate?

    python -m benchmarks.few_labels

On the first 50, 100, 300 and all sentences of `corpora/situations/train.tsv`, with several seeds:
minibert from MiniLM's checkpoint, minibert from scratch, and TF-IDF with logistic regression. On
300 sentences transformers fine-tunes the same checkpoint with the same learning rates, layer decay,
dropout, warm-up, clipping, batches and epochs; its batches are shuffled and padded, not bucketed by
length. Accuracies are measured on test.tsv, which was used for no choice.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.harness import alternate, options, parse, ratios, report, spread, table, workers
from benchmarks.peers import CLIP, about_numpy, about_torch, on_torch, use_torch
from benchmarks.texts import minilm
from minibert import BertForSequenceClassification, WordPieceTokenizer
from minibert.data.sampling import batch_indices
from minibert.data.tables import read_records
from minibert.runtime.threads import usable_cores
from minibert.tasks import Examples, Metrics, SingleLabelTask
from minibert.training import FineTuning, evaluate, fine_tune
from minibert.training.defaults import finetuning_recipe
from minibert.training.finetuning import FineTuningRun, ModelSource, steps_for

MODEL, DROPOUT = "minilm", 0.1
CORPUS = Path(__file__).parents[1] / "corpora" / "situations"


def main() -> None:
    """Train all sides alternately and print both tables."""
    o = parse(options(__doc__, can_limit=True))
    train, test = sentences("train"), sentences("test")
    sizes = [16, 24] if o.quick else [50, 100, 300, len(train)]
    epochs = 1 if o.quick else None
    peer = sizes[-1] if o.quick else 300
    jobs = {
        "minibert": (ours, sizes, epochs, True),
        "from scratch": (ours, sizes, epochs, False),
        "transformers": (theirs, peer, epochs),
    }
    with workers(jobs) as (running, missing):
        found = alternate(o, running)
        about = {side: worker.ready for side, worker in running.items()} | missing
    rows = []
    for size in sizes:
        cheap = baseline(train.select(range(size)), test)
        rows.append([
            size,
            *(spread([round_[size][0] for round_ in found[side]], ".1%") for side in
              ("minibert", "from scratch")),
            "" if cheap is None else f"{cheap.figures()['accuracy']:.1%}",
            spread([round_[size][1] for round_ in found["minibert"]], ".0f"),
        ])  # fmt: skip
    heads = ("sentences", "minibert from MiniLM", "minibert from scratch", "TF-IDF", "seconds")
    parts = [table(heads, rows)]
    if "transformers" in found:
        both = {side: [round_[peer] for round_ in found[side]] for side in
                ("minibert", "transformers")}  # fmt: skip
        seconds = {side: [spent for _, spent in rounds] for side, rounds in both.items()}
        lines = []
        for side, rounds in both.items():
            accuracies = spread([accuracy for accuracy, _ in rounds], ".1%")
            faster = spread(ratios(seconds["transformers"], seconds[side]))
            lines.append((side, accuracies, spread(seconds[side], ".0f"), faster))
        heads = (f"{peer} sentences", "accuracy", "seconds", "transformers' time / its time")
        parts.append(table(heads, lines))
    report(o, "Few labels", *parts, f"{len(test)} test sentences, {len(set(test.labels))} "
           "classes; one seed per round, from 0 upwards; seconds of training only.",
           table(("side", ""), about.items()))  # fmt: skip


def sentences(split: str) -> Examples:
    """Return one split of the hand-written sentences."""
    rows = read_records(CORPUS / f"{split}.tsv", labelled=True)
    return Examples([row.text for row in rows], None, [row.label for row in rows])


def baseline(train: Examples, test: Examples) -> Metrics | None:
    """Return the metrics of TF-IDF with logistic regression; None without scikit-learn."""
    try:
        found = SingleLabelTask.from_labels(train.labels).baseline(train, test)
    except ImportError:
        return None
    return found and found[1]


def pretrained(task: SingleLabelTask, seed: int) -> BertForSequenceClassification:
    """Return the checkpoint with a new classifier."""
    logging.getLogger("minibert").setLevel(logging.ERROR)  # it logs that the classifier is new
    return BertForSequenceClassification.from_pretrained(
        MODEL,
        seed=seed,
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=DROPOUT,
        **task.config(),
    )


def settings(examples: Examples, config, epochs: int | None, seed: int, **changes) -> FineTuning:
    """Return the settings for the number of examples."""
    recipe = finetuning_recipe(len(examples), config, **changes)
    recipe = replace(recipe, epochs=epochs or recipe.epochs)
    return FineTuning(
        steps=steps_for(len(examples), recipe.batch_size, recipe.epochs),
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        layer_decay=recipe.layer_decay,
        split_pieces=recipe.split_pieces,
        seed=seed,
        shards=usable_cores(),
    )


def ours(sizes: Sequence[int], epochs: int | None, is_pretrained: bool) -> Iterator:
    """minibert: yield a description, then accuracy and seconds by size, one seed per round."""
    train, test = sentences("train"), sentences("test")
    task = SingleLabelTask.from_labels(train.labels)
    yield about_numpy(usable_cores())
    for seed in count():
        found = {}
        for size in sizes:
            examples = train.select(range(size))
            if is_pretrained:
                model = pretrained(task, seed)
                tokenizer = WordPieceTokenizer.from_pretrained(MODEL)
                how = settings(examples, model.config, epochs, seed, pretrained=True)
            else:
                run = FineTuningRun.start(
                    task, examples, ModelSource(), seed=seed,
                    overrides=SimpleNamespace(epochs=epochs), settings={"shards": usable_cores()},
                )  # fmt: skip
                model, tokenizer, how = run.model, run.tokenizer, run.settings
            begin = time.perf_counter()
            fine_tune(model, tokenizer, task, examples, how)
            spent = time.perf_counter() - begin
            found[size] = evaluate(model, tokenizer, task, test).figures()["accuracy"], spent
        yield found


def theirs(size: int, epochs: int | None) -> Iterator:
    """transformers: yield a description, then accuracy and seconds, one seed per round."""
    torch = use_torch()
    from transformers import AutoTokenizer

    train, test = sentences("train").select(range(size)), sentences("test")
    task = SingleLabelTask.from_labels(sentences("train").labels)
    tokenizer = AutoTokenizer.from_pretrained(minilm())

    def encoded(texts):
        return tokenizer(texts, padding=True, truncation=True, return_tensors="pt")

    yield about_torch(torch)
    for seed in count():
        torch.manual_seed(seed)
        start = pretrained(task, seed)
        model, how = on_torch(start), settings(train, start.config, epochs, seed, pretrained=True)
        depths = start.depths()
        top = max(depths.values())
        adam = torch.optim.AdamW([
            {"params": [tensor], "scale": how.layer_decay ** (top - depths[name]),
             "weight_decay": 0.0 if name.endswith(("bias", "LayerNorm.weight")) else 0.01}
            for name, tensor in model.named_parameters()
        ], fused=True)  # fmt: skip
        labels = torch.as_tensor([task.encode_label(label) for label in train.labels])
        begin = time.perf_counter()
        for step in range(how.steps):
            rows = batch_indices(step, size, how.batch_size, seed)
            for group in adam.param_groups:
                group["lr"] = how.rate(step) * group["scale"]
            loss = model(**encoded([train.texts[i] for i in rows]), labels=labels[rows]).loss
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            adam.step()
        spent = time.perf_counter() - begin
        with torch.inference_mode():
            predicted = model.eval()(**encoded(test.texts)).logits.argmax(-1).tolist()
        actual = [task.encode_label(label) for label in test.labels]
        yield {size: (np.mean(np.equal(predicted, actual)), spent)}


if __name__ == "__main__":
    main()
