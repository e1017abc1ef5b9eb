"""Do the gradients of a layer norm agree with the slopes of its forward?"""

from minibert.exercises.grading import arrays, check_backward, exercise

N, D = 3, 4


def mistakes(dout, x, weight, bias):
    std = x.std(axis=-1, keepdims=True)
    normed = (x - x.mean(axis=-1, keepdims=True)) / std

    def dx(g, without_mean=True, without_along=True, mean=(-1,)):
        means = g.mean(axis=mean, keepdims=True) if without_mean else 0
        along = (g * normed).mean(axis=mean, keepdims=True) if without_along else 0
        return g - means - normed * along

    g = dout * weight
    return {
        "dx": {
            "only the direct path is counted: x also moves the mean and std of its row": g / std,
            "the path through the mean is missing: subtract the mean of dnormed": (
                dx(g, without_mean=False) / std
            ),
            "the path through std is missing: subtract normed · mean(dnormed · normed)": (
                dx(g, without_along=False) / std
            ),
            "the division by std is missing": dx(g),
            "the factor weight is missing: dnormed = dout · weight": dx(dout) / std,
            "the means are over the columns (axis 0); each row has its own: axis=-1": (
                dx(g, mean=(0,)) / std
            ),
        },
        "dweight": {
            "this is the gradient of the bias; that of weight has the factor normed": (
                dout.sum(axis=0)
            ),
            "weight scales every row, so its gradient is the sum over the rows; this is their "
            "mean": (dout * normed).mean(axis=0),
        },
        "dbias": {
            "the bias is added to every row, so its gradient is the sum over the rows; this is "
            "their mean": dout.mean(axis=0),
        },
    }


@exercise(inputs=arrays(x=(N, D), weight=(D,), bias=(D,)))
def test_layer_norm_backward(learner, inputs):
    check_backward(learner.layer_norm_forward, learner.layer_norm_backward, inputs, mistakes)
