"""Everything that is proven, and that the proof covers every backward there is."""

import inspect

import numpy as np
import pytest

from minibert import functional, layers, proofs
from minibert.gradcheck import GradientError
from minibert.proofs import Case, cases, examples, report
from minibert.proofs.examples import BATCH, IDS, MASK, MASKED_LABELS, ROWS, tasks
from minibert.proofs.functions import function_cases
from minibert.proofs.layers import layer_cases

CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_function_layer_and_model_is_proven(case):
    rows = case.check()
    assert rows
    assert all(row.passed for row in rows)
    # A gradient of nothing proves nothing: only what softmax ignores may be zero.
    assert all(row.tolerance <= 1e-6 for row in rows)
    allowed = {"BertForQuestionAnswering": 3, "BertForMultipleChoice": 2}
    endings = {".".join(row.name.split(".")[-2:]) for row in rows if row.tolerance == 1e-10}
    assert len(endings) <= allowed.get(case.name.split(",")[0], 1), endings
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
    """The names of the cases that fail."""
    names = []
    for case in some_cases:
        try:
            case.check()
        except GradientError:
            names.append(case.name)
    return names


FUNCTIONS = [name for name in functional.__all__ if name.endswith("_backward")]


@pytest.mark.parametrize("name", FUNCTIONS)
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
    own = [case for case in layer_cases() if case.name.split(",")[0] == kind.__name__]
    assert own
    assert refused(own) == [case.name for case in own]


def test_the_report_has_a_line_for_each_and_says_what_is_wrong(monkeypatch, capsys):
    def fails():
        raise GradientError("x at [0]: analytic 1, numeric 2")

    monkeypatch.setattr(proofs, "cases", lambda: iter([CASES[0], Case("bad", fails)]))
    assert not report()
    head, right, bad, why, verdict = capsys.readouterr().out.splitlines()
    assert head.split() == ["what", "error", "allowed", "analytic", "numeric", "worst", "at"]
    name, error, allowed, analytic, numeric, _, _, *index = right.split()
    assert name == "linear"
    assert float(error) <= float(allowed) == 1e-7
    assert float(analytic) == pytest.approx(float(numeric), rel=1e-3)
    assert index
    assert bad.split() == ["bad", "WRONG"]
    assert why == "x at [0]: analytic 1, numeric 2"
    assert "2 checks" in verdict
    assert "NOT all gradients agree" in verdict

    monkeypatch.setattr(proofs, "cases", lambda: iter(CASES[:1]))
    assert report()
    assert ": all gradients agree" in capsys.readouterr().out
