"""How much memory does a pre-training step need, compared with PyTorch?

The peak of resident memory during some steps on random batches, in a process that does nothing
else, minus the memory after the imports: weights, gradients, moments and activations. Each round is
a new process.

    pip install torch==2.13.0 && pip install '.[parity]'
    python -m benchmarks.memory
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import (
    Worker,
    alternate,
    memory_mib,
    options,
    parse,
    ratios,
    report,
    spread,
    table,
)
from benchmarks.peers import SIDES, about_torch, random_sequences, use_torch
from benchmarks.train_step import MASK, SPECIAL, V
from minibert import BertConfig
from minibert.data.masking import mask_tokens

SIZES = {"tiny": (32, 64), "mini": (32, 128), "small": (32, 128), "base": (4, 128)}  # B, T
HEADS = ("model", "batch", "side", "peak, MiB", "after imports", "difference", "minibert / side")
STEPS = 3


class Once:
    """A side that runs each round in a new process; the arguments are those of `Worker`."""

    def __init__(self, job, *args):
        self.job, self.args = job, args

    def round(self) -> tuple[float, float]:
        """Run the job up to its first `yield` and return the value."""
        worker = Worker(self.job, *self.args)
        self.others = worker.others
        worker.close()
        return worker.ready


def main() -> None:
    """Measure each model and print the table."""
    parser = options(__doc__, can_limit=True)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    o = parse(parser)
    rows = []
    for model in o.models:
        sides = {side: Once(peak, side, model) for side in ("minibert", "PyTorch")}
        found = alternate(o, sides)
        grown = {side: [after - before for before, after in values]
                 for side, values in found.items()}  # fmt: skip
        for side, values in found.items():
            before, after = zip(*values, strict=True)
            ratio = "" if side == "minibert" else spread(ratios(grown["minibert"], grown[side]))
            rows.append((model, "{} x {}".format(*SIZES[model]), side, spread(after, ",.0f"),
                         spread(before, ",.0f"), spread(grown[side], ",.0f"), ratio))  # fmt: skip
    torch = f"NumPy {np.__version__}; {about_torch(use_torch())}."
    report(o, "Memory of a pre-training step", table(HEADS, rows), torch)


def peak(side: str, model: str) -> Iterator[tuple[float, float]]:
    """Yield resident memory after the imports and its peak during some steps, in MiB."""
    if side == "PyTorch":
        use_torch()
        from transformers import BertForMaskedLM  # noqa: F401
    before = memory_mib("VmRSS")
    B, T = SIZES[model]
    config = BertConfig.preset(model, vocab_size=V, max_position_embeddings=T)
    trained, rng = SIDES[side](config), np.random.default_rng(0)
    # Reset the peak: the memory for drawing the initial weights does not count.
    Path("/proc/self/clear_refs").write_text("5")
    for _, ids in zip(range(STEPS), random_sequences(config, B, T), strict=False):
        trained.step(*mask_tokens(ids, SPECIAL, MASK, V, rng))
    yield before, memory_mib()


if __name__ == "__main__":
    main()
