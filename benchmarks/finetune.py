"""How fast is a real checkpoint fine-tuned, beside PyTorch, and how well?

A checkpoint of 6 layers of 384 units (all-MiniLM-L6-v2) learns for one epoch which module a text
documents, texts to weights, tokenizing included: the same batches of mixed length, each padded to
its own longest text, the same rate, AdamW, clipping and dropout. PyTorch runs transformers' model
and tokenizer. A round is an epoch from the checkpoint, with a seed of its own, the same on both
sides, of the new classifier's weights and of the order.

    pip install torch==2.13.0 && pip install '.[parity]'
    python -m benchmarks.finetune
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.harness import alternate, options, parse, ratios, report, spread, table, workers
from benchmarks.peers import about_torch, fused_adam, on_torch, update, use_torch
from benchmarks.texts import labelled
from minibert import BertForSequenceClassification, WordPieceTokenizer
from minibert.data.batching import rows_at, steps_per_epoch
from minibert.threads import usable_cores
from minibert.training import Settings, evaluate_classifier, train_classifier

B, LONGEST = 32, 512
HEADS = ("side", "sentences/s", "minibert to it", "accuracy, %")


def main() -> None:
    """Fine-tune on both sides in turns and print the table."""
    parser = options(__doc__)
    parser.add_argument("--texts", type=int, help="to train on (all; quick: 64)")
    parser.add_argument("--rate", type=float, default=1e-4, help="the largest (%(default)s)")
    o = parse(parser)
    o.texts = o.texts or (64 if o.quick else None)
    jobs = {"minibert": (ours, o.texts, o.rate), "PyTorch": (theirs, o.texts, o.rate)}
    with workers(jobs) as (running, missing):
        found = alternate(o, running)
        about = {side: worker.ready for side, worker in running.items()} | missing
    speeds = {side: [speed for speed, _ in values] for side, values in found.items()}
    rows = [
        (
            side,
            spread(speeds[side], ".1f"),
            "" if side == "minibert" else spread(ratios(speeds["minibert"], speeds[side])),
            spread([100 * accuracy for _, accuracy in values], ".1f"),
        )
        for side, values in found.items()
    ]
    report(o, "Fine-tuning a real checkpoint", table(HEADS, rows), described(o),
           table(("side", ""), about.items()))  # fmt: skip


def described(o) -> str:
    """Say what the texts are."""
    train, test = examples(o.texts)
    lengths = [len(ids) for ids in WordPieceTokenizer.from_pretrained(checkpoint()).encode_batch(
        train.texts, max_length=LONGEST)["attention_mask"]]
    ...


if __name__ == "__main__":
    main()
