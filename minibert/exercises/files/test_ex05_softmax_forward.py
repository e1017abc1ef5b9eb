"""Are the weights those of the formula, for large scores too?"""

import numpy as np

from minibert import functional
from minibert.exercises.grading import arrays, exercise, grade

LARGE = np.array([[1000.0, 999.0, 998.0], [-1000.0, -1002.0, -1003.0]])


@exercise(inputs=arrays(scores=(4, 3)))
def test_softmax_forward(learner, inputs):
    scores = inputs["scores"]
    exp = np.exp(scores)
    grade(
        learner.softmax_forward(scores),
        functional.softmax_forward(scores.copy())[0],
        {
            "the exponentials are not divided by their sum": exp,
            "the sum is over all scores; each row has its own: axis=-1, keepdims=True": (
                exp / exp.sum()
            ),
            "the columns sum to one, not the rows: sum over axis=-1": exp / exp.sum(axis=0),
            "exp is missing: scores may be negative": scores / scores.sum(axis=-1, keepdims=True),
        },
    )
    exp, shifted = np.exp(LARGE), np.exp(LARGE - LARGE.max())
    grade(
        learner.softmax_forward(LARGE.copy()),
        functional.softmax_forward(LARGE.copy())[0],
        {
            "exp of a large score overflows: subtract the maximum of the row first": (
                exp / exp.sum(axis=-1, keepdims=True)
            ),
            "the maximum of all scores is subtracted, so that every exp of a row of small ones is "
            "0: each row needs its own maximum": shifted / shifted.sum(axis=-1, keepdims=True),
        },
        name="out for scores of ±1000",
    )
