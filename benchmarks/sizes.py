"""Do BERT-base and BERT-large run on this machine, and what do they need, compared with PyTorch?

For each size, a forward pass of the body and a masked-LM training step with 4 sequences of 128
tokens, 20 of them masked: seconds (the median of some rounds after the first), and the peak memory
of a process that does nothing else. As in `embed`, the forward pass runs one part of the batch per
core. Both sides draw random weights, use dropout 0.1, clip, and update with AdamW; their processes
alternate.

    pip install torch==2.13.0 && pip install '.[parity]'
    python -m benchmarks.sizes base large
"""

import argparse
import statistics
import subprocess
import sys

import numpy as np

from benchmarks.harness import elapsed, memory_mib

B, T, MASKED, V = 4, 128, 20, 30522


def main():
    """Run each size in new processes and print the rows of the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("sizes", nargs="*", help="(default: base large; --quick: base)")
    options.add_argument("--quick", action="store_true", help="a short run, as a test")
    options.add_argument("--rounds", type=int, help="(default: 5; --quick: 1)")
    options.add_argument("--processes", type=int, help="per side (default: 2; --quick: 1)")
    options.add_argument("--side", choices=SIDES, help="measure this side in this process")
    o = options.parse_args()
    o.sizes = o.sizes or (["base"] if o.quick else ["base", "large"])
    o.rounds = o.rounds or (1 if o.quick else 5)
    o.processes = o.processes or (1 if o.quick else 2)
    if o.side:
        print(*measure(SIDES[o.side], o.sizes[0], o.rounds))
        return
    print("| model | side | parameters | forward, s | training step, s | peak, MiB |")
    print("|---|---|---|---|---|---|")
    for size in o.sizes:
        found = {side: [] for side in SIDES}
        for _ in range(o.processes):
            for side, rows in found.items():
                rows.append(in_new_process(side, size, o.rounds))
        for side, rows in found.items():
            count, forward, step, peak = (statistics.median(v) for v in zip(*rows, strict=True))
            print(f"| {size} | {side} | {count:,.0f} | {forward:.2f} | {step:.2f} | {peak:,.0f} |",
                  flush=True)  # fmt: skip


def in_new_process(side, size, rounds):
    """Measure one side in a new process; return four floats."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.sizes", size]
    command += ["--side", side, "--rounds", str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return map(float, done.stdout.split()[-4:])


def measure(side, size, rounds):
    """Return the parameter count, the seconds of both passes, and the peak in MiB."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, V, (B, T))
    labels = np.full((B, T), -100)
    labels[:, 1 : 1 + MASKED] = ids[:, 1 : 1 + MASKED]
    batch = {"input_ids": ids, "token_type_ids": np.zeros_like(ids)}
    batch["attention_mask"] = np.ones_like(ids)
    count, forward, step = side(size, batch, labels)
    seconds = [statistics.median(elapsed(run) for _ in range(rounds)) for run in (forward, step)]
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
