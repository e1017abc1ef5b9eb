"""Do BERT-base and BERT-large run on this machine, and what do they need, compared with PyTorch?

For each size, a forward pass of the body and a masked-LM training step with 4 sequences of 128
tokens, 20 of them masked: seconds (the median of some runs after the first), and the peak
memory of a process that does nothing else; each round is a new process. As in `embed`, the forward
pass runs one part of the batch per core. Both sides draw random weights, use dropout 0.1, clip, and
update with AdamW.

    pip install torch==2.13.0 && pip install '.[parity]'
    python -m benchmarks.sizes base large
"""

import statistics
import subprocess
import sys

import numpy as np

from benchmarks.harness import (
    alternate,
    busy_share,
    clocks,
    elapsed,
    memory_mib,
    options,
    parse,
    report,
    spread,
    table,
)

B, T, MASKED, V = 4, 128, 20, 30522
HEADS = ("model", "side", "parameters", "forward, s", "training step, s", "peak, MiB")


class Once:
    """One side that runs each round in a new process, as a side of the harness."""

    others = 0.0

    def __init__(self, side: str, size: str, repeats: int):
        words = ("-W", "ignore", "-m", "benchmarks.sizes", size, "--side", side)
        self.command = [sys.executable, *words, "--repeats", str(repeats)]

    def round(self) -> list[float]:
        """Return the parameter count, the seconds of both passes, and the peak in MiB."""
        before = clocks()
        done = subprocess.run(self.command, stdout=subprocess.PIPE, text=True, check=True)
        self.others = busy_share(before)
        return [float(word) for word in done.stdout.split()[-4:]]


def main():
    """Run each size in new processes and print the table."""
    parser = options(__doc__)
    parser.add_argument("sizes", nargs="*", help="(default: base large; --quick: base)")
    parser.add_argument("--repeats", type=int, help="per process (default: 5; --quick: 1)")
    parser.add_argument("--side", choices=SIDES, help="measure this side in this process")
    o = parse(parser, rounds=2)
    o.repeats = o.repeats or (1 if o.quick else 5)
    if o.side:
        print(*measure(SIDES[o.side], o.sizes[0], o.repeats))
        return
    rows = []
    for size in o.sizes or (["base"] if o.quick else ["base", "large"]):
        found = alternate(o, {side: Once(side, size, o.repeats) for side in SIDES})
        for side, rounds in found.items():
            count, forward, step, peak = zip(*rounds, strict=True)
            rows.append((size, side, f"{count[0]:,.0f}", spread(forward), spread(step),
                         spread(peak, ",.0f")))  # fmt: skip
    note = f"Batches of {B} x {T} tokens, {MASKED} masked per sequence; vocabulary {V:,}; float32."
    report(o, "BERT-base and BERT-large", table(HEADS, rows), note)


def measure(side, size, repeats):
    """Return the parameter count, the seconds of both passes, and the peak in MiB."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, V, (B, T))
    labels = np.full((B, T), -100)
    labels[:, 1 : 1 + MASKED] = ids[:, 1 : 1 + MASKED]
    batch = {"input_ids": ids, "token_type_ids": np.zeros_like(ids)}
    batch["attention_mask"] = np.ones_like(ids)
    count, forward, step = side(size, batch, labels)
    seconds = [statistics.median(elapsed(run) for _ in range(repeats)) for run in (forward, step)]
    return count, *seconds, memory_mib()


def ours(size, batch, labels):
    """minibert: return its parameter count, and functions for a forward pass and a step."""
    from minibert import BertConfig, BertForMaskedLM
    from minibert.runtime.blas import one_blas_thread
    from minibert.runtime.threads import ordered_map, usable_cores
    from minibert.training import AdamW, Engine, split_batch

    model = BertForMaskedLM(BertConfig.preset(size, vocab_size=V))
    engine = Engine(model, AdamW(model.params, weight_decay=0.01))
    shards = split_batch(batch, labels, usable_cores())
    parts = [model.check(**part) for part, _ in shards]

    @one_blas_thread()
    def encode(part):
        return model.encode(part)[0]

    def forward():
        with one_blas_thread():
            list(ordered_map(encode, parts, usable_cores()))

    def step():
        engine.step(shards, 1e-4)

    forward()
    step()
    return model.params.vector.size, forward, step


def theirs(size, batch, labels):
    """transformers on PyTorch, with logits at masked positions only; return as `ours`."""
    import torch
    import transformers

    from minibert import BertConfig

    fields = {k: v for k, v in BertConfig.preset(size, vocab_size=V).to_dict().items()
              if k not in ("model_type", "id2label", "label2id")}  # fmt: skip
    config = transformers.BertConfig(**fields, attn_implementation="sdpa")
    model = transformers.BertForMaskedLM(config)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    batch = {name: torch.tensor(array) for name, array in batch.items()}
    labels = torch.tensor(labels)
    masked = labels != -100

    def forward():
        model.eval()
        with torch.no_grad():
            model.bert(**batch)

    def step():
        model.train()
        logits = model.cls(model.bert(**batch).last_hidden_state[masked])
        torch.nn.functional.cross_entropy(logits, labels[masked]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad()

    forward()
    step()
    return sum(tensor.numel() for tensor in model.parameters()), forward, step


SIDES = {"minibert": ours, "PyTorch": theirs}

if __name__ == "__main__":
    main()
