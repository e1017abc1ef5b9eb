"""One job of `benchmarks.against_version`, in one process: prints its speed and its peak memory.

This file runs with both versions of minibert, so it uses only public names: those of
`minibert.__all__`, `Engine`, `AdamW` and `split_batch` of `minibert.training`, and its default
number of shards where there is one. It imports nothing from this repository.

    PYTHONPATH=FOLDER python -P benchmarks/version_worker.py FOLDER JOB SECONDS DROPOUT
"""

import csv
import json
import logging
import re
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

import minibert
from minibert.training import AdamW, Engine, split_batch

try:
    from minibert.training.defaults import default_shards
except ImportError:  # version 1
    default_shards = None

V, MASK, IGNORED = 8192, 4, -100
PRETRAINING = {"tiny": (32, 64), "mini": (32, 128)}  # B, T
MASKED_SHARE = 0.15
TEXTS, TRAINING_TEXTS, MAX_LENGTH, SHORT = 1000, 128, 64, 10  # SHORT: words
TOKENS = {"short": 13.5, "long": 36.7}  # mean of a text
RATE = 1e-4
VERSION_1_SHARDS = 4  # the default of its fine-tuning
SENTENCES = Path(__file__).parents[1] / "corpora" / "situations" / "train.tsv"


def pretraining(size, dropout):
    """Return a function that trains one step, and its tokens: random sequences, masked."""
    B, T = PRETRAINING[size]
    rng = np.random.default_rng(0)
    config = minibert.BertConfig.preset(
        size,
        vocab_size=V,
        max_position_embeddings=T,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    model = minibert.BertForMaskedLM(config, seed=0)
    engine = Engine(model, AdamW(model.params), seed=0)
    ids = rng.integers(5, V, (B, T))
    masked = np.argsort(rng.random((B, T)), axis=1) < round(MASKED_SHARE * T)
    labels = np.where(masked, ids, IGNORED)
    ids = np.where(masked, MASK, ids)
    batch = {"input_ids": ids, "token_type_ids": 0 * ids, "attention_mask": 0 * ids + 1}
    shards = split_batch(batch, labels, engine.threads)
    return lambda: engine.step(shards, RATE).loss, B * T


def finetuning(size, kind, dropout):
    """Return a function that tokenizes texts and trains one step, and its texts.

    The texts are sentences of at most 10 words ("short"), or two sentences each ("long").
    """
    rows = read_sentences()
    if kind == "short":
        rows = [(label, text) for label, text in rows if len(text.split()) <= SHORT]
    else:
        rows = [(label, f"{text} {rows[i - 1][1]}") for i, (label, text) in enumerate(rows)]
    rows = rows[:TRAINING_TEXTS]
    names = sorted({label for label, _ in rows})
    model = minibert.BertForSequenceClassification.from_pretrained(
        "minilm",
        seed=0,
        id2label=dict(enumerate(names)),
        problem_type="single_label_classification",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    tokenizer = minibert.WordPieceTokenizer.from_pretrained("minilm")
    engine = Engine(model, AdamW(model.params), seed=0)
    numbers = np.array([names.index(label) for label, _ in rows])
    shards = default_shards(size, TOKENS[kind]) if default_shards else VERSION_1_SHARDS
    start = 0

    def step():
        nonlocal start
        part = slice(start, start + size)
        start = (start + size) % TRAINING_TEXTS
        batch = tokenizer.encode_batch([text for _, text in rows[part]], max_length=MAX_LENGTH)
        return engine.step(split_batch(batch, numbers[part], shards, trim=True), RATE).loss

    return step, size


def embedding(_):
    """Return a function that embeds texts, and their number."""
    extractor = minibert.FeatureExtractor.from_pretrained("minilm")
    texts = [text for _, text in read_sentences()[:TEXTS]]
    return lambda: abs(extractor(texts)).mean(), TEXTS


def read_sentences():
    """Return the pairs of label and text (list)."""
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        return [(row["label"], row["text"]) for row in csv.DictReader(file, delimiter="\t")]


JOBS = {
    "pre-training, BERT-tiny, 32 x 64": partial(pretraining, "tiny"),
    "pre-training, BERT-mini, 32 x 128": partial(pretraining, "mini"),
    "fine-tuning MiniLM, 16 texts of 13 tokens": partial(finetuning, 16, "short"),
    "fine-tuning MiniLM, 32 texts of 13 tokens": partial(finetuning, 32, "short"),
    "fine-tuning MiniLM, 16 texts of 37 tokens": partial(finetuning, 16, "long"),
    f"embedding {TEXTS:,} texts with MiniLM": embedding,
}


def main():
    """Warm up, repeat the job, and print a line of JSON."""
    folder, job, seconds, dropout = sys.argv[1:]
    logging.getLogger("minibert").setLevel(logging.ERROR)  # it logs that the classifier is new
    origin = Path(minibert.__file__)
    assert origin.is_relative_to(folder), f"expected minibert of {folder}, got {origin}"
    run, units = JOBS[job](float(dropout))
    first = float(run())  # the warm-up
    run()
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < float(seconds) or count < 2:
        run()
        count += 1
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
    print(json.dumps({"speed": count * units / spent, "peak": peak, "first": first}))


if __name__ == "__main__":
    main()
