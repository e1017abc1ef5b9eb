"""Is out the mean of the values that are not padding, weighted by the softmax of the scores?"""

import numpy as np

from minibert import functional
from minibert.exercises.grading import arrays, exercise, grade

B, K, T, H = 2, 3, 4, 5
MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])
BIAS = np.where(MASK, 0, -np.inf)[:, None, None, :]  # (B, 1, 1, T)


def softmax(scores, axis=-1):
    exp = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return exp / exp.sum(axis=axis, keepdims=True)


@exercise(inputs=arrays(query=(B, K, T, H), key=(B, K, T, H), value=(B, K, T, H)))
def test_attention_forward(learner, inputs):
    query, key, value = inputs.values()
    expected, _ = functional.attention_forward(query, key, value, BIAS)
    raw = query @ key.swapaxes(-1, -2)  # (B, K, T, H) @ (B, K, H, T) -> (B, K, T, T)
    visible = MASK[:, None, None, :]
    weights = softmax(raw / np.sqrt(H))
    grade(
        learner.attention_forward(query, key, value, MASK.copy()),
        expected,
        {
            "the padding mask is missing: padded keys get weight": weights @ value,
            "the mask hides padded queries; it must hide padded keys, (B, 1, 1, T)": (
                softmax(raw / np.sqrt(H) + BIAS.swapaxes(-1, -2)) @ value
            ),
            "the scores of padding are 0, and exp(0) is 1: they must be -inf": (
                softmax(raw / np.sqrt(H) * visible) @ value
            ),
            "the mask is applied after the softmax, so the weights of a row do not sum to one": (
                (weights * visible) @ value
            ),
            "the values of padding are hidden after the mean; hide their scores": (
                expected * MASK[:, None, :, None]
            ),
            "the scores are not divided by √H": softmax(raw + BIAS) @ value,
            "the scores are divided by H; divide by √H": softmax(raw / H + BIAS) @ value,
            "the scores are divided by √(K·H), the hidden size; divide by √H, that of a head": (
                softmax(raw / np.sqrt(K * H) + BIAS) @ value
            ),
            "the softmax is over the queries; each query weighs the keys: axis=-1": (
                softmax(raw / np.sqrt(H) + BIAS, axis=-2) @ value
            ),
            "these are the weights; multiply them by the values": softmax(raw / np.sqrt(H) + BIAS),
        },
    )
