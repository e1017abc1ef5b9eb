"""How does minibert's speed grow with threads, and change with length, depth and width?

Threads are held against what the machine gives: loops of matrix products, one to a thread and
process, gain that much over one loop, measured in the same rounds. Then one of T, L and D varies
at a time, 4,096 tokens in a batch, vocabulary 8,192, dropout 0.1; the peak is what all loops
together do.

    python -m benchmarks.scaling
"""

from collections.abc import Iterator

from benchmarks.harness import Peak, alternate, options, parse, ratios, report, spread, table, workers
from benchmarks.peers import Minibert
from benchmarks.train_step import V, masked_rows, matmul_flops, steps
from minibert import BertConfig
from minibert.threads import usable_cores

TOKENS, HEAD = 4096, 64
MIDDLE = {"T": 128, "L": 4, "D": 256}
VARIED = {"T": (32, 64, 128, 256, 512), "L": (1, 2, 4, 8), "D": (128, 256, 512, 768)}
THREADS_HEADS = ("T, L, D", "threads", "tokens/s", "gain", "gain of the loops", "of it we have")
SHAPES_HEADS = ("varied", "T", "L", "D", "batch", "tokens/s", "share of the peak")


def main() -> None:
    """Measure all shapes and numbers of threads in turns, and print both tables."""
    parser = options(__doc__)
    parser.add_argument("--seconds", type=float, help="of a round (3; quick: 0.3)")
    o = parse(parser)
    seconds, cores = o.seconds or (0.3 if o.quick else 3), usable_cores()
    numbers = sorted({1, *(2**i for i in range(1, cores.bit_length()) if 2**i <= cores), cores})
    shapes = {tuple((MIDDLE | {name: value}).values()): None
              for name, values in VARIED.items() for value in values}  # fmt: skip
    middle = tuple(MIDDLE.values())
    ...


if __name__ == "__main__":
    main()
