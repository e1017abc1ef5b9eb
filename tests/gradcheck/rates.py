"""Count how often right layers are called wrong, and layers with a planted error right.

    python -m tests.gradcheck.rates --out benchmarks/results/gradcheck_rates.md

It takes an hour or two. `test_rates` counts fewer examples.
"""

import argparse
import platform
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from minibert.gradcheck import (
    BlindSpotWarning,
    GradientError,
    InconclusiveError,
    check_layer,
)
from tests.gradcheck.smooth_layers import ERRORS, examples, planted

HEAD = """\
# How often `minibert.gradcheck` is wrong

Written by `.ci/full`. Each example is an input of `float_arrays(varied=True)` and parameters of
`parameters`, drawn by Hypothesis; widths are 4 to 16, and eps is 1e-12 or 1e-5. Every element is
checked. The layers and the planted errors are in `tests/gradcheck/smooth_layers.py`.

- **Right layers**: a false alarm is an error that is not "inconclusive".
- **Planted errors**: each must be called wrong in 99 % of the examples. It passes where it makes no
  difference, for example without the variance's term in layer norm if all rows are constant.
"""


def outcome(layer, x, params, entries=None):
    """Return what the check of a layer says (str): right, inconclusive or wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BlindSpotWarning)
            check_layer(layer, {"x": x}, params, entries=entries)
    except InconclusiveError:
        return "inconclusive"
    except GradientError:
        return "wrong"
    return "right"


def count_outcomes(kind, variants, number, entries=None, **how):
    """Return the outcomes of each variant of a layer (list of Counter).

    Args:
        kind: the right layer, of which the examples are drawn.
        variants: classes with the same arguments and parameters.
        number: of examples.
        entries: as in `check_pair`.
        how: further settings of Hypothesis.
    """
    counts = [Counter() for _ in variants]

    @settings(
        max_examples=number, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck), **how,
    )  # fmt: skip
    @given(examples(kind))
    def count(example):
        sizes, params, x = example
        for variant, own in zip(variants, counts, strict=True):
            own[outcome(variant(*sizes), x, params, entries)] += 1

    count()
    return counts


def with_errors(kind):
    """Return the ten classes with an error (list)."""
    return [planted(kind, old, new) for old, new in ERRORS[kind]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000, help="of each right layer")
    parser.add_argument("--of-errors", type=int, default=500, help="of each planted error")
    parser.add_argument("--out", type=Path, required=True, help="a Markdown file")
    options = parser.parse_args()
    start = time.perf_counter()
    rights, wrongs, failed = [], [], False
    for kind in ERRORS:
        [own] = count_outcomes(kind, [kind], options.examples)
        failed |= own["wrong"] > 0 or own["inconclusive"] > 0.001 * own.total()
        rights.append([kind.__name__, own.total(), own["wrong"], own["inconclusive"]])
        counts = count_outcomes(kind, with_errors(kind), options.of_errors)
        for (old, new), own in zip(ERRORS[kind], counts, strict=True):
            failed |= own["wrong"] < 0.99 * own.total() or own["inconclusive"] > 0
            change = f"`{' '.join(old.split())}` → `{' '.join(new.split())}`"
            wrongs.append([kind.__name__, change, own.total(), own["wrong"], own["inconclusive"]])
    minutes = (time.perf_counter() - start) / 60
    made = (
        f"Commit {commit()}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"Hypothesis {hypothesis.__version__}, {minutes:.0f} minutes.\n"
    )
    parts = [
        HEAD, made, "## Right layers\n",
        table(["layer", "examples", "false alarms", "inconclusive"], rights),
        "## Planted errors\n",
        table(["layer", "change", "examples", "called wrong", "inconclusive"], wrongs),
    ]  # fmt: skip
    options.out.write_text("\n".join(parts), encoding="utf-8")
    sys.exit(failed)


def commit():
    """Return the commit that is checked out (str), marked if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def table(heads, rows):
    """Return a Markdown table (str)."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


if __name__ == "__main__":
    main()
