"""Does the gradient of GELU agree with the slopes of its forward?"""

import math

import numpy as np

from minibert import functional
from minibert.exercises.grading import arrays, check_backward, exercise


def mistakes(dout, x):
    probability = functional.activate_forward(x.copy(), None, "gelu")[0] / x
    density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    slope = probability + x * density
    return {
        "dx": {
            "the second term of the product rule is missing: x · φ(x)": dout * probability,
            "the first term of the product rule is missing: Φ(x)": dout * x * density,
            "the factor x of the second term is missing": dout * (probability + density),
            "the factor dout is missing": slope,
            "φ lacks its division by √(2π)": dout
            * (probability + x * density * math.sqrt(2 * math.pi)),
            "φ has a wrong exponent: it is -x²/2": dout
            * (probability + x * np.exp(-x * x) / math.sqrt(2 * math.pi)),
        }
    }


@exercise(inputs=arrays(x=(3, 4)))
def test_gelu_backward(learner, inputs):
    check_backward(learner.gelu_forward, learner.gelu_backward, inputs, mistakes)
