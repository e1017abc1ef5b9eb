"""The proofs as tables: every function and input, every model, option and parameter."""

from collections.abc import Iterable

from minibert.gradcheck import Row
from minibert.gradcheck.checks import MODEL_TOLERANCE, TOLERANCE, ZERO
from minibert.testing.cases.records import Case

Results = list[tuple[Case, list[Row] | None]]

HEAD = f"""\
# Every gradient, as last measured

Written by `minibert gradcheck --all --out benchmarks/results/gradients.md`. Each number is the
worst disagreement between the hand-written backward and differences of its forward, in float64:
|a - n| / max(|a|, |n|, 1e-3 · the array's largest |gradient|).

- Functions and single layers are tried in every element and along a random direction, stacks and
  models in elements of each parameter drawn at random, and along a direction through all of it.
- Allowed are {TOLERANCE:.0e} for functions and layers and {MODEL_TOLERANCE:.0e} for models, where
  the way is longer and rounding adds up. Nothing is allowed more.
- **0**: provably zero (softmax ignores what all of a row's scores share, so the key's bias learns
  nothing); both sides are below {ZERO:.0e}. **-**: frozen, and 0 to the bit.
- As it comes, a model's batch is padded, repeats ids, and has a sequence that sees nothing. There
  is dropout where it is said. A masked-language model's table is always that of its embeddings.
"""


def markdown(results: Results) -> str:
    """Return the tables: one of functions, one of layers, and one a task, parameter by option."""
    plain = [(case, rows) for case, rows in results if not _is_model(case)]
    functions = [(case, rows) for case, rows in plain if case.what.islower()]
    layers = [(case, rows) for case, rows in plain if not case.what.islower()]
    parts = [HEAD, "## Functions\n", _by_array(functions), "## Layers\n", _by_array(layers)]
    models: dict[str, Results] = {}
    for case, rows in results:
        if _is_model(case):
            models.setdefault(case.what, []).append((case, rows))
    for what, of_task in models.items():
        parts += [f"## {what}\n", _by_option(of_task)]
    return "\n".join(parts)


def _is_model(case):
    return case.what.startswith("Bert")


def _by_array(results):
    lines = [
        [case.what, case.how, row.name, _cell([row]), "" if row.index is None else list(row.index)]
        for case, rows in results
        for row in rows or [_wrong()]
    ]
    return _table(["of", "on", "gradient of", "error", "worst at"], lines)


def _by_option(results):
    names: dict[str, None] = {}  # in their order
    for _, rows in results:
        names.update(dict.fromkeys(_short(row.name) for row in rows or []))
    columns = [
        {
            name: _cell([row for row in rows if _short(row.name) == name]) if rows else "WRONG"
            for name in names
        }
        for _, rows in results
    ]
    heads = ["gradient of", *(case.how or "as it comes" for case, _ in results)]
    return _table(heads, [[name, *(column[name] for column in columns)] for name in names])


def _short(name):
    """The name of a parameter without its block's number: the worst of all blocks is shown."""
    parts = name.removeprefix("bert.").split(".")
    return ".".join("*" if part.isdigit() else part for part in parts)


def _cell(rows):
    if not rows:
        return "-"
    worst = max(rows, key=lambda row: row.error / row.tolerance)
    if not worst.passed:
        return "WRONG"
    return "0" if all(row.tolerance == ZERO for row in rows) else f"{worst.error:.0e}"


def _wrong():
    return Row("all", None, 0, 0, float("nan"), TOLERANCE)


def _table(heads: list[str], lines: Iterable[list]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows) + "\n"
