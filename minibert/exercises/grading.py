"""Grade a learner's function: right, not solved yet, or wrong with a hint.

A wrong result is compared with the results of usual mistakes, which an exercise's test computes,
and then tested for the structure of common errors: transposed, a lost sum, one factor, ... The hint
is that of the first that fits. The source text is never read.

>>> x, weight = np.ones((2, 3)), np.arange(12.0).reshape(4, 3)
>>> grade(weight @ x.T, x @ weight.T)
Traceback (most recent call last):
    ...
minibert.exercises.grading.Wrong: out: expected the shape (2, 4), got (4, 2)
Hint: it is transposed: the numbers are right, and the axes are in another order.
>>> grade(x @ weight.T / 2, x @ weight.T, {"the bias is missing": x @ weight.T - 1}, name="out")
Traceback (most recent call last):
    ...
minibert.exercises.grading.Wrong: out at [0, 3]: expected 30, got 15
Hint: every number is 0.5 times what it should be: one factor is wrong.
"""

import copy
import runpy
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from minibert.gradcheck import GradientError, check_pair
from minibert.gradcheck.slopes import finite_difference, step_size
from minibert.gradcheck.values import float_arrays_of
from minibert.testing import parameters

TOLERANCE = 1e-7  # relative to the largest number of an array
EXAMPLES = 10  # drawn by Hypothesis, for each exercise
SCALE = 4  # `parameters` draws from N(0, 0.3²), or 1.2² if multiplied by this
UNTOUCHED = "the planted bug is still there"  # the hint of a bug that nobody has repaired
ERRORS = (  # hints for exceptions: a part of NumPy's or Python's message, and the hint
    ("matmul", "the shapes of this product do not fit: is one of the arrays transposed?"),
    ("broadcast", "these shapes do not fit: a sum or mean may need keepdims=True, or another axis"),
    ("out of bounds", "an id is not an index: an ignored label is -100; positions have T rows"),
)

Array = np.ndarray
Mistakes = Mapping[str, Any]  # a wrong result by the hint that it gets


class Wrong(AssertionError):
    """A wrong result; the message contains the hint."""


class Unsolved(AssertionError):
    """An exercise that is as it was written."""


class Functions:
    """The functions of a learner's file, as attributes.

    Args:
        path: the file.

    Raises:
        Wrong: the file is missing or has a syntax error, or lacks a function that is asked for.
    """

    def __init__(self, path: Path):
        try:
            self._names = runpy.run_path(str(path), run_name=path.stem)
        except FileNotFoundError:
            raise Wrong("no such file; `minibert exercises` writes it") from None
        except SyntaxError as error:
            place = f"line {error.lineno}: " if error.lineno else ""  # a NUL byte has none
            raise Wrong(f"{place}{type(error).__name__}: {error.msg}") from None
        self._title = str(self._names.get("__doc__") or "").split("\n")[0]

    def __getattr__(self, name: str) -> Any:
        """Return a function of the file."""
        if name not in self._names:
            raise Wrong(f"expected a function {name}, found none")
        return self._names[name]


def exercise(
    *first: Mapping[str, Any], examples: int = EXAMPLES, **strategies: st.SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that makes a pytest test of `test(learner, **inputs)`.

    The test fails with the file's name and a hint, without a traceback.

    Args:
        first: inputs to try before the drawn ones, on which usual mistakes give different results.
        examples: number of inputs that Hypothesis draws.
        strategies: draw the inputs, by name.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        own = Path(test.__code__.co_filename)
        beside = own.with_name(own.name.removeprefix("test_"))

        def run(path: Path = beside, examples: int = examples) -> None:
            run_test = partial(_try, test, first, strategies, examples)
            failure = verdict(path, run_test)
            if failure is not None:
                pytest.fail(failure, pytrace=False)

        run.__name__, run.__module__, run.__doc__ = test.__name__, test.__module__, test.__doc__
        return run

    return decorate


def verdict(path: Path, test: Callable[[Functions], None]) -> str | None:
    """Return why a file fails a test (str), with a hint; None: it passes.

    Args:
        path: the learner's file.
        test: raises an error if its functions are wrong.
    """
    try:
        learner = Functions(path)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                test(learner)
            except (NotImplementedError, Unsolved):
                return f"{path.name}: not solved yet. {learner._title}"
    except Wrong as error:
        return f"{path.name}: {error}"
    except Flaky:
        return f"{path.name}: two calls with the same inputs gave different results"
    except (Exception, SystemExit) as error:  # `exit()` ends the function, not the tests
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        if not lines:  # not the learner's error
            raise
        message = f"{path.name}:{lines[-1]}: {type(error).__name__}: {str(error).strip()}"
        return message + _hint(next((hint for part, hint in ERRORS if part in str(error)), None))
    return None


def _try(test, first, strategies, examples, learner):
    """Run a test on the given inputs, then on drawn ones, the same in every run."""
    for inputs in first:
        test(learner, **copy.deepcopy(inputs))

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck), verbosity=Verbosity.quiet,
    )  # fmt: skip
    @given(st.fixed_dictionaries(strategies))
    def run(inputs):
        test(learner, **inputs)

    run()


