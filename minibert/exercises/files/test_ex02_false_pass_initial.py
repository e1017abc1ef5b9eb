"""Does the check find both errors with these parameters?"""

import numpy as np

from minibert.exercises.grading import (
    arrays,
    cotangent,
    exercise,
    numeric_gradients,
    require,
    several,
)

N, D = 4, 3


@exercise(inputs=arrays(x=(N, D)))
def test_the_check_finds_both_errors(learner, inputs):
    returned = several(learner.choose_parameters(D), "weight", "bias")
    parameters = {}
    for name, array in zip(("weight", "bias"), returned, strict=True):
        require(np.shape(array) == (D,), f"{name}: expected the shape {(D,)}")
        parameters[name] = np.array(array, np.float64)
    inputs = {**inputs, **parameters}
    out, cache = learner.scale_forward(**inputs)
    dout = cotangent(out.shape)
    numeric = numeric_gradients(learner.scale_forward, inputs, dout)
    gradients = dict(zip(numeric, learner.scale_backward(dout, cache), strict=True))
    hidden = {
        name: np.isclose(gradients[name], numeric[name], rtol=0, atol=1e-7) for name in numeric
    }
    require(
        not hidden["dx"].all(),
        "dx passes",
        "a weight of one hides a forgotten factor: x · 1 = x",
    )
    require(
        not hidden["dweight"].all(),
        "dweight passes",
        "a bias of zero hides a forgotten term: x + 0 = x",
    )
    columns = np.flatnonzero(hidden["dx"].any(axis=0) | hidden["dweight"]).tolist()
    require(
        not columns,
        f"columns {columns} pass",
        "no weight may be one and no bias zero, in any column",
    )
