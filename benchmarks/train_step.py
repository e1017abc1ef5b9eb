"""How fast is a pre-training step, compared with PyTorch, torch.compile, Hugging Face and JAX?

A step masks a batch, runs forward and backward, clips, and updates with AdamW: vocabulary 8,192,
exact GELU, float32, without dropout as `minibert pretrain` by default (`--dropout 0.1` for BERT's
own rate). The logits are computed at masked positions only, except by
"Hugging Face", which is transformers as its documentation uses it. All sides start from the same
weights and must compute the same loss. The flops of minibert's matrix products are counted too, and
compared with the machine's speed of plain matrix products. `--avx2` keeps all sides from using
AVX-512; it leaves out JAX, whose limit could not be checked.

    pip install torch==2.13.0 && pip install '.[parity]' jax
    python -m benchmarks.train_step --models tiny mini
"""

import argparse
from collections.abc import Iterator
from itertools import cycle, islice

import numpy as np

from benchmarks.harness import (
    alternate,
    options,
    parse,
    ratios,
    repeat,
    report,
    sgemm_loops,
    spread,
    table,
    workers,
)
from benchmarks.peers import SIDES, random_sequences
from minibert import BertConfig
from minibert.data.masking import mask_tokens
from minibert.functional import IGNORED
from minibert.runtime.threads import usable_cores

V, SPECIAL, MASK = 8192, range(5), 4
SIZES = {"tiny": (32, 64), "mini": (32, 128), "6x384": (32, 128), "base": (4, 128)}  # B, T
SGEMM = "sgemm"
HEADS = ("model", "batch", "side", "tokens/s", "minibert / side", "minibert's share of the peak")
NOTE = """Dropout {dropout:g}; float32 on all sides. On some processors PyTorch can also use matrix
units for bfloat16; NumPy cannot. The peak is the speed of {loops} processes that multiply
1,024 x 1,024 matrices in float32 with NumPy on one thread each: {peak} GFLOP/s.
For minibert, the products that a step computes are counted: of the last block and the head those at
masked positions only."""


def main() -> None:
    """Measure each model and print the table."""
    parser = options(__doc__, can_limit=True)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument(
        "--seconds", type=float, help="length of a round (default: 3; --quick: 0.3)"
    )
    parser.add_argument("--dropout", type=float, default=0.0, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of every side (default: one per core)")
    o = parse(parser)
    o.threads = o.threads or usable_cores()
    o.sides = ["minibert", *(side for side in o.sides if side != "minibert")]
    rows, about, peaks = [], {}, []
    for model in o.models:
        found = measure(o, model, about)
        peaks += found[SGEMM]
        rows += compare(model, found)
    descriptions = table(("side", ""), about.items())
    note = NOTE.format(dropout=o.dropout, loops=o.threads, peak=spread(peaks, ".0f"))
    report(o, "A pre-training step", table(HEADS, rows), note, descriptions)


def measure(o: argparse.Namespace, model: str, about: dict[str, str]) -> dict[str, list[float]]:
    """Train one model on all sides alternately: tokens/s of each, and the peak's GFLOP/s."""
    seconds = o.seconds or (0.3 if o.quick else 3)
    jobs = {side: (train, side, model, seconds, o.dropout, o.threads) for side in o.sides}
    with workers(jobs) as (running, missing):
        losses = {side: worker.ready[1] for side, worker in running.items()}
        assert max(losses.values()) - min(losses.values()) < 1e-3, (
            f"expected equal losses, got {losses}"
        )
        about |= {side: worker.ready[0] for side, worker in running.items()} | missing
        peak = sgemm_loops(o.threads, seconds / 3)
        found = alternate(o, {**running, SGEMM: peak})
        peak.close()
    return found


def compare(model: str, found: dict[str, list[float]]) -> Iterator[tuple[str, ...]]:
    """Yield the table rows of one model."""
    config, (B, T), ours = config_of(model), SIZES[model], found["minibert"]
    flops = matmul_flops(config, B, T, masked_count(T)) / (B * T)  # per token
    shares = [flops * ratio / 1e9 for ratio in ratios(ours, found[SGEMM])]
    for side, speeds in found.items():
        if side == SGEMM:
            continue
        own = side == "minibert"
        yield (model, f"{B} x {T}", side, spread(speeds, ",.0f"),
               "" if own else spread(ratios(ours, speeds)),
               spread(shares, ".0%") if own else "")  # fmt: skip


def train(side: str, name: str, seconds: float, dropout: float, threads: int) -> Iterator:
    """One side: yield a description and the first loss, then the tokens/s of each round."""
    config, (batch, length) = config_of(name, dropout), SIZES[name]
    model = SIDES[side](config, threads=threads)
    rows = next(random_sequences(config, batch, length))
    loss = model.loss(*mask_tokens(rows, SPECIAL, MASK, V, np.random.default_rng(0)))
    speeds = steps(model, config, batch, length, seconds)
    next(speeds)
    yield model.about, loss
    yield from speeds


def steps(model, config: BertConfig, batch: int, length: int, seconds: float) -> Iterator[float]:
    """Train on random sequences with new masks in each step; yield tokens/s of each round."""
    rng = np.random.default_rng(0)
    batches = cycle(list(islice(random_sequences(config, batch, length), 8)))

    def step():
        model.step(*mask_tokens(next(batches), SPECIAL, MASK, V, rng))

    for _ in range(3):  # warm-up and compilation
        step()
    while True:
        count, spent = repeat(step, seconds)
        yield count * batch * length / spent


def config_of(model: str, dropout: float = 0.0) -> BertConfig:
    """Return a model's configuration (BertConfig)."""
    sizes = {
        "vocab_size": V,
        "max_position_embeddings": SIZES[model][1],
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    if model != "6x384":
        return BertConfig.preset(model, **sizes)
    return BertConfig(
        num_hidden_layers=6,
        hidden_size=384,
        num_attention_heads=12,
        intermediate_size=1536,
        **sizes,
    )


def masked_count(length: int) -> int:
    """Return the number of masked tokens in a sequence of this length (int)."""
    ids = np.full((1, length), 9)
    ids[:, [0, -1]] = 2
    _, labels = mask_tokens(ids, SPECIAL, MASK, V, np.random.default_rng(0))
    return int((labels != IGNORED).sum())


def matmul_flops(config: BertConfig, B: int, T: int, R: int) -> int:
    """Return the flops of a step's matrix products (int), with R masked tokens per sequence.

    A product of (n, k) and (k, m) takes 2nkm flops; its backward is two products of that size.
    """
    D, F, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers

    def block(rows):  # query positions per sequence
        maps = 2 * T * D * D + 2 * rows * D * D  # keys and values; queries and output
        return (
            maps + 2 * rows * T * D + 2 * rows * D * F
        )  # scores and weighted values; feed-forward

    head = R * D * D + R * D * config.vocab_size
    return 3 * 2 * B * ((L - 1) * block(T) + block(R) + head)


if __name__ == "__main__":
    main()
