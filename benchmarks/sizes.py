"""Do BERT-base and BERT-large run here, and what do they take, beside PyTorch?

For each size, a forward pass of the body and a training step of the masked language model, 4
sequences of 128 tokens, 20 of them masked: seconds (the median of some rounds after the first), and
the peak memory of a process that did nothing else. Forward runs as `embed` does, a part of the
batch to a core. Both sides draw random weights, drop out 0.1, clip, and update by AdamW; the two
take turns, process by process.

    pip install torch==2.13.0 && pip install '.[parity]'
    python -m benchmarks.sizes base large
"""

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np

B, T, MASKED, V = 4, 128, 20, 30522


def main():
    """Run each size in processes of its own, and print the table's rows."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("sizes", nargs="*", default=["base", "large"])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--processes", type=int, default=2, help="of each side")
    options.add_argument("--side", choices=SIDES, help="measure this side here")
    o = options.parse_args()
    if o.side:
        print(*measure(SIDES[o.side], o.sizes[0], o.rounds))
        return
    print("| model | side | parameters | forward, s | training step, s | peak, MiB |")
    print("|---|---|---|---|---|---|")
    for size in o.sizes:
        found = {side: [] for side in SIDES}
        for _ in range(o.processes):
            for side, rows in found.items():
                rows.append(in_a_process(side, size, o.rounds))
        for side, rows in found.items():
            count, forward, step, peak = (statistics.median(v) for v in zip(*rows, strict=True))
            print(f"| {size} | {side} | {count:,.0f} | {forward:.2f} | {step:.2f} | {peak:,.0f} |",
                  flush=True)  # fmt: skip


def in_a_process(side, size, rounds):
    """Measure one side in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, size, "--side", side, "--rounds", rounds]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True)
    return map(float, done.stdout.split()[-4:])


def measure(side, size, rounds):
    """Return the number of parameters, the seconds of both, and the peak in MiB."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, V, (B, T))
    labels = np.full((B, T), -100)
    labels[:, 1 : 1 + MASKED] = ids[:, 1 : 1 + MASKED]
    batch = {"input_ids": ids, "token_type_ids": np.zeros_like(ids)}
    batch["attention_mask"] = np.ones_like(ids)
    count, forward, step = side(size, batch, labels)
    seconds = [statistics.median(timed(run) for _ in range(rounds)) for run in (forward, step)]
    status = open("/proc/self/status").read().split("\n")  # noqa: PTH123, SIM115
    peak = int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024
    return count, *seconds, peak


def timed(run):
    """Seconds that a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ours(size, batch, labels):
    """The model here: as many shards as cores."""
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
    """The same in transformers on PyTorch, the vocabulary at the masked places only."""
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
    places = labels != -100

    def forward():
        model.eval()
        with torch.no_grad():
            model.bert(**batch)

    def step():
        model.train()
        logits = model.cls(model.bert(**batch).last_hidden_state[places])
        torch.nn.functional.cross_entropy(logits, labels[places]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad()

    forward()
    step()
    return sum(tensor.numel() for tensor in model.parameters()), forward, step


SIDES = {"minibert": ours, "PyTorch": theirs}

if __name__ == "__main__":
    main()
