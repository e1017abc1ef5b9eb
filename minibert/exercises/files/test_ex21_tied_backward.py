"""Does the gradient of a table that is used twice agree with the slopes of the forward?"""

import numpy as np

from minibert.exercises.grading import arrays, check_backward, exercise

IDS = np.array([3, 0, 3, 1])
N, V, D = 4, 5, 3


def mistakes(dout, ids, table):
    h = np.tanh(table[ids])
    head = dout.T @ h
    dh = dout @ table
    lookup, last, steep = np.zeros_like(table), np.zeros_like(table), np.zeros_like(table)
    np.add.at(lookup, ids, dh * (1 - h**2))
    np.add.at(steep, ids, dh)
    last[ids] = dh * (1 - h**2)
    once = head.copy()
    once[ids] = dh * (1 - h**2)
    return {
        "dtable": {
            "only the head is counted; the table is also looked up, and both gradients add up": (
                head
            ),
            "only the lookup is counted; the table is also the weight of the head": lookup,
            "an id that repeats keeps only its last row: np.add.at adds them up": head + last,
            "the slope of tanh is missing: 1 - tanh²": head + steep,
            "the gradients of both uses are averaged; they add up": (head + lookup) / 2,
            "the gradient of the lookup overwrites that of the head; they add up": once,
        }
    }


@exercise(inputs=arrays(table=(V, D)))
def test_tied_backward(learner, inputs):
    check_backward(learner.tied_forward, learner.tied_backward, {"ids": IDS, **inputs}, mistakes)
