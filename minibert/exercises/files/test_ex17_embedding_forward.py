"""Is each token the sum of two rows, one by its id and one by its position?"""

import numpy as np

from minibert import functional
from minibert.exercises.grading import arrays, exercise, grade

IDS = np.array([[4, 1, 4], [0, 5, 1]])
(B, T), V, P, D = IDS.shape, 6, 5, 4


@exercise(inputs=arrays(words=(V, D), positions=(P, D)))
def test_embedding_forward(learner, inputs):
    words, positions = inputs.values()
    found, _ = functional.embedding_forward(IDS, words)
    grade(
        learner.embedding_forward(IDS.copy(), words, positions),
        found + functional.embedding_forward(np.arange(T), positions)[0],
        {
            "the position embeddings are missing": found,
            "the positions are indexed by the ids; a token's position is its index t": found
            + positions[np.minimum(IDS, P - 1)],
            "positions count the sequences of the batch; they count the tokens of a sequence": found
            + positions[:B, None],
            "every token gets the first position": found + positions[0],
            "positions count from 0, this is from 1": found + positions[1 : T + 1],
            "positions continue in the next sequence; each sequence begins at 0": found
            + positions[np.minimum(np.arange(B * T), P - 1).reshape(B, T)],
        },
    )
