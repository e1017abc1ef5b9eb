"""Run all benchmarks quickly and compare their ratios with the stored results.

    python -m benchmarks
    python -m benchmarks --only train_step tokenizer
    python -m benchmarks --store --only train_step
    python -m benchmarks --chart

Each benchmark of `benchmarks.catalogue` runs with `--quick` in its own process, one at a time. For
each ratio of its tables a line shows the stored one, the new one, and whether the two are within a
factor of 2. A quick run is noisy, so this is a check for gross changes, and a ratio that has
changed does not fail. The exit status is 1 only if a script fails. `--store` measures fully instead
and replaces the stored results by what the scripts print. `--chart` runs nothing: it draws
`docs/figures/speed.svg` from the stored results.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks.catalogue import BENCHMARKS, Benchmark
from benchmarks.stored import path_of, ratios, stored_result
from docs.make import figures
from docs.make.figures.speed import speed

FACTOR = 2  # larger changes are pointed out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks or draw the chart; return the exit status (int)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    names = [one.name for one in BENCHMARKS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", default=names)
    parser.add_argument("--store", action="store_true", help="measure fully and store the results")
    parser.add_argument("--chart", action="store_true", help="draw docs/figures/speed.svg")
    o = parser.parse_args(arguments)
    if o.chart:
        figures.path_of("speed").write_text(speed(), "utf-8")
        return 0
    failed = [one.name for one in BENCHMARKS if one.name in o.only and not run(one, o.store)]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return int(bool(failed))


def run(benchmark: Benchmark, store: bool = False) -> bool:
    """Run a benchmark and print how its ratios compare; return whether it ran (bool).

    Args:
        benchmark (Benchmark): the benchmark.
        store (bool): run it fully and replace its stored result, instead of quickly.
    """
    command = benchmark.command(is_quick=not store)
    print(f"== python {' '.join(command)}", flush=True)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, encoding="utf-8"
    )
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n")
    else:
        for line in compare(done.stdout, stored_result(benchmark.name)):
            print(f"{benchmark.name} {line}")
        if store:
            path_of(benchmark.name).write_text(done.stdout.strip() + "\n", encoding="utf-8")
    status = f"failed with exit status {done.returncode}" if done.returncode else "ran"
    print(f"{benchmark.name} {status} in {time.perf_counter() - start:.0f} s", flush=True)
    return not done.returncode


def compare(now: str, stored: str | None) -> Iterator[str]:
    """Yield a line for each ratio of a new result.

    Args:
        now (str): what the script has printed.
        stored (str or None): the stored result.
    """
    expected = {} if stored is None else ratios(stored)
    for key, ratio in ratios(now).items():
        name = f"{', '.join(key)}: now {ratio.median:.2f}, stored "
        if key not in expected:
            yield name + "nothing"
            continue
        before = expected[key].median
        is_near = before / FACTOR <= ratio.median <= before * FACTOR
        verdict = "within" if is_near else "NOT WITHIN"
        yield f"{name}{before:.2f}, {verdict} a factor of {FACTOR}"


if __name__ == "__main__":
    sys.exit(main())
