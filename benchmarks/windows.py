"""How much less does attention in a window cost than attention to all tokens?

One attention sublayer of ModernBERT-base, maps and rotary positions included: width 768, 12 heads,
64 tokens on each side of a window, 1,024 tokens a batch, float32, one thread; forward alone, and
with the backward. Both kinds run alternately.

    python -m benchmarks.windows
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.harness import alternate, elapsed, options, parse, ratios, report, spread, table
from benchmarks.harness import workers as started
from minibert.layers import RotaryPositions, SelfAttentionWithoutBias, Site
from minibert.layers.families.windowed import WindowedSelfAttention
from minibert.parameters import Parameters
from minibert.runtime.blas import one_blas_thread

D, K, WINDOW, TOKENS = 768, 12, 64, 1024
LENGTHS = (128, 256, 512, 1024)
KINDS = ("full", "window")
HEADS = ("tokens", "pass", "full, ms", "window, ms", "window / full")


def main() -> None:
    """Measure both kinds alternately for each length, and print the table."""
    o = parse(options(__doc__))
    calls, lengths = (2, LENGTHS[:3]) if o.quick else (8, LENGTHS)
    jobs = {(T, kind): (measure, kind, T, calls) for T in lengths for kind in KINDS}
    with started(jobs) as (running, _):
        found = alternate(o, running)
    report(
        o,
        "The cost of attention in a window",
        table(HEADS, list(lines(found, lengths))),
        f"Each is the fastest of {calls} calls of a round.",
    )


def lines(found: dict, lengths: tuple[int, ...]) -> Iterator[tuple]:
    """Yield the rows of the table."""
    for T in lengths:
        for i, name in enumerate(("forward", "forward and backward")):
            full, near = ([each[i] for each in found[T, kind]] for kind in KINDS)
            milliseconds = (spread([1e3 * s for s in own], ".1f") for own in (full, near))
            yield (T, name, *milliseconds, spread(ratios(near, full)))


def measure(kind: str, length: int, calls: int) -> Iterator:
    """Yield the seconds of a forward, and of a forward with its backward, for each round."""
    layer = SelfAttentionWithoutBias("attention", D, K)
    if kind == "window":
        layer = WindowedSelfAttention("attention", D, K, WINDOW)
    rng, positions = np.random.default_rng(0), RotaryPositions(D // K)
    params = Parameters(layer.specs())
    params.vector[:] = rng.normal(0, 0.02, params.vector.shape)
    x = rng.normal(size=(TOKENS // length, length, D)).astype(np.float32)  # (B, T, D)
    keys, grads = np.arange(length), params.zeros_like()
    site = Site(keys, None, None, positions, positions.prepare(params, keys, x.dtype))

    def forward() -> None:
        layer.forward(params, x, site, keep=False)

    def both() -> None:
        out, cache = layer.forward(params, x, site)
        layer.backward(out, cache, params, grads, None)

    with one_blas_thread():
        forward()
        both()
        yield None
        while True:
            yield [min(elapsed(call) for _ in range(calls)) for call in (forward, both)]


if __name__ == "__main__":
    main()
