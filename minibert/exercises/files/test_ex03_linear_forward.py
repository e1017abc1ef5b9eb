"""Is out = x Wᵀ + b?"""

from minibert import functional
from minibert.exercises.grading import arrays, exercise, grade

N, I, O = 4, 3, 5  # noqa: E741


@exercise(inputs=arrays(x=(N, I), weight=(O, I), bias=(O,)))
def test_linear_forward(learner, inputs):
    x, weight, bias = inputs.values()
    expected, _ = functional.linear_forward(x, weight, bias)
    grade(
        learner.linear_forward(x, weight, bias),
        expected,
        {
            "the bias is missing": expected - bias,
            "the bias is subtracted": expected - 2 * bias,
            "the bias is multiplied, not added": (expected - bias) * bias,
        },
    )
