"""The verified cases: all pass, and they cover every backward of the package."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from minibert import functional, layers
from minibert.functional import activate_forward
from minibert.functional.families import window
from minibert.gradcheck import GradientError, InconclusiveError
from minibert.layers.families.windowed import RotaryByKind, WindowedSelfAttention
from minibert.models import pooling
from minibert.models.table import MODELS
from minibert.objectives import embedding_losses
from minibert.testing.cases import Case, cases, examples, functions, markdown, report
from minibert.testing.cases.embeddings import vector_cases
from minibert.testing.cases.examples import (
    BATCH,
    IDS,
    MASK,
    MASKED_LABELS,
    ROWS,
    labelled_models,
)
from minibert.testing.cases.functions import function_cases
from minibert.testing.cases.layers import ToyPositions, layer_cases

CASES = list(cases())
FUNCTIONS = [case for case in CASES if case.subject.islower()]
MODEL_CASES = [case for case in CASES if case.subject.split(",")[0] in MODELS]
LARGER = [case for case in CASES if case not in FUNCTIONS]  # layers and models
# Composed of layers that have cases of their own, where a few elements are checked.
COMPOSED = [c for c in CASES if c in MODEL_CASES or c.subject.endswith(("Encoder", "Recomputed"))]
# The variants concern the body, which all models share. With these two models, every loss and every
# way to read the body's output is verified by default; `-m slow` verifies all of them.
WITH_VARIANTS = {"BertForPreTraining", "BertForSequenceClassification", "ModernBertForMaskedLM"}
QUICK = [c for c in CASES if c not in MODEL_CASES or not c.variant or c.subject in WITH_VARIANTS]
KEEPING = [case for case in CASES if case.output is not None]
# One key has all the attention, and a loss that compares nothing is 0: here, gradients of 0 are the
# point.
ZERO_VARIANTS = {"one key", "one token", "all labels ignored", "no row"}
ZERO_VARIANTS |= {"all negatives excluded", "no equal labels"}
STORED = Path(__file__).parents[2] / "benchmarks/results/gradients.md"


@pytest.mark.parametrize("case", QUICK, ids=[case.name for case in QUICK])
def test_every_case_passes(case):
    """A function in every element; a layer or model in a few, and along a direction.

    Of the variants of what is composed, a direction through all elements of each array is checked.
    """
    if case in FUNCTIONS:
        assert_verified(case, case.check())
    else:
        quick = 0 if case in COMPOSED and case.variant else 2
        assert_verified(case, case.check(entries=quick))


@pytest.mark.slow
@pytest.mark.parametrize("case", LARGER, ids=[case.name for case in LARGER])
def test_every_layer_and_model_case_passes_in_all_elements_of_the_table(case):
    assert_verified(case, case.check())


def assert_verified(case, results):
    assert results
    assert all(result.passed for result in results)
    # A gradient of zero verifies nothing: only those that softmax ignores may be zero.
    assert all(result.tolerance <= 1e-6 for result in results)
    if case.variant in ZERO_VARIANTS:
        return
    allowed = {"BertForQuestionAnswering": 3, "BertForMultipleChoice": 2}
    endings = {".".join(r.name.split(".")[-2:]) for r in results if r.tolerance == 1e-10}
    assert len(endings) <= allowed.get(case.subject, 1), endings
    unread = {
        "key.bias",
        "relative_key.bias",
        "qa_outputs.bias",
        "LayerNorm.bias",
        "classifier.bias",
    }
    assert endings <= unread


@pytest.mark.parametrize("case", KEEPING, ids=[case.name for case in KEEPING])
def test_keep_changes_no_bit_of_the_output(case):
    np.testing.assert_array_equal(case.output(True), case.output(False))


def test_keep_is_compared_for_every_forward_that_has_it():
    """Of the functions and of the layers."""
    names = [name for name in functional.__all__ if name.endswith("_forward")]
    having = {n for n in names if "keep" in inspect.signature(getattr(functional, n)).parameters}
    assert having == {"activate_forward", "add_norm_forward", "attention_forward", "gate_forward"}
    subjects = {case.subject for case in KEEPING}
    assert subjects >= {"gelu", "gelu_new", "relu", "add_norm", "attention", "gate"}
    assert subjects >= {
        kind.__name__ for kind in LAYERS if "keep" in inspect.signature(kind.forward).parameters
    }


@pytest.mark.parametrize(
    ("kind", "out_error", "slope_error"),
    [("gelu", 1.5e-7, 2e-7), ("gelu_new", 1.5e-7, 2e-6), ("relu", 0, 0)],
)
def test_float32_activations_are_near_those_of_float64(kind, out_error, slope_error):
    """In float32, GELU has another fit than in float64; out errors are of max(1, |x|)."""
    x = np.concatenate([np.linspace(-40, 40, 200_001), np.geomspace(1e-30, 40, 3000)])
    x = np.concatenate([x, -x]).astype(np.float32)[:, None]
    out, slope = activate_forward(x.copy(), None, kind)
    exact, exact_slope = activate_forward(x.astype(np.float64), None, kind)
    assert out.dtype == slope.dtype == np.float32
    assert np.max(np.abs(out - exact) / np.maximum(np.abs(x), 1)) <= out_error
    assert np.max(np.abs(slope - exact_slope)) <= slope_error


def test_sizes_differ_and_the_batch_is_difficult():
    sizes = [getattr(examples, letter) for letter in "BTKHDFVCR"]
    assert len(set(sizes)) == len(sizes)
    assert min(sizes) >= 2
    assert 0 < MASK[1].sum() < len(MASK[1])  # padding
    assert MASK.sum(axis=1).min() == 0  # a sequence of padding alone
    assert len(np.unique(IDS)) < IDS.size  # repeated ids
    counts = (MASKED_LABELS != -100).sum(axis=1).tolist()
    assert len(set(counts)) == len(counts)  # different numbers of masked positions
    assert any(len(set(rows)) < len(rows) for rows in ROWS.tolist())
    assert len({case.name for case in CASES}) == len(CASES)
    assert set(BATCH) == {"input_ids", "token_type_ids", "attention_mask"}


def failing(some_cases):
    """Yield the name of each case that fails; a wrong factor shows in any element."""
    for case in some_cases:
        try:
            case.check(entries=1)
        except GradientError:
            yield case.name


BACKWARDS = [name for name in functional.__all__ if name.endswith("_backward")]


def test_a_slightly_wrong_backward_of_a_window_fails(monkeypatch):
    right = window.window_attention_backward
    wrong = lambda dout, *rest: right(dout * 1.0001, *rest)  # noqa: E731
    monkeypatch.setattr(functions, "window_attention_backward", wrong)
    assert any(failing(case for case in function_cases() if case.subject == "window_attention"))


@pytest.mark.parametrize("name", BACKWARDS)
def test_a_slightly_wrong_backward_of_any_function_fails(name, monkeypatch):
    right = getattr(functional, name)

    def wrong(first, *rest):
        if not rest and "dout" not in inspect.signature(right).parameters:  # a loss
            return right(first) * 1.0001
        return right(first * 1.0001, *rest)

    monkeypatch.setattr(functional, name, wrong)
    assert any(failing(function_cases()))


VECTOR_BACKWARDS = [
    (module, name)
    for module in (pooling, embedding_losses)
    for name in vars(module)
    if name.endswith("_backward") and getattr(module, name).__module__ == module.__name__
]


@pytest.mark.parametrize(("module", "name"), VECTOR_BACKWARDS)
def test_a_slightly_wrong_backward_of_vectors_fails(module, name, monkeypatch):
    right = getattr(module, name)

    def wrong(*arguments):
        found = right(*arguments)
        if isinstance(found, tuple):  # only the last one is wrong
            return (*found[:-1], found[-1] * 1.0001)
        return found * 1.0001

    monkeypatch.setattr(module, name, wrong)
    assert any(failing(vector_cases()))


def test_every_model_has_a_case():
    assert {case.subject.split(",")[0] for case in MODEL_CASES} == set(MODELS)
    assert [each.kind.__name__ for each in labelled_models() if "," not in each.name] == [
        name for name in MODELS if not name.endswith("Model")
    ]


CLASSES = [kind for _, kind in inspect.getmembers(layers, inspect.isclass)]
# Protocols, tuples, positions (see `POSITION_METHODS`), and two that have no gradient.
WITHOUT_GRADIENT = {
    layers.AddedTable, layers.Frozen, layers.Head, layers.Layer, layers.Positions,
    layers.SinusoidalPositions, layers.RotaryPositions, layers.RelativeBias, layers.Site,
}  # fmt: skip
LAYERS = [kind for kind in CLASSES if kind not in WITHOUT_GRADIENT]
LAYERS += [WindowedSelfAttention]


SLOW = {layers.Encoder, layers.Block, layers.Recomputed, layers.PreNormEncoder}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=[pytest.mark.slow] if k in SLOW else []) for k in LAYERS],
    ids=lambda kind: kind.__name__,
)
def test_a_slightly_wrong_backward_of_any_layer_fails(kind, monkeypatch):
    right = kind.backward
    monkeypatch.setattr(kind, "backward", lambda self, dout, *rest: right(self, dout * 1.01, *rest))
    own = [case for case in layer_cases() if case.subject == kind.__name__]
    assert own
    assert list(failing(own)) == [case.name for case in own]


POSITION_METHODS = [
    (ToyPositions, "turn_backward", "rotation and bias"),
    (ToyPositions, "scores_backward", "rotation and bias"),
    (ToyPositions, "backward", "rotation and bias"),
    (layers.RotaryPositions, "turn_backward", "rotary"),
    (RotaryByKind, "turn_backward", "full, window"),
    (layers.RelativeBias, "scores_backward", "relative bias"),
    (layers.RelativeBias, "backward", "relative bias"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "variant"), POSITION_METHODS)
def test_a_slightly_wrong_backward_of_positions_fails(kind, name, variant, monkeypatch):
    right = getattr(kind, name)
    wrong = lambda self, first, *rest: right(self, first * 1.01, *rest)  # noqa: E731
    monkeypatch.setattr(kind, name, wrong)
    own = [case for case in layer_cases() if variant in case.variant]
    assert own
    assert list(failing(own)) == [case.name for case in own]


def fails(**how):
    raise GradientError("x at [0]: analytic 1, numeric 2")


def fails_to_tell(**how):
    raise InconclusiveError("x at [0]: inconclusive")


def test_report_prints_the_errors_and_a_line_for_each_case(capsys):
    results = report([CASES[0], Case("bad", "input", fails)])
    assert [rows is None for _, rows in results] == [False, True]
    bad, why, head, right, verdict = capsys.readouterr().out.splitlines()
    assert head.split() == ["case", "error", "allowed", "analytic", "numeric", "worst", "at"]
    name, error, allowed, analytic, numeric, _, _, *index = right.split()
    assert name == "linear"
    assert float(error) <= float(allowed) == 1e-7
    assert float(analytic) == pytest.approx(float(numeric), rel=1e-3)
    assert index
    assert bad.split() == ["bad,", "input", "WRONG"]
    assert why == "x at [0]: analytic 1, numeric 2"
    assert "2 checks" in verdict
    assert "NOT all gradients agree" in verdict

    report(CASES[:1])
    assert ": all gradients agree" in capsys.readouterr().out


def test_report_prints_failures_first_and_the_lowest_layer_first(capsys):
    several = [
        Case("function", "", fails),
        CASES[0],
        Case("Layer", "", fails_to_tell),
        CASES[1],
        Case("BertForAll", "", fails),
    ]
    results = report(several)
    assert [case for case, _ in results] == several
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "function", "x", "Layer", "x", "BertForAll", "x", "case",
        *(case.name.split()[0] for case in CASES[:2]), "5",
    ]  # fmt: skip
    assert lines[2].split() == ["Layer", "INCONCLUSIVE"]


def test_cases_are_ordered_from_functions_to_models():
    kinds = [0 if case in FUNCTIONS else 2 if case in MODEL_CASES else 1 for case in CASES]
    assert kinds == sorted(kinds)
    assert set(kinds) == {0, 1, 2}


@pytest.mark.parametrize(("delay", "is_shown"), [(-1, True), (60, False)])
def test_report_shows_progress_on_stderr(delay, is_shown, capsys, monkeypatch):
    monkeypatch.setattr("minibert.testing.cases.DELAY", delay)
    report(CASES[:2])
    assert ("0/2" in capsys.readouterr().err) == is_shown


def test_the_quick_cases_contain_each_model_once():
    quick = [case.name for case in cases(every=False)]
    assert set(quick) < {case.name for case in CASES}
    assert [name for name in quick if name.split(",")[0] in MODELS] == [
        case.subject for case in MODEL_CASES if not case.variant
    ]


def cells(text):
    """Return the tables of a Markdown text by heading: lists of lines, which are lists of cells."""
    tables: dict[str, list[list[str]]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("| ") and "---" not in line:
            tables.setdefault(heading, []).append(
                [cell.strip() for cell in line.strip("|").split(" | ")]
            )
    return tables


def test_the_stored_table_contains_every_gradient_and_no_error():
    tables = cells(STORED.read_text())
    heads = markdown(
        [(case, None if case.variant else case.check(entries=0)) for case in MODEL_CASES]
    )
    for heading, lines in list(cells(heads).items())[2:]:
        stored = tables.pop(heading)
        assert [line[0] for line in stored] == [line[0] for line in lines]  # parameters
        assert stored[0] == lines[0]  # options
        for line in stored[1:]:
            assert all(cell in ("0", "-") or float(cell) <= 1e-6 for cell in line[1:]), line
    assert set(tables) == {"Functions", "Layers"}
    rest = [case for case in CASES if case not in MODEL_CASES]
    stored = [line for lines in tables.values() for line in lines[1:]]
    # The columns: case, variant, gradient of, error, worst at.
    assert {(line[0], line[1]) for line in stored} == {(c.subject, c.variant) for c in rest}
    assert all(line[3] == "0" or float(line[3]) <= 1e-7 for line in stored)


def test_markdown_names_errors():
    both = [(CASES[0], CASES[0].check()), (Case("bad", "", fails), None)]
    both += [(Case("BertForAll", variant, fails), None) for variant in ("", "dropout")]
    tables = cells(markdown(both))
    assert [line[2:4] for line in tables["Functions"][1:]][-1] == ["all", "WRONG"]
    assert float(tables["Functions"][1][3]) < 1e-7
    assert tables["BertForAll"] == [["gradient of", "default", "dropout"]]
