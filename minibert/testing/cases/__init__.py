"""The verified cases: a gradient check of every function, layer and model of this package.

Parameters are away from their initial values, where a layer norm's weight of 1 and a bias of 0 hide
bugs; gradients are added to non-zero ones; dropout is replayed from a seed.
"""

import time
from collections.abc import Iterable, Iterator

from minibert.gradcheck import GradientError, GradientResult, InconclusiveError
from minibert.gradcheck.checks import DELAY
from minibert.testing.cases.embeddings import encoder_cases, vector_cases
from minibert.testing.cases.functions import function_cases
from minibert.testing.cases.layers import layer_cases
from minibert.testing.cases.matrix import Results, markdown
from minibert.testing.cases.models import model_cases
from minibert.testing.cases.records import Case

__all__ = ["Case", "Results", "cases", "line", "markdown", "report"]


def cases(every: bool = True) -> Iterator[Case]:
    """Yield the cases, functions first.

    Args:
        every: False: each model without options only.
    """
    yield from function_cases()
    yield from vector_cases()
    yield from layer_cases()
    yield from encoder_cases()
    yield from (case for case in model_cases() if every or not case.variant)


def report(some_cases: Iterable[Case]) -> Results:
    """Check the cases and print a line for each: failures first, the lowest layer first.

    A model that contains a wrong layer fails as well, so the first line names the cause.

    Args:
        some_cases: functions before layers before models, as `cases` yields them.

    Returns:
        the results of each case, in the order of the cases; None for one that fails.
    """
    results: Results = []
    failures, lines = [], []
    start = time.perf_counter()
    for case in _with_progress(list(some_cases)):
        try:
            own = case.check()
            lines.append(line(case.name, own))
            results.append((case, own))
        except GradientError as error:
            verdict = "INCONCLUSIVE" if isinstance(error, InconclusiveError) else "WRONG"
            failures.append(f"{case.name:59} {verdict}\n{error}")
            results.append((case, None))
    seconds = time.perf_counter() - start
    print("\n".join(failures), end="\n" if failures else "")
    print(f"{'case':59} {'error':>7} {'allowed':>7} {'analytic':>10} {'numeric':>10}  worst at")
    print("\n".join(lines), end="\n" if lines else "")
    verdict = "NOT all gradients agree" if failures else "all gradients agree"
    print(f"{len(results)} checks in {seconds:.0f} s: {verdict} with their forward passes")
    return results


def _with_progress(some_cases):
    """Yield the cases; a bar on stderr names the one that is checked, after a few seconds."""
    from tqdm import tqdm  # imported here because the import is slow

    with tqdm(some_cases, unit="case", delay=DELAY, leave=False) as bar:
        for case in bar:
            bar.set_description(case.name, refresh=False)
            yield case


def line(name: str, results: list[GradientResult]) -> str:
    """Return one line of the report (str): the result that is nearest to its tolerance."""
    worst = max(results, key=lambda result: result.error / result.tolerance)
    index = "a random direction" if worst.index is None else list(worst.index)
    return (
        f"{name:59} {worst.error:7.1e} {worst.tolerance:7.0e} {worst.analytic:10.3e} "
        f"{worst.numeric:10.3e}  {worst.name} at {index}"
    )
