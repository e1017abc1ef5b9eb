"""Are ids and mask those of the sequences, in any batch?"""

import numpy as np
from hypothesis import strategies as st

from minibert.exercises.grading import exercise, grade, several

PAD = 1
FIRST = [[2, 5, 3], [2, 1, 6, 4, 3], [2, 3]]
SEQUENCES = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=4)


@exercise({"sequences": FIRST}, sequences=SEQUENCES, examples=50)
def test_pad_batch(learner, sequences):
    lengths = np.array([len(sequence) for sequence in sequences])
    T = lengths.max()
    copies = [list(sequence) for sequence in sequences]
    got_ids, got_mask = several(learner.pad_batch(copies, PAD), "ids", "mask")
    mask = (np.arange(T) < lengths[:, None]).astype(np.int64)
    ids = np.full((len(sequences), T), PAD)
    ids[mask == 1] = np.concatenate(sequences)  # the tokens in order, row by row
    left, zeros = np.full_like(ids, PAD), np.zeros_like(ids)
    left[mask[:, ::-1] == 1] = zeros[mask == 1] = np.concatenate(sequences)
    shortest = ids[:, : lengths.min()]
    grade(
        got_ids,
        ids,
        {
            "the padding is on the left; BERT pads on the right": left,
            "the padding is 0; it is pad_id": zeros,
            "the sequences are cut to the shortest; pad them to the longest": shortest,
        },
        name=f"ids of {sequences}",
    )
    grade(
        got_mask,
        mask,
        {
            "the mask is that of ids that are not pad_id; a token may have this id, so use the "
            "lengths": (ids != PAD).astype(np.int64),
            "the mask is inverted: 1 is a token": 1 - mask,
            "the mask is one everywhere; it is 0 at padding": np.ones_like(mask),
        },
        name=f"mask of {sequences}",
    )
