"""Right layers raise no false alarm, and errors planted in them are called wrong.

`.ci/full` counts 10,000 examples of each layer, in every element.
"""

import numpy as np
import pytest

from tests.gradcheck.rates import count_outcomes, outcome, with_errors
from tests.gradcheck.smooth_layers import ERRORS, BatchNorm, LayerNorm, RMSNorm

KINDS = pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)


@KINDS
def test_right_layers_raise_no_false_alarm(kind):
    [counts] = count_outcomes(kind, [kind], 100, entries=2)
    assert counts.total() >= 100
    assert not counts["wrong"]
    assert counts["inconclusive"] <= 1


@KINDS
def test_each_planted_error_is_called_wrong(kind):
    assert len(ERRORS[kind]) == 10
    counts = count_outcomes(kind, with_errors(kind), 3, entries=3, derandomize=True)
    assert [set(own) for own in counts] == [{"wrong"}] * 10


def hard_rows(rng, width):
    """Return rows in which the usual step is too long or too short (list of arrays)."""
    single, level = np.zeros(width), rng.integers(-768, 769) / 256
    single[rng.integers(width)] = level
    nearly = np.full(width, level)
    nearly[rng.integers(width)] += 1 / 256
    return [
        np.zeros(width), np.full(width, level), single, nearly,
        rng.choice([level, level / 2], width),
        1e-6 * rng.standard_normal(width), rng.standard_normal(width),
    ]  # fmt: skip


NORMS = pytest.mark.parametrize(
    "kind", [LayerNorm, RMSNorm, BatchNorm], ids=lambda kind: kind.__name__
)


def hard_input(kind, width):
    x = np.array(hard_rows(np.random.default_rng(0), width))
    return x.T if kind is BatchNorm else x


@NORMS
def test_rows_of_all_sizes_raise_no_false_alarm(kind):
    x = hard_input(kind, 7)
    assert outcome(kind(x.shape[1], 1e-12), x, None, entries=20) == "right"


@pytest.mark.slow
@NORMS
@pytest.mark.parametrize("eps", [1e-12, 1e-5])
@pytest.mark.parametrize("width", [4, 7, 13])
def test_rows_of_all_sizes_hide_no_error(kind, eps, width):
    x = hard_input(kind, width)
    assert outcome(kind(x.shape[1], eps), x, None) == "right"
    for wrong in with_errors(kind):
        assert outcome(wrong(x.shape[1], eps), x, None, entries=3) == "wrong"
