"""Does each head get its own adjacent part of each token?"""

import numpy as np

from minibert.exercises.grading import arrays, exercise, grade

B, T, K, H = 2, 3, 4, 5


@exercise(inputs=arrays(x=(B, T, K * H)))
def test_heads_are_split_and_merged(learner, inputs):
    x = inputs["x"]
    heads = np.stack([x[..., k * H : (k + 1) * H] for k in range(K)], axis=1)
    grade(
        learner.split_heads(x.copy(), K),
        heads,
        {
            "reshape to (B, K, T, H) mixes tokens: reshape to (B, T, K, H), then swap two axes": (
                x.reshape(B, K, T, H)
            ),
            "the pieces are not adjacent: D is K pieces of H numbers, so reshape to (B, T, K, H)": (
                x.reshape(B, T, H, K).transpose(0, 3, 1, 2)
            ),
        },
        name="heads",
    )
    grade(
        learner.merge_heads(heads.copy()),
        x,
        {
            "reshape without swapping back mixes tokens: (B, K, T, H) -> (B, T, K, H) first": (
                heads.reshape(B, T, K * H)
            ),
            "the axes are swapped too far: (B, K, T, H) -> (B, T, K, H) keeps H last": (
                heads.transpose(0, 2, 3, 1).reshape(B, T, K * H)
            ),
        },
        name="x",
    )
