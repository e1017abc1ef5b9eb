"""The learning-rate schedule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.optim import linear_schedule


@given(st.integers(1, 200), st.floats(0, 1))
def test_linear_schedule_rises_and_falls_in_straight_lines(total, share):
    warmup = round(share * total)
    rates = [linear_schedule(step, total, warmup, 2.0) for step in range(total)]
    assert max(rates) == pytest.approx(2.0)
    assert min(rates) > 0
    np.testing.assert_allclose(np.diff(rates[:warmup]), 2.0 / max(warmup, 1))
    np.testing.assert_allclose(np.diff(rates[warmup:]), -2.0 / max(total - warmup, 1))
