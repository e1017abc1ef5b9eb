"""Is out = x · Φ(x)?"""

import math

import numpy as np

from minibert import functional
from minibert.exercises.grading import arrays, exercise, grade

erf = np.vectorize(math.erf, otypes=[np.float64])


@exercise(inputs=arrays(x=(3, 4)))
def test_gelu_forward(learner, inputs):
    x = inputs["x"]
    expected, _ = functional.activate_forward(x.copy(), None, "gelu")
    grade(
        learner.gelu_forward(x.copy()),
        expected,
        {
            "this is Φ(x), a probability; the factor x is missing": expected / x,
            "the division by √2 is missing in erf": x * (1 + erf(x)) / 2,
            "1 + is missing: erf is between -1 and 1, a probability between 0 and 1": expected
            - x / 2,
            "this is the approximation by tanh; here Φ is exact": functional.activate_forward(
                x.copy(), None, "gelu_new"
            )[0],
            "this is the approximation by a sigmoid; here Φ is exact": x / (1 + np.exp(-1.702 * x)),
            "this is ReLU": np.maximum(x, 0),
        },
    )
