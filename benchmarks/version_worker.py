"""One job of `benchmarks.against_version`, in one process: prints its speed and its peak memory.

This file runs with both versions of minibert, so it uses only public names: those of
`minibert.__all__`, and `Engine`, `AdamW` and `split_batch` of `minibert.training`. It imports
nothing from this repository.

    PYTHONPATH=FOLDER python -P benchmarks/version_worker.py FOLDER JOB SECONDS DROPOUT
"""

import csv
import json
import logging
import re
import sys
import time
from pathlib import Path

import numpy as np

import minibert
from minibert.training import AdamW, Engine, split_batch

V, MASK, IGNORED = 8192, 4, -100
PRETRAINING = {"tiny": (32, 64), "mini": (32, 128)}  # B, T
MASKED_SHARE = 0.15
TEXTS, TEXTS_PER_STEP, MAX_LENGTH = 128, 16, 64
RATE = 1e-4
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


def finetuning(dropout):
    """Return a function that tokenizes texts and trains one step, and its texts."""
    rows = read_sentences()
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
    start = 0

    def step():
        nonlocal start
        part = slice(start, start + TEXTS_PER_STEP)
        start = (start + TEXTS_PER_STEP) % TEXTS
        batch = tokenizer.encode_batch([text for _, text in rows[part]], max_length=MAX_LENGTH)
        return engine.step(split_batch(batch, numbers[part], engine.threads, trim=True), RATE).loss

    return step, TEXTS_PER_STEP


def embedding(_):
    """Return a function that embeds texts, and their number."""
    extractor = minibert.FeatureExtractor.from_pretrained("minilm")
    texts = [text for _, text in read_sentences()]
    return lambda: abs(extractor(texts)).mean(), TEXTS


def read_sentences():
    """Return pairs of label and text (list)."""
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        return [(row["label"], row["text"]) for row in csv.DictReader(file, delimiter="\t")][:TEXTS]


JOBS = {
    "pre-training, BERT-tiny, 32 x 64": lambda dropout: pretraining("tiny", dropout),
    "pre-training, BERT-mini, 32 x 128": lambda dropout: pretraining("mini", dropout),
    f"fine-tuning MiniLM, {TEXTS_PER_STEP} texts per step": finetuning,
    f"embedding {TEXTS} texts with MiniLM": embedding,
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
