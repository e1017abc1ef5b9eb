"""Does the rate rise to its peak and fall to zero in straight lines?"""

import numpy as np
from hypothesis import strategies as st

from minibert import optim
from minibert.exercises.grading import exercise, grade

SIZES = st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1)))


@exercise({"sizes": (9, 3)}, {"sizes": (4, 0)}, sizes=SIZES, examples=50)
def test_linear_schedule(learner, sizes):
    total, warmup = sizes
    peak, steps = 0.5, np.arange(total)

    def curve(rise, fall):
        return peak * np.where(steps < warmup, rise, fall)

    rise, fall = (steps + 1) / warmup, (total - steps) / (total - warmup)
    grade(
        np.array([learner.linear_schedule(step, total, warmup, peak) for step in range(total)]),
        np.array([optim.linear_schedule(step, total, warmup, peak) for step in range(total)]),
        {
            "the first step has the rate 0, so it is lost: it is peak / warmup": curve(
                steps / warmup, fall
            ),
            "the rate does not fall after the warm-up": curve(rise, 1),
            "the decay begins at step 0; it begins after the warm-up": curve(
                rise, (total - steps) / total
            ),
            "the rate is 0 in the last step, so it is lost; it would be 0 in step total": curve(
                rise, (total - 1 - steps) / (total - 1 - warmup)
            ),
            "the warm-up is missing": peak * (total - steps) / total,
            "the factor peak is missing": curve(rise, fall) / peak,
            "the decay begins one step too early: the rate is peak in step warmup, too": curve(
                rise, (total - steps) / (total - warmup + 1)
            ),
        },
        name=f"rates of total {total}, warmup {warmup}",
    )