def arrays(**shapes: tuple[int, ...]) -> st.SearchStrategy[dict[str, Array]]:
    """Draw arrays of these shapes by name, of normal numbers: none is 0 or 1, or repeats."""
    return parameters(shapes).map(
        lambda drawn: {name: SCALE * np.array(array) for name, array in drawn.items()}
    )


def require(condition: bool, problem: str, hint: str | None = None) -> None:
    """Raise Wrong with a problem and perhaps a hint, unless a condition holds."""
    if not condition:
        raise Wrong(problem + _hint(hint))


def several(returned: Any, *names: str) -> tuple[Any, ...]:
    """Return the results of a function that returns several (tuple); raise Wrong if it does not."""
    expected = f"expected a tuple of {len(names)}: {', '.join(names)}"
    if not isinstance(returned, tuple):
        raise Wrong(f"{expected}, got {type(returned).__name__}")
    require(len(returned) == len(names), f"{expected}, got a tuple of {len(returned)}")
    return returned


def grade(got: Any, expected: Any, mistakes: Mistakes | None = None, name: str = "out") -> None:
    """Compare a result with the right one.

    Args:
        got: the learner's result.
        expected: the right result: an array, a number, or anything that == compares.
        mistakes: wrong results by the hint they get.
        name: of the result.

    Raises:
        Wrong: they differ; the message contains a hint.
        Unsolved: the result is that of the planted bug.
    """
    if same(got, expected):
        return
    fitting = [
        hint
        for hint, wrong in (mistakes or {}).items()
        if same(got, wrong) and not same(wrong, expected)
    ]
    if fitting[:1] == [UNTOUCHED]:
        raise Unsolved
    hint = fitting[0] if fitting else next(structure(got, expected), None)
    raise Wrong(difference(got, expected, name) + _hint(hint))


def _hint(hint):
    """Return the line of a hint (str), empty if there is none."""
    if hint is None:
        return ""
    return f"\nHint: {hint}" if hint.endswith("?") else f"\nHint: {hint}."


def same(one: Any, other: Any) -> bool:
    """Return whether two results are equal (bool): numbers to the rounding error."""
    if not is_numeric(other):
        try:
            return bool((one.tolist() if isinstance(one, np.ndarray) else one) == other)
        except ValueError:  # arrays in a list are ambiguous in a condition
            return False
    if not is_numeric(one) or np.shape(one) != np.shape(other):
        return False
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    size = np.abs(other).max(initial=0, where=np.isfinite(other))
    return np.allclose(one, other, rtol=0, atol=TOLERANCE * size + 1e-12, equal_nan=True)


def is_numeric(value: Any) -> bool:
    """Return whether a value is an array of numbers, or a number (bool)."""
    return isinstance(value, np.ndarray | np.generic | int | float) and (
        np.asarray(value).dtype.kind in "biuf"
    )


def difference(got: Any, expected: Any, name: str) -> str:
    """Return how a result differs from the right one (str)."""
    if not is_numeric(expected):
        return f"{name}: expected {expected!r}, got {got!r}"
    if not is_numeric(got):
        kind = "an array" if np.ndim(expected) else "a number"
        dtype = f" of {got.dtype}" if isinstance(got, np.ndarray) else ""
        return f"{name}: expected {kind}, got {type(got).__name__}{dtype}"
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    if got.shape != expected.shape:
        return f"{name}: expected the shape {expected.shape}, got {got.shape}"
    error = np.where(np.isfinite(got), np.abs(got - expected), np.inf)
    index = np.unravel_index(np.argmax(error), error.shape)
    place = f" at {list(map(int, index))}" if index else ""
    return f"{name}{place}: expected {expected[index]:.6g}, got {got[index]:.6g}"


