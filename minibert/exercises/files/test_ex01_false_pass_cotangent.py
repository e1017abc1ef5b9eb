"""Does the check find the error with this cotangent?"""

import numpy as np

from minibert.exercises.grading import arrays, exercise, numeric_gradients, require, same

N, C = 3, 4


@exercise(inputs=arrays(x=(N, C)))
def test_the_check_finds_the_error(learner, inputs):
    dout = learner.choose_cotangent(N, C)
    require(np.shape(dout) == (N, C), f"dout: expected the shape {(N, C)}, got {np.shape(dout)}")
    dout = np.asarray(dout, np.float64)
    require(bool(np.isfinite(dout).all()), "dout: expected finite numbers")
    numeric = numeric_gradients(learner.softmax_forward, inputs, dout)["dx"]
    analytic = learner.softmax_backward(dout, learner.softmax_forward(**inputs)[1])
    passes = same(analytic, numeric) or np.abs(analytic - numeric).max() < 1e-9
    require(
        not (passes and not dout.any()),
        "the check passes",
        "with a cotangent of zeros, every gradient is zero",
    )
    require(
        not (passes and same(dout, np.full((N, C), dout[0, 0]))),
        "the check passes",
        "with equal weights the sum is that of all outputs. The rows of a "
        "softmax sum to one, so no input moves it: both gradients are zero",
    )
    require(
        not passes,
        "the check passes",
        "if dout is constant within each row, the rows of a softmax still "
        "sum to one; its numbers must differ within a row",
    )
