"""Everything that is proven, and that the proof covers every backward there is."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from minibert import functional, layers
from minibert.gradcheck import GradientError
from minibert.testing.cases import Case, cases, examples, markdown, report
from minibert.testing.cases.examples import BATCH, IDS, MASK, MASKED_LABELS, ROWS, tasks
from minibert.testing.cases.functions import function_cases
from minibert.testing.cases.layers import layer_cases

CASES = list(cases())
FUNCTIONS = [case for case in CASES if case.what.islower()]
MODELS = [case for case in CASES if case.what.startswith("Bert")]
LARGER = [case for case in CASES if case not in FUNCTIONS]  # layers and models
# One key has all the attention, and a loss of nothing is 0: here, gradients of 0 are the point.
PROVES_ZEROS = {"one key", "one token", "all labels ignored", "all questions ignored"}
KEPT = Path(__file__).parents[2] / "benchmarks/results/gradients.md"


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_function_layer_and_model_is_proven(case):
    """A function in every element; what is larger in a few, and along a direction."""
    if case in FUNCTIONS:
        look_at(case, case.check())
    else:
        look_at(case, case.check(entries=0 if case in MODELS and case.how else 2))


@pytest.mark.slow
@pytest.mark.parametrize("case", LARGER, ids=[case.name for case in LARGER])
def test_every_layer_and_model_is_proven_in_all_the_elements_of_the_table(case):
    look_at(case, case.check())


def look_at(case, rows):
    assert rows
    assert all(row.passed for row in rows)
    # A gradient of nothing proves nothing: only what softmax ignores may be zero.
    assert all(row.tolerance <= 1e-6 for row in rows)
    if case.how in PROVES_ZEROS:
        return
    allowed = {"BertForQuestionAnswering": 3, "BertForMultipleChoice": 2}
    endings = {".".join(row.name.split(".")[-2:]) for row in rows if row.tolerance == 1e-10}
    assert len(endings) <= allowed.get(case.what, 1), endings
    assert endings <= {"key.bias", "qa_outputs.bias", "LayerNorm.bias", "classifier.bias"}


def test_the_sizes_tell_axes_apart_and_the_batch_is_a_hard_one():
    sizes = [getattr(examples, letter) for letter in "BTKHDFVCR"]
    assert len(set(sizes)) == len(sizes)
    assert min(sizes) >= 2
    assert 0 < MASK[1].sum() < len(MASK[1])  # padding
    assert MASK.sum(axis=1).min() == 0  # a sequence that sees nothing
    assert len(np.unique(IDS)) < IDS.size  # repeated ids
    counts = (MASKED_LABELS != -100).sum(axis=1).tolist()
    assert len(set(counts)) == len(counts)  # unequal numbers of masked places
    assert any(len(set(rows)) < len(rows) for rows in ROWS.tolist())
    assert len({case.name for case in CASES}) == len(CASES)
    assert set(BATCH) == {"input_ids", "token_type_ids", "attention_mask"}


def refused(some_cases):
    """The names of the cases that fail; what is wrong everywhere is wrong in any element."""
    names = []
    for case in some_cases:
        try:
            case.check(entries=1)
        except GradientError:
            names.append(case.name)
    return names


BACKWARDS = [name for name in functional.__all__ if name.endswith("_backward")]


@pytest.mark.parametrize("name", BACKWARDS)
def test_a_slightly_wrong_backward_of_any_function_is_noticed(name, monkeypatch):
    right = getattr(functional, name)

    def wrong(first, *rest):
        if not rest and "dout" not in inspect.signature(right).parameters:  # a loss
            return right(first) * 1.0001
        return right(first * 1.0001, *rest)

    monkeypatch.setattr(functional, name, wrong)
    assert refused(function_cases())


def test_every_head_is_a_task():
    from minibert.models import heads

    kinds = [kind for name, kind in vars(heads).items() if name.startswith("BertFor")]
    assert set(kinds) == {task.kind for task in tasks()}


CLASSES = [kind for _, kind in inspect.getmembers(layers, inspect.isclass)]
LAYERS = [kind for kind in CLASSES if kind is not layers.LeanBlock]  # which only predicts


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_a_slightly_wrong_backward_of_any_layer_is_noticed(kind, monkeypatch):
    right = kind.backward
    monkeypatch.setattr(kind, "backward", lambda self, dout, *rest: right(self, dout * 1.01, *rest))
    own = [case for case in layer_cases() if case.what == kind.__name__]
    assert own
    assert refused(own) == [case.name for case in own]


def fails(**how):
    raise GradientError("x at [0]: analytic 1, numeric 2")


def test_the_report_has_a_line_for_each_and_says_what_is_wrong(capsys):
    results = report([CASES[0], Case("bad", "input", fails)])
    assert [rows is None for _, rows in results] == [False, True]
    head, right, bad, why, verdict = capsys.readouterr().out.splitlines()
    assert head.split() == ["what", "error", "allowed", "analytic", "numeric", "worst", "at"]
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


def test_a_quick_report_has_each_model_once():
    quick = [case.name for case in cases(every=False)]
    assert set(quick) < {case.name for case in CASES}
    assert [name for name in quick if name.startswith("Bert")] == [
        case.what for case in MODELS if not case.how
    ]


def cells(text):
    """Every table of a Markdown text: by its heading, its lines as lists of cells."""
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


def test_the_kept_table_has_every_gradient_and_nothing_in_it_is_wrong():
    tables = cells(KEPT.read_text())
    heads = markdown([(case, None if case.how else case.check(entries=0)) for case in MODELS])
    for heading, lines in list(cells(heads).items())[2:]:
        kept = tables.pop(heading)
        assert [line[0] for line in kept] == [line[0] for line in lines]  # parameters
        assert kept[0] == lines[0]  # options
        for line in kept[1:]:
            assert all(cell in ("0", "-") or float(cell) <= 1e-6 for cell in line[1:]), line
    assert set(tables) == {"Functions", "Layers"}
    rest = [case for case in CASES if case not in MODELS]
    kept = [line for lines in tables.values() for line in lines[1:]]
    # As the header has them: of, on, gradient of, error, where.
    assert {(line[0], line[1]) for line in kept} == {(case.what, case.how) for case in rest}
    assert all(line[3] == "0" or float(line[3]) <= 1e-7 for line in kept)


def test_a_table_says_what_is_wrong():
    both = [(CASES[0], CASES[0].check()), (Case("bad", "", fails), None)]
    both += [(Case("BertForAll", how, fails), None) for how in ("", "dropout")]
    tables = cells(markdown(both))
    assert [line[2:4] for line in tables["Functions"][1:]][-1] == ["all", "WRONG"]
    assert float(tables["Functions"][1][3]) < 1e-7
    assert tables["BertForAll"] == [["gradient of", "as it comes", "dropout"]]
