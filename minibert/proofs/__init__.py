"""What is proven: every function, layer and model of this package, each with its gradient check.

Parameters are away from their initial values, where a layer norm's weight of 1 and a bias of 0 hide
bugs; gradients are added to what is there already; dropout is replayed from a seed.
"""

import time
from collections.abc import Iterator

from minibert.gradcheck import GradientError, Row
from minibert.proofs.cases import Case
from minibert.proofs.functions import function_cases
from minibert.proofs.layers import layer_cases
from minibert.proofs.models import model_cases

__all__ = ["Case", "cases", "line", "report"]


def cases() -> Iterator[Case]:
    """Yield everything that is proven, functions first."""
    yield from function_cases()
    yield from layer_cases()
    yield from model_cases()


def report() -> bool:
    """Check all cases and print a line for each; return whether all passed."""
    proven, start = list(cases()), time.perf_counter()
    passed = True
    print(f"{'what':59} {'error':>7} {'allowed':>7} {'analytic':>10} {'numeric':>10}  worst at")
    for case in proven:
        try:
            print(line(case.name, case.check()), flush=True)
        except GradientError as error:
            passed = False
            print(f"{case.name:59} WRONG\n{error}", flush=True)
    seconds = time.perf_counter() - start
    verdict = "all gradients agree" if passed else "NOT all gradients agree"
    print(f"{len(proven)} checks in {seconds:.0f} s: {verdict} with their forward passes")
    return passed


def line(name: str, rows: list[Row]) -> str:
    """Return one line of the report: the row of a case that is nearest to its tolerance."""
    worst = max(rows, key=lambda row: row.error / row.tolerance)
    index = "a random direction" if worst.index is None else list(worst.index)
    return (
        f"{name:59} {worst.error:7.1e} {worst.tolerance:7.0e} {worst.analytic:10.3e} "
        f"{worst.numeric:10.3e}  {worst.name} at {index}"
    )
