"""The learning-rate schedules: each against its closed form, and laws of all of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.optim import (
    SCHEDULES,
    cosine_schedule,
    linear_schedule,
    trapezoid_schedule,
    triangle_schedule,
)
from minibert.optim.schedule import COOLDOWN

TOTALS, SHARES = st.integers(1, 200), st.floats(0, 1)


def rates_of(schedule, total, warmup, peak=2.0, **options):
    return [schedule(step, total, warmup, peak, **options) for step in range(total)]


@given(TOTALS, SHARES)
def test_linear_schedule_rises_and_falls_in_straight_lines(total, share):
    warmup = round(share * total)
    rates = [linear_schedule(step, total, warmup, 2.0) for step in range(total)]
    assert max(rates) == pytest.approx(2.0)
    assert min(rates) > 0
    np.testing.assert_allclose(np.diff(rates[:warmup]), 2.0 / max(warmup, 1))
    np.testing.assert_allclose(np.diff(rates[warmup:]), -2.0 / max(total - warmup, 1))


@given(TOTALS, SHARES)
def test_cosine_schedule_rises_in_a_line_and_falls_as_half_a_cosine(total, share):
    warmup = round(share * total)
    rising, falling = np.split(np.array(rates_of(cosine_schedule, total, warmup)), [warmup])
    np.testing.assert_allclose(rising, 2.0 * np.arange(1, warmup + 1) / max(warmup, 1))
    # sin² of the share that is left, which is (1 + cos)/2 of the share that is done
    left = np.arange(total - warmup, 0, -1) / max(total - warmup, 1)
    np.testing.assert_allclose(falling, 2.0 * np.sin(np.pi / 2 * left) ** 2, rtol=1e-9)


@given(TOTALS, SHARES, st.none() | SHARES)
def test_trapezoid_schedule_rises_stays_and_falls(total, share, cooldown):
    warmup, options = round(share * total), {} if cooldown is None else {"cooldown": cooldown}
    rates = rates_of(trapezoid_schedule, total, warmup, **options)
    falling = min(round(options.get("cooldown", COOLDOWN) * total), total - warmup)
    np.testing.assert_allclose(rates[:warmup], 2.0 * np.arange(1, warmup + 1) / max(warmup, 1))
    assert rates[warmup : total - falling] == [2.0] * (total - falling - warmup)
    np.testing.assert_allclose(
        rates[total - falling :], 2.0 * np.arange(falling, 0, -1) / max(falling, 1)
    )


@given(TOTALS, SHARES)
def test_triangle_schedule_rises_from_a_quarter_for_three_quarters_of_the_steps(total, share):
    rates = rates_of(triangle_schedule, total, round(share * total))
    top = math.floor(0.75 * total)
    expected = np.interp(np.arange(total), [0, top, total], [0.5 if top else 2.0, 2.0, 0.0])
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert rates[top] == 2.0
    assert rates[0] == (0.5 if top else 2.0)


@pytest.mark.parametrize("name", SCHEDULES)
@given(total=TOTALS, share=SHARES, peak=st.floats(1e-6, 10))
def test_schedules_are_positive_continuous_and_reach_the_peak(name, total, share, peak):
    warmup = round(share * total)
    rates = np.array(rates_of(SCHEDULES[name], total, warmup, peak))
    assert rates.min() > 0
    assert rates.max() == pytest.approx(peak, rel=1e-12)
    assert (rates <= peak * (1 + 1e-12)).all()
    # Rising and then falling, without a jump: no change is larger than the steepest line's.
    falling = {"linear": total - warmup, "cosine": (total - warmup) / (math.pi / 2),
               "trapezoid": min(round(COOLDOWN * total), total - warmup),
               "triangle": total - 3 * total // 4}[name]  # fmt: skip
    rising = warmup if name != "triangle" else total
    steepest = peak / max(min(rising or total, falling or total), 1)
    assert (np.abs(np.diff(rates)) <= steepest * (1 + 1e-9)).all()
    turns = np.sign(np.diff(rates)[np.abs(np.diff(rates)) > 1e-12 * peak])
    assert (np.diff(turns) <= 0).all()


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_proportional_to_the_peak(name):
    ones, threes = (rates_of(SCHEDULES[name], 40, 4, peak) for peak in (1.0, 3.0))
    np.testing.assert_allclose(threes, 3 * np.array(ones), rtol=1e-12)


@pytest.mark.parametrize("cooldown", [-0.1, 1.5, math.nan])
def test_trapezoid_schedule_names_a_cooldown_that_is_not_a_share(cooldown):
    with pytest.raises(ValueError, match=r"^cooldown: expected a share from 0 to 1, got "):
        trapezoid_schedule(0, 10, 1, 1.0, cooldown=cooldown)
