"""Is the gradient of a batch the same, however it is split?"""

import numpy as np
from hypothesis import strategies as st

from minibert.exercises.grading import UNTOUCHED, arrays, exercise, grade

N, D = 12, 3
SPLITS = st.lists(st.integers(0, N), min_size=1, max_size=4).map(sorted)


def first_split():
    inputs = {"targets": np.random.default_rng(0).normal(size=(N, D))}
    return {"inputs": inputs, "splits": [1, 5]}


@exercise(first_split(), inputs=arrays(targets=(N, D)), splits=SPLITS)
def test_the_gradient_does_not_depend_on_the_split(learner, inputs, splits):
    targets = inputs["targets"]  # the gradient of the loss of each target
    parts = np.split(targets, splits)
    counts = np.array([len(part) for part in parts])
    gradients = np.array([part.sum(axis=0) / max(len(part), 1) for part in parts])
    grade(
        learner.batch_gradient(gradients, counts),
        targets.mean(axis=0),
        {
            UNTOUCHED: gradients.mean(axis=0),
            "the parts are added; divide by the number of all targets": targets.sum(axis=0),
            "the gradients of the parts' means are added; weigh each by its number of targets": (
                gradients.sum(axis=0)
            ),
            "the sum of all targets is divided by the number of parts; divide by that of targets": (
                targets.sum(axis=0) / len(parts)
            ),
            "the sum of means is divided by the number of targets; multiply each by its count": (
                gradients.sum(axis=0) / N
            ),
        },
        name="gradient",
    )
