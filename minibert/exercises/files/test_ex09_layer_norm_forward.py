"""Is each row normalized, then scaled and shifted?"""

import numpy as np

from minibert import functional
from minibert.exercises.grading import arrays, exercise, grade

N, D, EPS = 3, 4, 0.1


@exercise(inputs=arrays(x=(N, D), weight=(D,), bias=(D,)))
def test_layer_norm_forward(learner, inputs):
    x, weight, bias = inputs.values()
    expected, _ = functional.layer_norm_forward(x.copy(), weight, bias, EPS)
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    columns = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + EPS)
    grade(
        learner.layer_norm_forward(x.copy(), weight, bias, EPS),
        expected,
        {
            "the columns are normalized (axis 0); a layer norm normalizes each row: axis=-1": (
                columns * weight + bias
            ),
            "the variance divides by D - 1 (ddof=1); it must divide by D": centred
            / np.sqrt(x.var(axis=-1, keepdims=True, ddof=1) + EPS)
            * weight
            + bias,
            "eps is added to the standard deviation; it belongs to the variance, inside the root": (
                centred / (np.sqrt(variance) + EPS) * weight + bias
            ),
            "eps is missing": centred / np.sqrt(variance) * weight + bias,
            "the root is missing: divide by the standard deviation": centred
            / (variance + EPS)
            * weight
            + bias,
            "the mean is not subtracted": x / np.sqrt(variance + EPS) * weight + bias,
            "weight and bias are missing": centred / np.sqrt(variance + EPS),
            "the bias is missing": expected - bias,
        },
    )
