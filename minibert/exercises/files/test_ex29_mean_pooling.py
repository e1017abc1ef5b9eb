"""Is the result the mean of the tokens alone?"""

import numpy as np
from hypothesis import strategies as st

from minibert.exercises.grading import exercise, grade
from minibert.models import BertConfig
from minibert.testing import batches

D = 5
MASK = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
BATCHES = batches(BertConfig(vocab_size=9, max_position_embeddings=6))


@exercise(
    {"batch": {"attention_mask": MASK}, "seed": 0},
    batch=BATCHES,
    seed=st.integers(0, 1000),
    examples=30,
)
def test_mean_pooling(learner, batch, seed):
    mask = batch["attention_mask"]
    x = np.random.default_rng(seed).normal(size=(*mask.shape, D))
    lengths = mask.sum(axis=1, keepdims=True)
    expected = np.stack(
        [row[: int(n)].mean(axis=0) for row, n in zip(x, lengths[:, 0], strict=True)]
    )
    grade(
        learner.mean_pooling(x.copy(), mask.copy()),
        expected,
        {
            "padding is averaged, too: multiply by the mask": x.mean(axis=1),
            "the sum is divided by T; divide it by the number of tokens": expected
            * lengths
            / mask.shape[1],
            "the division is missing": expected * lengths,
            "the mean is over the batch (axis 0); it is over the tokens (axis 1)": (
                (x * mask[..., None]).sum(axis=0) / np.maximum(mask.sum(axis=0), 1)[:, None]
            ),
            "the mean is over the batch and includes padding; it is over the tokens (axis 1)": (
                x.mean(axis=0)
            ),
            "this is the [CLS] token, the first; all tokens are averaged": x[:, 0],
            "the sum is divided by the number of tokens of the batch; each sequence has its own": (
                expected * lengths / mask.sum()
            ),
        },
        name="pooled",
    )
