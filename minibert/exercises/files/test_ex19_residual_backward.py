"""Do the gradients of a residual sublayer agree with the slopes of its forward?"""

import numpy as np

from minibert.exercises.grading import arrays, check_backward, exercise

N, D = 4, 3


def mistakes(dout, x, weight):
    slope = 1 - np.tanh(x @ weight.T) ** 2
    through = (dout * slope) @ weight
    return {
        "dx": {
            "the residual is missing: x also reaches out directly, so add dout": through,
            "the sublayer is missing: x also reaches out through the tanh": dout,
            "both paths are averaged; gradients of two uses add up": (dout + through) / 2,
            "both paths are multiplied; gradients of two uses add up": dout * through,
            "the slope of tanh is missing: 1 - tanh²": dout + dout @ weight,
            "weight is transposed: x Wᵀ has the gradient dout W": dout + (dout * slope) @ weight.T,
        },
        "dweight": {
            "the slope of tanh is missing: 1 - tanh²": dout.T @ x,
        },
    }


@exercise(inputs=arrays(x=(N, D), weight=(D, D)))
def test_residual_backward(learner, inputs):
    check_backward(learner.residual_forward, learner.residual_backward, inputs, mistakes)
