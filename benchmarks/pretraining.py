"""How fast does minibert pre-train, beside PyTorch on the same machine?

Both train the same model on the same batches in the same session, taking turns: exact GELU, dropout
0.1, AdamW, gradient clipping, the vocabulary projection at the masked places only. PyTorch runs
transformers' BERT in eager mode with scaled-dot-product attention and its fused AdamW. Prints
medians over the rounds, and the ratio of the two in each round.

    pip install torch==2.13.0 && pip install '.[parity]'
    python benchmarks/pretraining.py --size tiny --length 64
"""

import argparse
import os
import statistics
import time

import numpy as np

from minibert import BertConfig, BertForMaskedLM
from minibert.data.corpus import as_batch
from minibert.data.masking import mask_tokens
from minibert.threads import usable_cores
from minibert.training import AdamW, Engine, split_batch

SPECIAL, MASK = range(5), 4


def main():
    """Run the rounds and print the table's row."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--size", default="tiny")
    options.add_argument("--length", type=int, default=64)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--vocabulary", type=int, default=8192)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--steps", type=int, default=6, help="in a round")
    o = options.parse_args()
    config = BertConfig.preset(o.size, vocab_size=o.vocabulary, max_position_embeddings=o.length)
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(o.steps):
        ids = rng.integers(5, o.vocabulary, (o.batch, o.length))
        ids[:, 0], ids[:, -1] = 2, 3
        batches.append(mask_tokens(ids, SPECIAL, MASK, o.vocabulary, rng))
    sides = {"minibert": ours(config, batches), "PyTorch": theirs(config, batches)}
    tokens = o.steps * o.batch * o.length
    speeds = {name: [] for name in sides}
    for number in range(o.rounds + 1):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            if number:  # the first round warms up
                speeds[name].append(tokens / (time.perf_counter() - start))
    ratios = [a / b for a, b in zip(speeds["minibert"], speeds["PyTorch"], strict=True)]
    for name, values in speeds.items():
        print(f"{name:9} {statistics.median(values):9,.0f} tokens/s")
    print(f"ratio     {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
          f"{o.size}, batch {o.batch} x {o.length}, {os.cpu_count()} cores")  # fmt: skip


def ours(config, batches):
    """Return a function that trains minibert on all batches once."""
    model = BertForMaskedLM(config)
    engine = Engine(model, AdamW(model.params))

    def run():
        for shown, labels in batches:
            engine.step(split_batch(as_batch(shown, 0), labels, usable_cores()), 1e-4)

    return run


def theirs(config, batches):
    """Return a function that trains transformers' BERT on all batches once."""
    import torch
    import transformers

    fields = config.to_dict()
    fields.pop("position_embedding_type")
    hf = transformers.BertForMaskedLM(
        transformers.BertConfig(**fields, attn_implementation="sdpa")
    ).train()
    optimizer = torch.optim.AdamW(hf.parameters(), lr=1e-4, fused=True)
    tensors = [
        ({k: torch.tensor(v) for k, v in as_batch(shown, 0).items()}, torch.tensor(labels))
        for shown, labels in batches
    ]

    def run():
        for batch, labels in tensors:
            hidden = hf.bert(**batch).last_hidden_state
            places = labels != -100
            logits = hf.cls(hidden[places])
            loss = torch.nn.functional.cross_entropy(logits, labels[places])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(hf.parameters(), 1.0)
            optimizer.step()

    return run


if __name__ == "__main__":
    main()