def structure(got: Any, expected: Any) -> Iterator[str]:
    """Yield hints from the structure of the error, the most specific first.

    Args:
        got, expected: the learner's result and the right one.
    """
    if got is None:
        yield "the function returns nothing"
    if not (is_numeric(got) and is_numeric(expected)):
        return
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    if got.ndim == expected.ndim <= 4 and any(
        same(got.transpose(axes), expected) for axes in permutations(range(got.ndim))
    ):
        yield "it is transposed: the numbers are right, and the axes are in another order"
    more = got.ndim - expected.ndim
    if more > 0 and same(got.sum(axis=tuple(range(more))), expected):
        yield (
            "the sum is missing: the forward repeats it along an axis, so its gradient is the sum "
            "over that axis"
        )
    if got.shape != expected.shape:
        return
    if np.isfinite(expected).all() and not np.isfinite(got).all():
        yield "it contains NaN or infinity: is there exp of a large number, log of 0, or 0 / 0?"
        return
    if not got.any():
        yield "it is zero everywhere"
        return
    ratio = float((got * expected).sum() / (expected**2).sum()) if expected.any() else 0.0
    if same(got, -expected):
        yield "the sign is wrong"
    elif ratio and same(got, ratio * expected):
        yield f"every number is {ratio:.4g} times what it should be: one factor is wrong"
    if (
        got.ndim
        and got.size > 1
        and same(got - expected, np.full_like(got, (got - expected).mean()))
    ):
        yield "every number differs by the same amount: a term is missing"
    if got.ndim > 1 and got.shape[-1] > 1:
        sums = (expected**2).sum(axis=-1, keepdims=True)
        ratios = (got * expected).sum(axis=-1, keepdims=True) / np.where(sums == 0, 1, sums)
        if same(got, ratios * expected):
            yield "each row is right except for a factor of its own: a scale per row is wrong"
    right = [i for i in range(len(got)) if same(got[i], expected[i])] if got.ndim > 1 else []
    if right:
        yield f"along the first axis only {right} of {len(got)} are right"


def check_backward(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Mapping[str, Any],
    mistakes: Callable[..., Mapping[str, Mistakes]],
) -> None:
    """Check `backward(dout, cache)` by finite differences of the forward, and name the mistake.

    Args:
        forward: called as `forward(**inputs)`, returns an array or a number, and its cache.
        backward: returns the gradients of the inputs of floats in their order.
        inputs: values by name.
        mistakes: called as `mistakes(dout, **inputs)`, returns for names of gradients, such as dx,
            wrong ones by their hints.

    Raises:
        Wrong: a gradient is wrong; the message contains a hint.
    """
    own = copy.deepcopy(dict(inputs))
    names = ["d" + name for name in float_arrays_of(own)]
    out, cache = forward(**own)
    dout = cotangent(np.shape(out))
    returned = backward(dout.copy(), cache)
    gradients = several(returned, *names) if len(names) > 1 else (returned,)
    try:
        check_pair(forward, lambda dout, cache, **_: backward(dout, cache), inputs, dout=dout)
    except GradientError as error:
        right = numeric_gradients(forward, inputs, dout)
        wrong = mistakes(dout, **inputs)
        for name, gradient in zip(names, gradients, strict=True):
            grade(gradient, right[name], wrong.get(name), name)
        raise Wrong(str(error)) from None


def cotangent(shape: tuple[int, ...]) -> Array:
    """Return random weights of an output, the same in every run."""
    # A seed that `parameters` does not draw: else the weights are proportional to the input, and a
    # layer norm, for example, gets a gradient of zero.
    return np.asarray(np.random.default_rng(2**20).normal(size=shape))


def numeric_gradients(
    forward: Callable[..., Any], inputs: Mapping[str, Any], dout: Array
) -> dict[str, Array]:
    """Return the gradients of the inputs of floats by name, such as dx: slopes of the forward.

    Args:
        forward: returns its output and its cache.
        inputs: values by name.
        dout: the weights of the output.
    """
    inputs = copy.deepcopy(dict(inputs))

    def weighted():
        return dout * forward(**inputs)[0]

    gradients = {}
    for name, array in float_arrays_of(inputs).items():
        directions = np.eye(array.size).reshape(-1, *array.shape)
        h = step_size(array)
        slopes = [finite_difference(weighted, array, each, h) for each in directions]
        gradients["d" + name] = np.reshape(slopes, array.shape)
    return gradients


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print a line for each exercise, in their order, and the number of solved ones."""
    kinds = ("passed", "failed", "error")
    reports = [report for kind in kinds for report in terminalreporter.getreports(kind)]
    for report in sorted(reports, key=lambda report: report.nodeid):
        name = Path(report.nodeid.split("::")[0]).name.removeprefix("test_")
        terminalreporter.write_line(f"{name}: solved" if report.passed else report.longreprtext)
    solved = sum(report.passed for report in reports)
    terminalreporter.write_line(f"{solved} of {len(reports)} exercises are solved")
