"""How does minibert's speed scale with threads, and change with length, depth and hidden size?

The gain of threads is compared with that of the machine: the speed of several processes that
multiply matrices on one thread each, divided by that of one. Then one of length T, layers L and
hidden size D varies at a time, with 4,096 tokens per batch, heads of size 64, vocabulary 8,192 and
dropout 0.1; the peak is the speed of all matrix products together. All measurements alternate.

    python -m benchmarks.scaling
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.harness import (
    alternate,
    options,
    parse,
    ratios,
    report,
    sgemm_loops,
    spread,
    table,
    workers,
)
from benchmarks.peers import Minibert
from benchmarks.train_step import V, masked_count, matmul_flops, steps
from minibert import BertConfig
from minibert.runtime.threads import usable_cores

TOKENS, HEAD = 4096, 64
VARIED = {"T": (32, 64, 128, 256, 512), "L": (1, 2, 4, 8), "D": (128, 256, 512, 768)}
SIZES_HEADS = ("varied", "T", "L", "D", "batch", "tokens/s", "share of the peak")
THREADS_HEADS = ("T", "L", "D", "threads", "tokens/s", "speed / one thread", "loops: speed / one",
                 "ratio of both")  # fmt: skip


class Size(NamedTuple):
    """The size of a model and its batch; the defaults are those of BERT-mini."""

    T: int = 128
    L: int = 4
    D: int = 256

    def config(self) -> BertConfig:
        """Return the configuration (BertConfig)."""
        return BertConfig(
            vocab_size=V,
            hidden_size=self.D,
            num_hidden_layers=self.L,
            num_attention_heads=self.D // HEAD,
            intermediate_size=4 * self.D,
            max_position_embeddings=self.T,
        )

    def flops(self) -> float:
        """Return the flops per token of a step (float)."""
        return matmul_flops(self.config(), 1, self.T, masked_count(self.T)) / self.T


THREADED = (Size(64, 2, 128), Size(), Size(D=512))


def main() -> None:
    """Measure all sizes and thread counts alternately and print both tables."""
    parser = options(__doc__, can_limit=True)
    parser.add_argument(
        "--seconds", type=float, help="length of a round (default: 3; --quick: 0.3)"
    )
    o = parse(parser)
    seconds, cores = o.seconds or (0.3 if o.quick else 3), usable_cores()
    counts = sorted({1, cores, *(n for n in (2, 4, 8, 16, 32, 64) if n < cores)})
    few = 2 if o.quick else None  # of each size, because the large ones take minutes to start
    varied = [(name, Size(**{name: value})) for name in VARIED for value in VARIED[name][:few]]
    keys = {(size, cores) for _, size in varied} | {(size, n) for size in THREADED for n in counts}
    with workers({key: (train, *key, seconds) for key in sorted(keys)}) as (running, _):
        loops = {n: sgemm_loops(n, seconds / 3) for n in counts}
        found = alternate(o, {**running, **loops})
        for peak in loops.values():
            peak.close()
    report(
        o,
        "minibert's speed by threads, length, depth and hidden size",
        table(THREADS_HEADS, by_threads(found, counts)),
        table(SIZES_HEADS, by_size(found, varied, cores)),
        f"Peak: {spread(found[cores], '.0f')} GFLOP/s. NumPy {np.__version__}.",
    )


def by_threads(found: dict, counts: list[int]) -> Iterator[tuple]:
    """Yield the rows of the table of thread counts."""
    for size in THREADED:
        for n in counts:
            gains = ratios(found[size, n], found[size, 1])
            possible = ratios(found[n], found[1])
            columns = map(spread, (gains, possible, ratios(gains, possible)))
            yield (*size, n, spread(found[size, n], ",.0f"), *(columns if n > 1 else ("",) * 3))


def by_size(found: dict, varied: list[tuple[str, Size]], cores: int) -> Iterator[tuple]:
    """Yield the rows of the table of sizes."""
    for name, size in varied:
        speeds = found[size, cores]
        shares = [share * size.flops() / 1e9 for share in ratios(speeds, found[cores])]
        yield (name, *size, TOKENS // size.T, spread(speeds, ",.0f"), spread(shares, ".0%"))


def train(size: Size, threads: int, seconds: float) -> Iterator:
    """Yield the tokens/s of each round, after a warm-up."""
    model = Minibert(size.config(), threads=threads)
    yield from steps(model, size.config(), TOKENS // size.T, size.T, seconds)


if __name__ == "__main__":
    main()
