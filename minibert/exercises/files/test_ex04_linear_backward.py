"""Do the gradients of a linear map agree with the slopes of its forward?"""

from minibert.exercises.grading import arrays, check_backward, exercise

N, I, O = 4, 3, 5  # noqa: E741


def mistakes(dout, x, weight, bias):
    return {
        "dweight": {
            "each weight is used once per row, so its gradient is the sum over the rows; this is "
            "their mean": dout.T @ x / N,
        },
        "dbias": {
            "the bias is added to every row, so its gradient is the sum over the rows; this is "
            "their mean": dout.mean(axis=0),
            "only one row is counted: the bias is added to every row": dout[-1],
        },
    }


@exercise(inputs=arrays(x=(N, I), weight=(O, I), bias=(O,)))
def test_linear_backward(learner, inputs):
    check_backward(learner.linear_forward, learner.linear_backward, inputs, mistakes)
