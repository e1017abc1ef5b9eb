"""Are the gradients of three maps of one input repaired?"""

import numpy as np

from minibert.exercises.grading import UNTOUCHED, arrays, check_backward, exercise

N, I, O = 4, 3, 5  # noqa: E741


def mistakes(dout, x, query, key, value):
    dquery, dkey, dvalue = np.split(dout, 3, axis=-1)
    parts = [dquery @ query, dkey @ key, dvalue @ value]
    return {
        "dx": {
            UNTOUCHED: parts[2],
            "only the first map is counted; x is used by three": parts[0],
            "x is used by three maps, so its gradient is their sum; this is their mean": sum(parts)
            / 3,
        },
    }


@exercise(
    inputs=arrays(x=(N, I), query=(O, I), key=(O, I), value=(O, I)),
)
def test_three_maps_backward(learner, inputs):
    check_backward(learner.three_maps_forward, learner.three_maps_backward, inputs, mistakes)
