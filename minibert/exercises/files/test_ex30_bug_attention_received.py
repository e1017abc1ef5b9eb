"""Does each token get the mean of the weights that the other tokens give it?"""

import numpy as np

from minibert import functional
from minibert.exercises.grading import UNTOUCHED, arrays, exercise, grade

B, K, T = 2, 3, 4
MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])


@exercise(inputs=arrays(scores=(B, K, T, T)))
def test_attention_received(learner, inputs):
    bias = functional.padding_mask(MASK, np.float64)
    weights, _ = functional.softmax_forward(inputs["scores"].copy(), bias)
    lengths = MASK.sum(axis=1, keepdims=True)
    expected = np.stack([weights[b, :, : lengths[b, 0]].mean(axis=(0, 1)) for b in range(B)])
    grade(
        learner.attention_received(weights.copy(), MASK.copy()),
        expected,
        {
            UNTOUCHED: np.full((B, T), 1 / T),
            "queries that are padding are counted: average over the others": (
                weights.mean(axis=(1, 2))
            ),
            "the mean is over the keys (axis 3), and each row of weights sums to one, so that it "
            "is the same for all tokens": MASK / lengths,
            "the sum over the queries is not divided by their number": expected * lengths,
            "the heads are added; average them": expected * K,
            "the sum is divided by T; divide it by the number of tokens": expected * lengths / T,
        },
        name="received",
    )
