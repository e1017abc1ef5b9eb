"""Do the gradients of both tables agree with slopes, where ids and positions repeat?"""

import numpy as np

from minibert.exercises.grading import arrays, check_backward, exercise

IDS = np.array([[4, 1, 4], [0, 1, 1]])
(B, T), V, P, D = IDS.shape, 6, 5, 4


def mistakes(dout, ids, words, positions):
    last = np.zeros_like(words)
    last[ids] = dout
    total, used = np.zeros_like(words), np.zeros((V, 1))
    np.add.at(total, ids, dout)
    np.add.at(used, ids, 1)
    unused = np.zeros((P - T, D))
    return {
        "dwords": {
            "an id that repeats keeps only its last row; dwords[ids] += dout does not add them up: "
            "np.add.at does": last,
            "the gradients of a repeated id are averaged; they add up": total / np.maximum(used, 1),
        },
        "dpositions": {
            "the rows after T are missing: the table has P rows, and unused ones get 0": (
                dout.sum(axis=0)
            ),
            "each position occurs in every sequence, so its gradient is the sum over the batch; "
            "this is the mean": np.concatenate([dout.mean(axis=0), unused]),
            "only one sequence is counted: each position occurs in every one": np.concatenate(
                [dout[-1], unused]
            ),
        },
    }


@exercise(inputs=arrays(words=(V, D), positions=(P, D)))
def test_embedding_backward(learner, inputs):
    check_backward(
        learner.embedding_forward, learner.embedding_backward, {"ids": IDS, **inputs}, mistakes
    )
