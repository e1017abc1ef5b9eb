"""Does the gradient of the cross-entropy agree with the slopes of the loss?"""

import numpy as np

from minibert.exercises.grading import arrays, check_backward, exercise

LABELS = np.array([2, -100, 0, -100, 1])
M, C, n = 5, 4, 3


def mistakes(dout, logits, labels):
    counted = (labels != -100)[:, None]
    one_hot = np.eye(C)[np.where(labels == -100, 0, labels)]
    exp = np.exp(logits)
    softmax = exp / exp.sum(axis=-1, keepdims=True)
    right = dout * counted * (softmax - one_hot) / n
    return {
        "dlogits": {
            "the loss is a mean: divide by n": right * n,
            "the mean is over the n labels that count, not over all M": right * n / M,
            "a position with an ignored label has no gradient": dout * (softmax - one_hot) / n,
            "the factor dloss is missing": right / dout,
            "one_hot is not subtracted": dout * counted * softmax / n,
            "this uses log softmax; the slope is that of its exp, the softmax": dout
            * counted
            * (np.log(softmax) - one_hot)
            / n,
            "the sign is wrong: the gradient is negative at the label, so that a step against it "
            "raises that logit": -right,
        }
    }


@exercise(inputs=arrays(logits=(M, C)))
def test_cross_entropy_backward(learner, inputs):
    check_backward(
        learner.cross_entropy_forward,
        learner.cross_entropy_backward,
        {**inputs, "labels": LABELS},
        mistakes,
    )
