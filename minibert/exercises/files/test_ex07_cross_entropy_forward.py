"""Is the loss that of the formula, with ignored labels and large logits?"""

import numpy as np

from minibert import functional
from minibert.exercises.grading import arrays, exercise, grade

LABELS = np.array([2, -100, 0, -100, 1])
M, C, n = 5, 4, 3
OVERFLOW = {
    "exp of a large logit overflows, inf / inf: subtract the maximum of the row first": np.nan,
    "exp of a large logit overflows: subtract the maximum of the row first": np.inf,
}
ROUNDED = {
    "the log of a probability that is rounded to 0: compute log softmax as logits minus maximum, "
    "minus the log of the sum": np.inf,
}
CASES = (
    (np.array([[1000.0, 0.0], [999.0, 1000.0]]), OVERFLOW),
    (np.array([[1000.0, 0.0], [0.0, 1000.0]]), ROUNDED),
)


@exercise(inputs=arrays(logits=(M, C)))
def test_cross_entropy_forward(learner, inputs):
    logits = inputs["logits"]
    expected, _ = functional.cross_entropy_forward(logits, LABELS)
    exp = np.exp(logits)
    softmax = exp / exp.sum(axis=-1, keepdims=True)
    rows = np.flatnonzero(LABELS != -100)
    own = softmax[rows, LABELS[rows]]
    every = -np.log(softmax[np.arange(M), np.where(LABELS == -100, 0, LABELS)])
    grade(
        learner.cross_entropy_forward(logits, LABELS.copy()),
        expected,
        {
            "the sum is divided by all M labels; ignored ones do not count": expected * n / M,
            "this is the sum over the labels; the loss is their mean": expected * n,
            "the sign is wrong: log of a probability is negative, and a loss is not": -expected,
            "the logarithm is missing": -own.mean(),
            "the softmax is missing": -logits[rows, LABELS[rows]].mean(),
            "ignored labels are counted as class 0": every.mean(),
        },
        name="loss",
    )
    grade(
        learner.cross_entropy_forward(logits, np.full(M, -100)),
        0.0,
        {"0 / 0: if nothing counts, divide by 1": np.nan},
        name="loss if every label is ignored",
    )
    for large, hints in CASES:
        grade(
            learner.cross_entropy_forward(large.copy(), np.array([0, 0])),
            functional.cross_entropy_forward(large, np.array([0, 0]))[0],
            hints,
            name="loss for logits of 1000",
        )
