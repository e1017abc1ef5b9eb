"""Does the gradient of a softmax agree with the slopes of its forward?"""

import numpy as np

from minibert import functional
from minibert.exercises.grading import arrays, check_backward, exercise


def mistakes(dout, scores):
    weights, _ = functional.softmax_forward(scores.copy())
    product = dout * weights
    return {
        "dscores": {
            "the second term is missing: a score also moves the other weights of its row, through "
            "the sum that divides them": product,
            "this is the diagonal of the derivative, i = j: a score moves the other weights of its "
            "row, too": product * (1 - weights),
            "the mean of dweights is subtracted; it must be weighted by the weights": weights
            * (dout - dout.mean(axis=-1, keepdims=True)),
            "the sum is over the columns; each row has its own: axis=-1": weights
            * (dout - product.sum(axis=0)),
            "the sum is over all rows; each row has its own: axis=-1, keepdims=True": weights
            * (dout - product.sum()),
            "the factor weights in front is missing": dout - product.sum(axis=-1, keepdims=True),
            "the sum is added; a score lowers the other weights": weights
            * (dout + np.sum(product, axis=-1, keepdims=True)),
        }
    }


@exercise(inputs=arrays(scores=(4, 3)))
def test_softmax_backward(learner, inputs):
    check_backward(learner.softmax_forward, learner.softmax_backward, inputs, mistakes)
