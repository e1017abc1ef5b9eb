"""Tables of the results: every function and layer, and every model by option and parameter."""

from collections.abc import Iterable, Sequence
from typing import Any

from minibert.gradcheck import GradientResult
from minibert.gradcheck.checks import MODEL_TOLERANCE, TOLERANCE, ZERO
from minibert.testing.cases.records import Case

Results = list[tuple[Case, list[GradientResult] | None]]

HEAD = f"""\
# The error of every gradient, as last measured

Written by `minibert gradcheck --all --out benchmarks/results/gradients.md`. Each number is the
largest disagreement between the hand-written backward and finite differences of its forward, in
float64: |a - n| / max(|a|, |n|, 1e-3 · the array's largest |gradient|).

- Functions and single layers are checked in every element and along a random direction; encoders,
  models and variants of a checked layer in some elements of each parameter, drawn at random, and
  along a direction through all of it.
- The tolerance is {TOLERANCE:.0e} for functions and layers and {MODEL_TOLERANCE:.0e} for models,
  where rounding adds up over more operations. There are no exceptions.
- **0**: provably zero (softmax ignores a number that is added to all scores of a query, so the
  gradient of the key's bias is 0); both sides are below {ZERO:.0e}. **-**: frozen, and exactly 0.
- By default, a model's batch is padded, repeats ids, and contains a sequence of padding alone.
  There is dropout only where stated. The table of a masked language model's head is always that of
  the embeddings.
"""


def markdown(results: Results) -> str:
    """Return Markdown tables: functions, layers, and each model, parameters by options."""
    others = [(case, own) for case, own in results if not _is_model(case)]
    functions = [(case, own) for case, own in others if case.subject.islower()]
    layers = [(case, own) for case, own in others if not case.subject.islower()]
    parts = [HEAD, "## Functions\n", _by_array(functions), "## Layers\n", _by_array(layers)]
    models: dict[str, Results] = {}
    for case, own in results:
        if _is_model(case):
            models.setdefault(case.subject, []).append((case, own))
    for subject, of_model in models.items():
        parts += [f"## {subject}\n", _by_option(of_model)]
    return "\n".join(parts)


def _is_model(case: Case) -> bool:
    return "Bert" in case.subject


def _by_array(results: Results) -> str:
    """Return a table with a line for each checked array."""
    lines = [
        [
            case.subject,
            case.variant,
            result.name,
            _cell([result]),
            "" if result.index is None else list(result.index),
        ]
        for case, own in results
        for result in own or [_wrong()]
    ]
    return _table(["case", "variant", "gradient of", "error", "worst at"], lines)


def _by_option(results: Results) -> str:
    """Return a table with a line for each parameter and a column for each option."""
    names: dict[str, None] = {}  # in their order
    for _, own in results:
        names.update(dict.fromkeys(_short(result.name) for result in own or []))
    columns = [
        {
            name: _cell([r for r in own if _short(r.name) == name]) if own else "WRONG"
            for name in names
        }
        for _, own in results
    ]
    heads = ["gradient of", *(case.variant or "default" for case, _ in results)]
    return _table(heads, [[name, *(column[name] for column in columns)] for name in names])


def _short(name: str) -> str:
    """Return a parameter's name without its block's number: blocks share a line."""
    parts = name.removeprefix("bert.").split(".")
    return ".".join("*" if part.isdigit() else part for part in parts)


def _cell(results: list[GradientResult]) -> str:
    """Return the cell of the result that is nearest to its tolerance."""
    if not results:
        return "-"
    worst = max(results, key=lambda result: result.error / result.tolerance)
    if not worst.passed:
        return "WRONG"
    return "0" if all(r.tolerance == ZERO for r in results) else f"{worst.error:.0e}"


def _wrong() -> GradientResult:
    return GradientResult("all", None, 0, 0, float("nan"), TOLERANCE)


def _table(heads: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows) + "\n"
