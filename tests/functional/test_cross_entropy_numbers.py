"""Cross-entropy of hostile logits: the form without a shift gives what the shifted form gives."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minibert.functional import cross_entropy_backward, cross_entropy_forward

C = 5
NUMBERS = [0.0, -0.0, 1e-45, 1e-38, 1.0, -3.0, 40.0, -50.0, 89.0, -104.0, 3e4, -3e4, 3e38, -3e38]
logit = st.sampled_from([*NUMBERS, -np.inf]) | st.floats(-120, 120, width=32)
rows = st.lists(st.lists(logit, min_size=C, max_size=C), min_size=1, max_size=6)


def shifted(row, label):
    """Return loss and gradient of one row in float64 by the plain formula."""
    row = np.asarray(row, np.float64)
    exponentials = np.exp(row - row.max())
    gradient = exponentials / exponentials.sum()
    gradient[label] -= 1
    return np.log(exponentials.sum()) - (row[label] - row.max()), gradient


@given(rows, st.integers(0, C - 1))
@example([[89.0] * C, [0.0] * C], 0)  # exp overflows in float32, in one row
@example([[-104.0] * C, [-3e38] * C], 1)  # the sum is denormal, or 0
@example([[-np.inf, 3e38, -np.inf, 0.0, 1.0]], 1)
def test_hostile_logits_give_the_loss_and_gradient_of_the_shifted_form(logits, label):
    for i, row in enumerate(logits):
        if not np.isfinite(row[label]):
            logits[i] = [0.0] * C
    array = np.array(logits, np.float32)
    loss, cache = cross_entropy_forward(array, np.full(len(array), label))
    expected = [shifted(row, label) for row in array]
    assert loss == pytest.approx(np.mean([each for each, _ in expected]), rel=1e-6, abs=1e-6)
    gradient = np.array([each for _, each in expected]) / len(array)
    # 5e-7: float32 rounds 1 - p, and p from exponentials of numbers up to 120, by that much.
    np.testing.assert_allclose(cross_entropy_backward(cache), gradient, rtol=2e-5, atol=5e-7)


@given(rows, rows)
def test_a_row_has_the_same_bits_whatever_the_other_rows_are(one, others):
    def exponentials(logits):
        array = np.array(logits, np.float32)
        with np.errstate(all="ignore"):
            _, cache = cross_entropy_forward(array, np.zeros(len(array), int))
        return cache.exponentials[: len(one)], cache.totals[: len(one)]

    for alone, together in zip(exponentials(one), exponentials(one + others), strict=True):
        np.testing.assert_array_equal(alone, together)


def test_nan_stays_nan_in_its_row_alone():
    logits = np.zeros((3, C), np.float32)
    logits[1, 2] = np.nan
    loss, cache = cross_entropy_forward(logits, np.zeros(3, int))
    assert np.isnan(loss)
    assert np.isnan(cross_entropy_backward(cache)).any(axis=1).tolist() == [False, True, False]
