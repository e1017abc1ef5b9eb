"""Clipping: `clip_scale` returns the norm, and a factor for gradients that are too long."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minibert.optim import clip_scale


def test_clip_scale_shortens_only_gradients_above_the_largest_norm():
    assert clip_scale(np.array([3.0, 4.0]), 1.0) == (5.0, 0.2)
    assert clip_scale(np.array([0.3, 0.4]), 1.0) == (0.5, 1.0)
    assert clip_scale(np.zeros(2), 1.0) == (0.0, 1.0)
    assert clip_scale(np.array([3e-5, 4e-5]), 1e-5) == pytest.approx((5e-5, 0.2))


@given(
    st.lists(st.tuples(st.integers(-38, 37), st.sampled_from([-3.0, 0.0, 1.0])), min_size=1),
    st.sampled_from([np.float32, np.float64]),
)
@example([(-21, 1.0)], np.float32)  # its square is subnormal
def test_clip_scale_is_right_where_squares_overflow_or_underflow(numbers, dtype):
    gradient = np.array([sign * 10.0**size for size, sign in numbers], dtype)
    wide = gradient.astype(np.float64)
    norm, factor = clip_scale(gradient, 1.0)
    exact = np.sqrt(np.sum((wide / 1e38) ** 2)) * 1e38 if np.abs(wide).max() > 1 else 0
    exact = exact or np.sqrt(np.sum((wide * 1e38) ** 2)) / 1e38
    assert norm == pytest.approx(exact, rel=1e-5, abs=0)
    assert np.linalg.norm(wide * factor) == pytest.approx(min(exact, 1), rel=1e-5, abs=0)
