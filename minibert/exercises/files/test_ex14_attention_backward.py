"""Do the gradients of attention agree with the slopes of its forward?"""

import numpy as np

from minibert import functional
from minibert.exercises.grading import arrays, check_backward, exercise

B, K, T, H = 2, 2, 3, 4
MASK = np.array([[1, 1, 1], [1, 1, 0]])
BIAS = np.where(MASK, 0, -np.inf)[:, None, None, :]  # (B, 1, 1, T)


def mistakes(dout, query, key, value, mask):
    scores = query @ key.swapaxes(-1, -2)  # (B, K, T, H) @ (B, K, H, T) -> (B, K, T, T)
    weights, _ = functional.softmax_forward(scores / np.sqrt(H), BIAS)
    dweights = dout @ value.swapaxes(-1, -2)  # (B, K, T, H) @ (B, K, H, T) -> (B, K, T, T)
    dscores = functional.softmax_backward(dweights.copy(), weights) / np.sqrt(H)
    unscaled = dscores * np.sqrt(H)
    direct = dweights / np.sqrt(H)
    scale = "the scores were divided by √H, so their gradient is, too"
    softmax = "the backward of the softmax is missing between the weights and the scores"
    swapped = "the scores' gradient is used untransposed; dkey sums over the queries"
    return {
        "dquery": {
            scale: unscaled @ key,
            softmax: direct @ key,
            "it is multiplied by query; scores = Q Kᵀ, so dQ = dscores K": dscores @ query,
            "the scores' gradient is transposed; dquery sums over the keys": (
                dscores.swapaxes(-1, -2) @ key
            ),
        },
        "dkey": {
            scale: unscaled.swapaxes(-1, -2) @ query,
            softmax: direct.swapaxes(-1, -2) @ query,
            swapped: dscores @ query,
            "it is multiplied by key; scores = Q Kᵀ, so dK = dscoresᵀ Q": (
                dscores.swapaxes(-1, -2) @ key
            ),
        },
        "dvalue": {
            "the weights are used untransposed; dvalue sums over the queries": weights @ dout,
        },
    }


@exercise(inputs=arrays(query=(B, K, T, H), key=(B, K, T, H), value=(B, K, T, H)), examples=4)
def test_attention_backward(learner, inputs):
    check_backward(
        learner.attention_forward, learner.attention_backward, {**inputs, "mask": MASK}, mistakes
    )
